//! The nftables table, as the JSON that `nft` reads and lists. Every expression is written the way `nft` lists it, so that what is
//! live can be compared with what was meant.

use serde_json::{Value, json};

use super::{CONTAINER_ENDPOINT, ENDPOINT_PORT, ENDPOINT_V4, ENDPOINT_V6, Plan};

/// Our table's name, in the family `inet`.
pub(crate) const TABLE: &str = "metadata_proxy";

/// One rule: its chain, what it is for, and its expressions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) chain: &'static str,
    pub(crate) comment: &'static str,
    pub(crate) expressions: Value,
}

/// The base chains, as listed but without a handle.
pub(crate) fn chains() -> Vec<Value> {
    let chain = |name: &str, kind: &str, hook: &str, priority: i32| json!({"family": "inet", "table": TABLE, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept"});
    vec![
        // Before Docker's own rules (dstnat is -100), so that no published port or older redirect comes first.
        chain("endpoint_redirect", "nat", "prerouting", -110),
        // After connection tracking (-200), whose original destination it asks for.
        chain("proxy_input", "filter", "input", -10),
        // Before every accept, of established connections too: it looks at no state.
        chain("link_local_forward", "filter", "forward", -300),
    ]
}

/// The rules, chain by chain, in order.
pub(crate) fn rules(plan: Plan) -> Vec<Rule> {
    let port = plan.port.get();
    let (v4, v6) = (json!(ENDPOINT_V4.to_string()), json!(ENDPOINT_V6.to_string()));
    let link_local_v4 = json!({"prefix": {"addr": "169.254.0.0", "len": 16}});
    let link_local_v6 = json!({"prefix": {"addr": "fd00:ec2::", "len": 32}});
    // The same services, as a translator between IP versions on the way would understand them (NET-18): NAT64 and 6to4.
    let nat64 = json!({"prefix": {"addr": "64:ff9b::a9fe:0", "len": 112}});
    let six_to_four = json!({"prefix": {"addr": "2002:a9fe::", "len": 32}});
    let foreign = is_not(json!({"meta": {"key": "iifname"}}), json!("lo"));
    let rule = |chain, comment, expressions| Rule {
        chain,
        comment,
        expressions,
    };
    let redirected = |family: &str, address: &Value| {
        json!([
            foreign,
            is(payload(family, "daddr"), address.clone()),
            is(payload("tcp", "dport"), json!(ENDPOINT_PORT)),
            {"redirect": {"port": port}},
        ])
    };
    let guarded = |family: &str, address: &Value| {
        json!([
            is(payload("tcp", "dport"), json!(port)),
            is(original(&format!("{family} daddr")), address.clone()),
            is(original("proto-dst"), json!(ENDPOINT_PORT)),
            {"accept": null},
        ])
    };
    let left_open = |address: &str, protocol: &str, port: u16| json!([is(payload("ip", "daddr"), json!(address)), is(payload(protocol, "dport"), json!(port)), {"accept": null}]);
    let mut endpoints = vec![("ip", v4), ("ip6", v6)];
    if plan.has_container_endpoint {
        endpoints.push(("ip", json!(CONTAINER_ENDPOINT.ip().to_string())));
    }
    let redirects = endpoints.iter().map(|(family, address)| {
        rule(
            "endpoint_redirect",
            "the endpoint is answered by the proxy",
            redirected(family, address),
        )
    });
    let guards = endpoints.iter().map(|(family, address)| {
        rule(
            "proxy_input",
            "the proxy answers only who asked for the endpoint",
            guarded(family, address),
        )
    });
    let others = [
        rule(
            "proxy_input",
            "nobody connects to the proxy itself",
            json!([is(payload("tcp", "dport"), json!(port)), {"drop": null}]),
        ),
        rule(
            "link_local_forward",
            "name resolution of the VPC",
            left_open("169.254.169.253", "udp", 53),
        ),
        rule(
            "link_local_forward",
            "name resolution of the VPC",
            left_open("169.254.169.253", "tcp", 53),
        ),
        rule(
            "link_local_forward",
            "time of the VPC",
            left_open("169.254.169.123", "udp", 123),
        ),
        rule(
            "link_local_forward",
            "nothing else of the instance is for jobs",
            json!([is(payload("ip", "daddr"), link_local_v4), {"drop": null}]),
        ),
        rule(
            "link_local_forward",
            "nothing else of the instance is for jobs",
            json!([is(payload("ip6", "daddr"), link_local_v6), {"drop": null}]),
        ),
        rule(
            "link_local_forward",
            "nothing of the instance through NAT64",
            json!([is(payload("ip6", "daddr"), nat64), {"drop": null}]),
        ),
        rule(
            "link_local_forward",
            "nothing of the instance through 6to4",
            json!([is(payload("ip6", "daddr"), six_to_four), {"drop": null}]),
        ),
    ];
    redirects.chain(guards).chain(others).collect()
}

/// The commands of one transaction that replaces our table, whatever was in it, and touches no other.
pub(crate) fn commands(plan: Plan) -> Vec<Value> {
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    let mut commands = vec![json!({"add": table}), json!({"delete": table}), json!({"add": table})];
    commands.extend(chains().into_iter().map(|chain| json!({"add": {"chain": chain}})));
    commands.extend(rules(plan).into_iter().map(|rule| {
        let Rule {
            chain,
            comment,
            expressions,
        } = rule;
        json!({"add": {"rule":
            {"family": "inet", "table": TABLE, "chain": chain, "comment": comment, "expr": expressions}}})
    }));
    commands
}

/// The transaction as `nft -j -f -` reads it.
pub(crate) fn transaction(commands: &[Value]) -> String {
    json!({"nftables": commands}).to_string()
}

/// The transaction that removes our table, whether it exists or not.
pub(crate) fn removal() -> String {
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    transaction(&[json!({"add": table}), json!({"delete": table})])
}

fn is(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn is_not(left: Value, right: Value) -> Value {
    json!({"match": {"op": "!=", "left": left, "right": right}})
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

fn original(key: &str) -> Value {
    json!({"ct": {"key": key, "dir": "original"}})
}
