//! What must hold of every decision, and that it is the one of the plain reading.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::super::{Ask, Attributes, Keys, Kind, Named, Policy, Standing, decide_trust, parse};
use super::reference::{self, Case, Context, Who};

const VALUES: [&str; 18] = [
    "secret-7",
    "SECRET-7",
    "secret-*",
    "s?cret-7",
    "*",
    "blue",
    "${aws:username}",
    "${aws:PrincipalTag/none}",
    "${aws:PrincipalTag/none, 'blue'}-x",
    "${aws:PrincipalTag/team}",
    "arn:aws:iam::123456789012:role/team/*",
    "arn:*:iam::*:role/*",
    "7",
    "12",
    "true",
    "10.0.0.0/8",
    "2026-03-04T05:06:07Z",
    "",
];

const KEYS: [&str; 11] = [
    "sts:ExternalId",
    "aws:username",
    "aws:PrincipalTag/team",
    "aws:PrincipalArn",
    "aws:TagKeys",
    "aws:SourceIp",
    "aws:EpochTime",
    "aws:SecureTransport",
    "aws:CurrentTime",
    "sts:SourceIdentity",
    "strange:key",
];

const OPERATORS: [&str; 21] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "ArnLike",
    "ArnEquals",
    "ArnNotLike",
    "ArnNotEquals",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateGreaterThanEquals",
    "Bool",
    "IpAddress",
    "NotIpAddress",
];

fn any_context() -> impl Strategy<Value = Context> {
    let one = (select(KEYS.to_vec()), proptest::collection::vec(any_value(), 1..3));
    proptest::collection::vec(one, 0..8).prop_map(|pairs| {
        let pairs = pairs.into_iter().filter(|(key, _)| !key.starts_with("strange:"));
        pairs.map(|(key, values)| (key.to_lowercase(), values)).collect()
    })
}

/// Values of requests: some of them look like patterns.
fn any_value() -> impl Strategy<Value = String> {
    let plain = [
        "secret-7",
        "secret-9",
        "SECRET-7",
        "blue",
        "blue-x",
        "*",
        "secret-*",
        "arn:aws:iam::123456789012:role/team/host",
        "7",
        "8.5",
        "true",
        "false",
        "10.1.2.3",
        "11.1.2.3",
        "2026-03-04T05:06:07Z",
        "1772600000",
    ];
    select(plain.to_vec()).prop_map(str::to_owned)
}

fn any_condition() -> impl Strategy<Value = (String, String, Value)> {
    let operator = prop_oneof![
        8 => (select(vec!["", "", "", "ForAnyValue:", "ForAllValues:"]), select(OPERATORS.to_vec()), select(vec!["", "", "IfExists"]))
            .prop_map(|(quantifier, name, suffix)| format!("{quantifier}{name}{suffix}")),
        1 => Just("Null".to_owned()),
    ];
    let values = proptest::collection::vec(select(VALUES.to_vec()), 1..3);
    (operator, select(KEYS.to_vec()), values).prop_map(|(operator, key, values)| {
        let values = if operator == "Null" {
            json!([if values.len() > 1 { "true" } else { "false" }])
        } else {
            json!(values)
        };
        (operator, key.to_owned(), values)
    })
}

fn conditions(list: Vec<(String, String, Value)>) -> Value {
    let mut table = Map::new();
    for (operator, key, values) in list {
        let slot = table.entry(operator).or_insert_with(|| json!({}));
        slot.as_object_mut().unwrap().insert(key, values);
    }
    Value::Object(table)
}

fn any_statement(trust: bool) -> impl Strategy<Value = Value> {
    let action = select(vec![
        "sts:AssumeRole",
        "sts:*",
        "*",
        "sts:Assume?ole",
        "s3:GetObject",
        "STS:ASSUMEROLE",
    ]);
    let resource = select(vec![
        "*",
        "arn:aws:iam::123456789012:role/deploy",
        "arn:aws:iam::*:role/de*",
        "arn:aws:iam::123456789012:role/${aws:PrincipalTag/team}",
        "arn:aws:s3:::bucket",
    ]);
    let principal = select(vec![
        json!("*"),
        json!({ "AWS": "*" }),
        json!({ "AWS": "123456789012" }),
        json!({ "AWS": "arn:aws:iam::123456789012:root" }),
        json!({ "AWS": ["999999999999", "arn:aws:iam::123456789012:role/team/host"] }),
        json!({ "AWS": "arn:aws:iam::123456789012:role/team/host" }),
        json!({ "AWS": "arn:aws:sts::123456789012:assumed-role/host/i-1" }),
        json!({ "AWS": "AROAHOST2222222222222" }),
        json!({ "AWS": "AROAOTHER222222222222" }),
        json!({ "AWS": "arn:aws:iam::999999999999:user/bob" }),
        json!({ "Service": "ec2.amazonaws.com" }),
    ]);
    let parts = (
        any::<bool>(),
        action,
        resource,
        principal,
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.15),
        proptest::collection::vec(any_condition(), 0..3),
    );
    parts.prop_map(
        move |(allow, action, resource, principal, not_action, not_other, list)| {
            let mut statement = json!({ "Effect": if allow { "Allow" } else { "Deny" } });
            let table = statement.as_object_mut().unwrap();
            table.insert(
                if not_action { "NotAction" } else { "Action" }.to_owned(),
                json!(action),
            );
            if trust {
                // IAM takes NotPrincipal with Deny alone.
                let name = if not_other && !allow {
                    "NotPrincipal"
                } else {
                    "Principal"
                };
                table.insert(name.to_owned(), principal);
            } else {
                table.insert(
                    if not_other { "NotResource" } else { "Resource" }.to_owned(),
                    json!(resource),
                );
            }
            if !list.is_empty() {
                table.insert("Condition".to_owned(), conditions(list));
            }
            statement
        },
    )
}

/// Most statements allow widely, so that decisions fall both ways.
fn any_policy(trust: bool) -> impl Strategy<Value = Vec<Value>> {
    let wide = if trust {
        json!({ "Effect": "Allow", "Principal": { "AWS": "123456789012" }, "Action": "sts:*" })
    } else {
        json!({ "Effect": "Allow", "Action": "sts:*", "Resource": "*" })
    };
    let one = prop_oneof![1 => Just(wide), 3 => any_statement(trust)];
    proptest::collection::vec(one, 1..4)
}

fn any_case() -> impl Strategy<Value = Case> {
    let who = select(vec![
        Who {
            arn: "arn:aws:sts::123456789012:assumed-role/host/i-1".to_owned(),
            principal: "arn:aws:iam::123456789012:role/team/host".to_owned(),
            id: "AROAHOST2222222222222".to_owned(),
            account: "123456789012".to_owned(),
            of_role: true,
        },
        Who {
            arn: "arn:aws:iam::999999999999:user/bob".to_owned(),
            principal: "arn:aws:iam::999999999999:user/bob".to_owned(),
            id: "AIDABOB22222222222222".to_owned(),
            account: "999999999999".to_owned(),
            of_role: false,
        },
    ]);
    let policies = (
        any_policy(true),
        proptest::collection::vec(any_policy(false), 0..3),
        proptest::option::weighted(0.3, any_policy(false)),
        proptest::collection::vec(any_policy(false), 0..2),
    );
    (
        policies,
        who,
        select(vec!["123456789012", "999999999999"]),
        any_context(),
    )
        .prop_map(
            |((trust, identity, boundary, session), who, role_account, context)| Case {
                trust,
                identity,
                boundary,
                session,
                who,
                role_account: role_account.to_owned(),
                action: "sts:AssumeRole".to_owned(),
                resource: "arn:aws:iam::123456789012:role/deploy".to_owned(),
                context,
            },
        )
}

fn read(statements: &[Value], kind: Kind) -> Policy {
    parse(&json!({ "Version": "2012-10-17", "Statement": statements }), kind).unwrap()
}

/// The engine's decision.
fn engine(case: &Case) -> bool {
    let trust = read(&case.trust, Kind::Trust);
    let all = |list: &[Vec<Value>]| -> Vec<Policy> { list.iter().map(|one| read(one, Kind::Identity)).collect() };
    let (identity, boundary, session) = (all(&case.identity), all(case.boundary.as_slice()), all(&case.session));
    let name = |policy| Named {
        name: String::new(),
        policy: Some(policy),
    };
    let standing = Standing {
        of_role: case.who.of_role,
        identity: identity.iter().map(name).collect(),
        boundary: boundary.first().map(name),
        session: session.iter().map(name).collect(),
    };
    let mut keys = Keys::default();
    for (key, values) in &case.context {
        keys.set(key, values.clone());
    }
    let caller = Attributes {
        arn: &case.who.arn,
        principal_arn: &case.who.principal,
        unique_id: &case.who.id,
        account: &case.who.account,
        partition: "aws",
        service: None,
        federated: None,
    };
    let ask = Ask {
        action: &case.action,
        resource: &case.resource,
        caller: &caller,
        keys: &keys,
    };
    let decision = decide_trust(&trust, case.who.account == case.role_account, &standing, &ask);
    assert!(
        !decision.because.is_empty(),
        "a decision without a reason: {decision:?}"
    );
    decision.allowed
}

/// Every place where a statement may stand.
fn places(case: &mut Case) -> Vec<&mut Vec<Value>> {
    let mut places = vec![&mut case.trust];
    places.extend(case.identity.iter_mut());
    places.extend(case.boundary.iter_mut());
    places.extend(case.session.iter_mut());
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_engine_decides_as_the_plain_reading_does(case in any_case()) {
        prop_assert_eq!(engine(&case), reference::decide(&case));
    }

    #[test]
    fn a_deny_that_is_added_anywhere_never_widens(case in any_case(), added in any_statement(false), named in any_statement(true), at in 0_usize..8) {
        let before = engine(&case);
        let mut more = case;
        let mut places = places(&mut more);
        let at = at % places.len();
        let mut added = if at == 0 { named } else { added };
        added["Effect"] = json!("Deny");
        places[at].push(added);
        prop_assert!(before || !engine(&more));
    }

    #[test]
    fn a_condition_that_an_allow_loses_never_narrows(case in any_case(), at in 0_usize..8) {
        let before = engine(&case);
        let mut wider = case;
        let mut places = places(&mut wider);
        let at = at % places.len();
        for statement in places[at].iter_mut().filter(|statement| statement["Effect"] == "Allow") {
            statement.as_object_mut().unwrap().remove("Condition");
        }
        prop_assert!(!before || engine(&wider));
    }

    #[test]
    fn order_never_matters(case in any_case()) {
        let mut turned = case.clone();
        for place in places(&mut turned) {
            place.reverse();
        }
        turned.identity.reverse();
        prop_assert_eq!(engine(&case), engine(&turned));
    }
}

#[test]
fn the_cases_fall_both_ways() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let cases = (0..400).map(|_| any_case().new_tree(&mut runner).unwrap().current());
    let allowed = cases.filter(engine).count();
    assert!((20..=380).contains(&allowed), "{allowed} of 400 are allowed");
}
