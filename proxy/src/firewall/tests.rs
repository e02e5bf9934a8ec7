use serde_json::{Value, json};

use super::document::{self, TABLE};
use super::{Difference, Plan, difference, routing};

fn plan() -> Plan {
    Plan::new(8000.try_into().unwrap())
}

/// What `nft -j list table` prints when everything is in place.
fn listing() -> Vec<Value> {
    let handled = |mut object: Value| {
        object["handle"] = json!(7);
        object
    };
    let mut objects = vec![
        json!({"metainfo": {}}),
        json!({"table": {"family": "inet", "name": TABLE, "handle": 1}}),
    ];
    objects.extend(
        document::chains()
            .into_iter()
            .map(|chain| json!({"chain": handled(chain)})),
    );
    objects.extend(document::rules(plan()).into_iter().map(|rule| {
        json!({"rule": handled(json!({"family": "inet", "table": TABLE, "chain": rule.chain, "comment": rule.comment,
            "expr": rule.expressions}))})
    }));
    objects
}

fn compare(objects: &[Value]) -> Vec<Difference> {
    difference::of_table(plan(), Some(&json!({"nftables": objects})))
}

#[test]
fn the_plan_is_printed_exactly_as_it_is_applied() {
    insta::assert_snapshot!(plan(), @r#"
    ip -4 rule add pref 85 to 169.254.169.253/32 ipproto udp dport 53 lookup main
    ip -4 rule add pref 86 to 169.254.169.253/32 ipproto tcp dport 53 lookup main
    ip -4 rule add pref 87 to 169.254.169.123/32 ipproto udp dport 123 lookup main
    ip -4 rule add pref 88 to 169.254.0.0/16 iif lo lookup main
    ip -4 rule add blackhole pref 89 to 169.254.0.0/16
    ip -6 rule add pref 88 to fd00:ec2::/32 iif lo lookup main
    ip -6 rule add blackhole pref 89 to fd00:ec2::/32
    nft -j -f - <<'END'
    {"nftables":[
    {"add":{"table":{"family":"inet","name":"metadata_proxy"}}},
    {"delete":{"table":{"family":"inet","name":"metadata_proxy"}}},
    {"add":{"table":{"family":"inet","name":"metadata_proxy"}}},
    {"add":{"chain":{"family":"inet","hook":"prerouting","name":"endpoint_redirect","policy":"accept","prio":-110,"table":"metadata_proxy","type":"nat"}}},
    {"add":{"chain":{"family":"inet","hook":"input","name":"proxy_input","policy":"accept","prio":-10,"table":"metadata_proxy","type":"filter"}}},
    {"add":{"chain":{"family":"inet","hook":"forward","name":"link_local_forward","policy":"accept","prio":-300,"table":"metadata_proxy","type":"filter"}}},
    {"add":{"rule":{"chain":"endpoint_redirect","comment":"the endpoint is answered by the proxy","expr":[{"match":{"left":{"meta":{"key":"iifname"}},"op":"!=","right":"lo"}},{"match":{"left":{"payload":{"field":"daddr","protocol":"ip"}},"op":"==","right":"169.254.169.254"}},{"match":{"left":{"payload":{"field":"dport","protocol":"tcp"}},"op":"==","right":80}},{"redirect":{"port":8000}}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"endpoint_redirect","comment":"the endpoint is answered by the proxy","expr":[{"match":{"left":{"meta":{"key":"iifname"}},"op":"!=","right":"lo"}},{"match":{"left":{"payload":{"field":"daddr","protocol":"ip6"}},"op":"==","right":"fd00:ec2::254"}},{"match":{"left":{"payload":{"field":"dport","protocol":"tcp"}},"op":"==","right":80}},{"redirect":{"port":8000}}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"proxy_input","comment":"the proxy answers only who asked for the endpoint","expr":[{"match":{"left":{"payload":{"field":"dport","protocol":"tcp"}},"op":"==","right":8000}},{"match":{"left":{"ct":{"dir":"original","key":"ip daddr"}},"op":"==","right":"169.254.169.254"}},{"match":{"left":{"ct":{"dir":"original","key":"proto-dst"}},"op":"==","right":80}},{"accept":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"proxy_input","comment":"the proxy answers only who asked for the endpoint","expr":[{"match":{"left":{"payload":{"field":"dport","protocol":"tcp"}},"op":"==","right":8000}},{"match":{"left":{"ct":{"dir":"original","key":"ip6 daddr"}},"op":"==","right":"fd00:ec2::254"}},{"match":{"left":{"ct":{"dir":"original","key":"proto-dst"}},"op":"==","right":80}},{"accept":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"proxy_input","comment":"nobody connects to the proxy itself","expr":[{"match":{"left":{"payload":{"field":"dport","protocol":"tcp"}},"op":"==","right":8000}},{"drop":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"link_local_forward","comment":"name resolution of the VPC","expr":[{"match":{"left":{"payload":{"field":"daddr","protocol":"ip"}},"op":"==","right":"169.254.169.253"}},{"match":{"left":{"payload":{"field":"dport","protocol":"udp"}},"op":"==","right":53}},{"accept":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"link_local_forward","comment":"name resolution of the VPC","expr":[{"match":{"left":{"payload":{"field":"daddr","protocol":"ip"}},"op":"==","right":"169.254.169.253"}},{"match":{"left":{"payload":{"field":"dport","protocol":"tcp"}},"op":"==","right":53}},{"accept":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"link_local_forward","comment":"time of the VPC","expr":[{"match":{"left":{"payload":{"field":"daddr","protocol":"ip"}},"op":"==","right":"169.254.169.123"}},{"match":{"left":{"payload":{"field":"dport","protocol":"udp"}},"op":"==","right":123}},{"accept":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"link_local_forward","comment":"nothing else of the instance is for jobs","expr":[{"match":{"left":{"payload":{"field":"daddr","protocol":"ip"}},"op":"==","right":{"prefix":{"addr":"169.254.0.0","len":16}}}},{"drop":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"link_local_forward","comment":"nothing else of the instance is for jobs","expr":[{"match":{"left":{"payload":{"field":"daddr","protocol":"ip6"}},"op":"==","right":{"prefix":{"addr":"fd00:ec2::","len":32}}}},{"drop":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"link_local_forward","comment":"nothing of the instance through NAT64","expr":[{"match":{"left":{"payload":{"field":"daddr","protocol":"ip6"}},"op":"==","right":{"prefix":{"addr":"64:ff9b::a9fe:0","len":112}}}},{"drop":null}],"family":"inet","table":"metadata_proxy"}}},
    {"add":{"rule":{"chain":"link_local_forward","comment":"nothing of the instance through 6to4","expr":[{"match":{"left":{"payload":{"field":"daddr","protocol":"ip6"}},"op":"==","right":{"prefix":{"addr":"2002:a9fe::","len":32}}}},{"drop":null}],"family":"inet","table":"metadata_proxy"}}}
    ]}
    END
    "#);
}

#[test]
fn what_was_applied_differs_in_nothing() {
    assert_eq!(compare(&listing()), []);
    for is_v6 in [false, true] {
        let live: Vec<Value> = routing::rules()
            .into_iter()
            .filter(|rule| rule.is_v6 == is_v6)
            .map(|rule| rule.listed)
            .collect();
        assert_eq!(difference::of_routing(is_v6, &Value::Array(live)), []);
    }
}

#[test]
fn every_difference_is_named() {
    assert_eq!(difference::of_table(plan(), None), [Difference::TableMissing]);
    let mut objects = listing();
    objects.remove(6);
    objects.push(json!({"set": {"name": "s"}}));
    objects.push(json!({"rule": {"chain": "link_local_forward", "expr": [{"accept": null}]}}));
    let named: Vec<String> = compare(&objects).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(named.join("\n"), @r#"
    the table inet metadata_proxy also contains {"set":{"name":"s"}}
    rule 2 of chain endpoint_redirect is missing (the endpoint is answered by the proxy)
    chain link_local_forward also contains [{"accept":null}]
    "#);
}

#[test]
fn a_table_that_sleeps_is_named() {
    let mut objects = listing();
    objects[1]["table"]["flags"] = json!(["dormant"]);
    insta::assert_snapshot!(compare(&objects)[0], @r#"the table inet metadata_proxy also contains {"family":"inet","flags":["dormant"],"name":"metadata_proxy"}"#);
}

#[test]
fn a_missing_chain_and_a_foreign_routing_rule_are_named() {
    let mut objects = listing();
    objects.remove(2);
    assert!(matches!(compare(&objects)[..], [Difference::ChainMissing { .. }]));
    let foreign =
        json!([{"priority": 88, "src": "all", "table": "100"}, {"priority": 32766, "src": "all", "table": "main"}]);
    let named: Vec<String> = difference::of_routing(true, &foreign)
        .iter()
        .map(ToString::to_string)
        .collect();
    insta::assert_snapshot!(named.join("\n"), @r#"
    a routing rule is missing: ip -6 rule add pref 88 to fd00:ec2::/32 iif lo lookup main
    a routing rule is missing: ip -6 rule add blackhole pref 89 to fd00:ec2::/32
    a routing rule has the priority of one of ours: {"priority":88,"src":"all","table":"100"}
    "#);
}

#[test]
fn no_rule_redirects_to_loopback() {
    let text = plan().to_string();
    assert!(!text.contains("127.0.0.1") && !text.contains("dnat"), "{text}");
}

#[test]
fn the_endpoint_for_containers_is_answered_only_where_it_is_wanted() {
    let mentions = |plan: Plan| plan.to_string().matches("\"169.254.170.2\"").count();
    assert_eq!(mentions(plan()), 0);
    assert_eq!(
        mentions(plan().with_container_endpoint(true)),
        2,
        "redirected, and let in"
    );
    let rules = |plan| document::rules(plan).len();
    assert_eq!(rules(plan().with_container_endpoint(true)), rules(plan()) + 2);
}
