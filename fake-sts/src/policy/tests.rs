mod laws;
mod reference;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Ask, Attributes, Finding, Keys, Kind, Match, Policy, parse};

const ROLE: &str = "arn:aws:iam::123456789012:role/deploy";

fn session() -> Attributes<'static> {
    Attributes {
        arn: "arn:aws:sts::123456789012:assumed-role/lab-host/i-1",
        principal_arn: "arn:aws:iam::123456789012:role/team/lab-host",
        unique_id: "AROALABHOST2222222222",
        account: "123456789012",
        partition: "aws",
        service: None,
        federated: None,
    }
}

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.set("sts:ExternalId", ["secret-7"]);
    keys.set("sts:RoleSessionName", ["20-31-abc"]);
    keys.set("aws:PrincipalArn", ["arn:aws:iam::123456789012:role/team/lab-host"]);
    keys.set("aws:username", ["alice*"]);
    keys.set("aws:PrincipalTag/team", ["blue"]);
    keys.set("aws:TagKeys", ["team", "cost"]);
    keys.set("aws:SourceIp", ["10.200.0.2"]);
    keys.set("aws:EpochTime", ["1772600000"]);
    keys.set("aws:CurrentTime", ["2026-03-04T05:06:07Z"]);
    keys.set("aws:SecureTransport", ["true"]);
    keys
}

fn trust(statement: Value) -> Policy {
    parse(&json!({ "Version": "2012-10-17", "Statement": statement }), Kind::Trust).unwrap()
}

fn evaluate(policy: &Policy, caller: &Attributes<'_>, keys: &Keys) -> Finding {
    super::evaluate(
        policy,
        &Ask {
            action: "sts:AssumeRole",
            resource: ROLE,
            caller,
            keys,
        },
    )
}

/// What a trust statement with this condition says of the caller above.
fn under(condition: Value) -> Finding {
    let policy = trust(json!([
        { "Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Condition": condition }
    ]));
    evaluate(&policy, &session(), &keys())
}

fn granted(condition: Value) -> bool {
    matches!(under(condition), Finding::Allowed(..))
}

#[test]
fn principals_mean_whom_they_name_and_nobody_else() {
    let cases = [
        (json!("*"), Some(Match::Account)),
        (json!({ "AWS": "*" }), Some(Match::Account)),
        (json!({ "AWS": "123456789012" }), Some(Match::Account)),
        (json!({ "AWS": "arn:aws:iam::123456789012:root" }), Some(Match::Account)),
        (json!({ "AWS": "arn:aws-cn:iam::123456789012:root" }), None),
        (json!({ "AWS": "999999999999" }), None),
        (
            json!({ "AWS": "arn:aws:iam::123456789012:role/team/lab-host" }),
            Some(Match::Direct),
        ),
        (json!({ "AWS": "arn:aws:iam::123456789012:role/lab-host" }), None),
        (
            json!({ "AWS": "arn:aws:sts::123456789012:assumed-role/lab-host/i-1" }),
            Some(Match::Session),
        ),
        (
            json!({ "AWS": "arn:aws:sts::123456789012:assumed-role/lab-host/i-2" }),
            None,
        ),
        (json!({ "AWS": "arn:aws:iam::123456789012:user/lab-host" }), None),
        (json!({ "AWS": "AROALABHOST2222222222" }), Some(Match::Direct)),
        (json!({ "AWS": "AROALABHOST3333333333" }), None),
        (json!({ "Service": "ec2.amazonaws.com" }), None),
        (
            json!({ "Federated": "arn:aws:iam::123456789012:oidc-provider/gitlab.example.com" }),
            None,
        ),
        (
            json!({ "AWS": ["999999999999", "arn:aws:iam::123456789012:role/team/lab-host"] }),
            Some(Match::Direct),
        ),
    ];
    for (principal, expected) in cases {
        let policy = trust(json!([{ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" }]));
        let found = match evaluate(&policy, &session(), &Keys::default()) {
            Finding::Allowed(found, _) => Some(found),
            Finding::Silent(_) => None,
            Finding::Denied(by) => panic!("{by}"),
        };
        assert_eq!(found, expected, "{principal}");
    }
}

#[test]
fn not_principal_denies_everybody_else() {
    let others = |principal: Value| {
        let policy = trust(json!([
            { "Effect": "Allow", "Principal": "*", "Action": "sts:*" },
            { "Sid": "rest", "Effect": "Deny", "NotPrincipal": { "AWS": principal }, "Action": "*" }
        ]));
        evaluate(&policy, &session(), &keys())
    };
    let (account, own) = (
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:role/team/lab-host",
    );
    for spared in [json!(own), json!([own, account])] {
        let allowed = Finding::Allowed(Match::Account, "Statement[0]".to_owned());
        assert_eq!(others(spared.clone()), allowed, "{spared}");
    }
    // The account alone is its root user: else it would let everybody in who was to be kept out.
    let other = "arn:aws:iam::123456789012:role/other";
    for denied in [json!(other), json!([other, account]), json!(account)] {
        assert_eq!(others(denied.clone()), Finding::Denied("rest".to_owned()), "{denied}");
    }
}

#[test]
fn operators_hold_as_in_iam() {
    let cases = [
        (json!({ "StringEquals": { "sts:ExternalId": "secret-7" } }), true),
        (json!({ "StringEquals": { "STS:externalid": ["x", "secret-7"] } }), true),
        (json!({ "StringEquals": { "sts:ExternalId": "Secret-7" } }), false),
        (
            json!({ "StringEqualsIgnoreCase": { "sts:ExternalId": "SECRET-7" } }),
            true,
        ),
        (
            json!({ "StringNotEqualsIgnoreCase": { "sts:ExternalId": "SECRET-7" } }),
            false,
        ),
        (
            json!({ "StringNotEquals": { "sts:ExternalId": ["x", "secret-7"] } }),
            false,
        ),
        (json!({ "StringNotEquals": { "sts:ExternalId": "x" } }), true),
        (json!({ "StringLike": { "sts:RoleSessionName": "20-*-a?c" } }), true),
        (json!({ "StringLike": { "sts:RoleSessionName": "20-*-a" } }), false),
        (json!({ "StringNotLike": { "sts:RoleSessionName": "30-*" } }), true),
        (json!({ "StringEquals": { "sts:RoleSessionName": "20-*" } }), false),
        (
            json!({ "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::*:role/team/*" } }),
            true,
        ),
        (json!({ "ArnEquals": { "aws:PrincipalArn": "arn:aws:*" } }), false),
        (
            json!({ "ArnNotLike": { "aws:PrincipalArn": "arn:aws:iam::*:role/team/*" } }),
            false,
        ),
        (json!({ "Bool": { "aws:SecureTransport": true } }), true),
        (json!({ "Bool": { "aws:SecureTransport": "false" } }), false),
        (json!({ "Null": { "sts:ExternalId": "false" } }), true),
        (json!({ "Null": { "sts:ExternalId": true } }), false),
        (json!({ "Null": { "sts:SourceIdentity": true } }), true),
        (json!({ "IpAddress": { "aws:SourceIp": ["10.0.0.0/8"] } }), true),
        (json!({ "IpAddress": { "aws:SourceIp": "10.200.0.3" } }), false),
        (json!({ "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } }), false),
        (json!({ "NumericLessThan": { "aws:EpochTime": 1772600001 } }), true),
        (
            json!({ "NumericGreaterThanEquals": { "aws:EpochTime": "1772600001" } }),
            false,
        ),
        (
            json!({ "DateLessThan": { "aws:CurrentTime": "2026-03-04T05:06:08Z" } }),
            true,
        ),
        (
            json!({ "DateGreaterThan": { "aws:CurrentTime": "2026-03-04T05:06:08Z" } }),
            false,
        ),
        (json!({ "ForAnyValue:StringEquals": { "aws:TagKeys": "cost" } }), true),
        (json!({ "ForAllValues:StringEquals": { "aws:TagKeys": "cost" } }), false),
        (
            json!({ "ForAllValues:StringEquals": { "aws:TagKeys": ["cost", "team"] } }),
            true,
        ),
        (
            json!({ "StringEquals": { "aws:PrincipalTag/team": "blue", "sts:ExternalId": "secret-7" } }),
            true,
        ),
        (
            json!({ "StringEquals": { "aws:PrincipalTag/team": "red", "sts:ExternalId": "secret-7" } }),
            false,
        ),
        (
            json!({ "StringEquals": { "aws:PrincipalTag/team": "blue" }, "Bool": { "aws:SecureTransport": "false" } }),
            false,
        ),
        (
            json!({ "StringLike": { "sts:ExternalId": "${aws:PrincipalTag/none, 'secret'}-*" } }),
            true,
        ),
        (json!({ "StringLike": { "sts:ExternalId": "s${*}" } }), false),
        // A value that a variable stands for is no pattern.
        (json!({ "StringLike": { "sts:ExternalId": "${aws:username}" } }), false),
        (json!({ "StringEquals": { "aws:username": "${aws:username}" } }), true),
    ];
    for (condition, expected) in cases {
        assert_eq!(granted(condition.clone()), expected, "{condition}");
    }
}

#[test]
fn a_missing_key_holds_only_where_iam_says_so() {
    let cases = [
        ("StringEquals", false),
        ("StringLike", false),
        ("StringNotEquals", true),
        ("StringNotLike", true),
        ("StringEqualsIfExists", true),
        ("StringNotEqualsIfExists", true),
        ("BoolIfExists", true),
        ("Bool", false),
        ("IpAddress", false),
        ("NotIpAddress", true),
        ("ArnLike", false),
        ("ForAnyValue:StringEquals", false),
        ("ForAnyValue:StringNotEquals", false),
        ("ForAllValues:StringEquals", true),
    ];
    for (operator, expected) in cases {
        assert_eq!(
            granted(json!({ operator: { "sts:SourceIdentity": "true" } })),
            expected,
            "{operator}"
        );
    }
}

#[test]
fn what_is_not_understood_refuses_and_says_so() {
    let cases = [
        json!({ "StringResembles": { "sts:ExternalId": "secret-7" } }),
        json!({ "StringNotEquals": { "gitlab.example.com:namespace_path": "x" } }),
        json!({ "StringNotEquals": { "sts:ExternalId": "${aws:PrincipalTag/none}" } }),
        json!({ "NumericNotEquals": { "sts:ExternalId": "7" } }),
        json!({ "Null": { "sts:ExternalId": "maybe" } }),
        json!({ "NotIpAddress": { "aws:SourceIp": "everywhere" } }),
        json!({ "ForSomeValues:StringEquals": { "aws:TagKeys": "cost" } }),
    ];
    let mut said = Vec::new();
    for condition in cases {
        match under(condition.clone()) {
            Finding::Silent(why) => said.extend(why),
            other => panic!("{condition}: {other:?}"),
        }
        let deny = trust(json!([
            { "Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole" },
            { "Sid": "guard", "Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole", "Condition": condition }
        ]));
        assert!(matches!(evaluate(&deny, &session(), &keys()), Finding::Denied(_)));
    }
    insta::assert_snapshot!(said.join("\n"), @"
    Statement[0]: operator StringResembles is not known
    Statement[0]: condition key gitlab.example.com:namespace_path is not known
    Statement[0]: a policy variable in ${aws:PrincipalTag/none} has no value
    Statement[0]: NumericNotEquals cannot compare 7
    Statement[0]: Null cannot compare maybe
    Statement[0]: NotIpAddress cannot compare everywhere
    Statement[0]: operator ForSomeValues:StringEquals is not known
    ");
}

#[test]
fn identity_policies_limit_by_action_and_resource() {
    let allows = |action: Value, resource: Value| {
        let document = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": action, "Resource": resource } });
        let policy = parse(&document, Kind::Identity).unwrap();
        matches!(evaluate(&policy, &session(), &keys()), Finding::Allowed(..))
    };
    assert!(allows(json!("STS:assumerole"), json!("*")));
    assert!(allows(
        json!(["s3:*", "sts:Assume*"]),
        json!(["arn:aws:iam::*:role/dep*"])
    ));
    assert!(!allows(json!("sts:Assume"), json!("*")));
    assert!(!allows(
        json!("sts:AssumeRole"),
        json!("arn:aws:iam::123456789012:role/deploy-eu")
    ));
    assert!(!allows(
        json!("sts:AssumeRole"),
        json!("arn:aws:iam::123456789012:role/${aws:PrincipalTag/none}")
    ));
}

#[test]
fn a_broken_document_tells_every_fault() {
    let document = json!({
        "Version": "2012-10-18",
        "Extra": 1,
        "Statement": [
            { "Effect": "allow", "Action": "sts:AssumeRole" },
            { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:role/*" }, "Action": [], "Resource": "*" },
            { "Effect": "Allow", "NotPrincipal": "*", "Action": "a", "NotAction": "b", "Condition": { "StringEquals": "x" } }
        ]
    });
    let faults = parse(&document, Kind::Trust).unwrap_err();
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.at, fault.problem))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    Extra: is no element of a policy
    Version: is not a version of the policy language
    Statement[0].Effect: is neither Allow nor Deny
    Statement[0].Principal: must stand exactly once in a trust policy
    Statement[1].Resource: is no element of a policy
    Statement[1].Action: is not a text or a list of texts
    Statement[1].Principal.AWS: arn:aws:iam::123456789012:role/* is no principal
    Statement[2].NotAction: stands beside Action
    Statement[2].NotPrincipal: stands in an Allow statement
    Statement[2].Condition.StringEquals: is not a table
    ");
}

fn any_statement() -> impl Strategy<Value = Value> {
    let effect = prop_oneof![Just("Allow"), Just("Deny")];
    let principal = prop_oneof![
        Just(json!("*")),
        Just(json!({ "AWS": "123456789012" })),
        Just(json!({ "AWS": "arn:aws:iam::123456789012:role/team/lab-host" })),
        Just(json!({ "Service": "ec2.amazonaws.com" })),
        Just(json!({ "AWS": "999999999999" })),
    ];
    let action = prop_oneof![Just("sts:AssumeRole"), Just("sts:*"), Just("*"), Just("s3:GetObject")];
    let condition = prop_oneof![
        Just(json!({})),
        Just(json!({ "StringEquals": { "sts:ExternalId": "secret-7" } })),
        Just(json!({ "StringNotEquals": { "sts:ExternalId": "x" } })),
        Just(json!({ "StringLike": { "aws:unheard": "*" } })),
        Just(json!({ "Odd": { "sts:ExternalId": "x" } })),
        Just(json!({ "StringEqualsIfExists": { "sts:SourceIdentity": "x" } })),
        Just(json!({ "StringLike": { "sts:ExternalId": "${aws:username}" } })),
    ];
    (effect, principal, action, condition).prop_map(|(effect, principal, action, condition)| {
        json!({ "Effect": effect, "Principal": principal, "Action": action, "Condition": condition })
    })
}

proptest! {
    #[test]
    fn adding_a_deny_never_grants(
        statements in proptest::collection::vec(any_statement(), 1..5),
        added in any_statement(),
        at in 0_usize..5,
    ) {
        let before = evaluate(&trust(json!(statements)), &session(), &keys());
        let mut added = added;
        added["Effect"] = json!("Deny");
        let mut more = statements;
        more.insert(at.min(more.len()), added);
        let after = evaluate(&trust(json!(more)), &session(), &keys());
        prop_assert!(!matches!(after, Finding::Allowed(..)) || matches!(before, Finding::Allowed(..)));
    }

    #[test]
    fn a_deny_that_applies_always_wins(
        statements in proptest::collection::vec(any_statement(), 0..5),
        at in 0_usize..5,
    ) {
        let deny = json!({ "Effect": "Deny", "Principal": "*", "Action": "sts:*" });
        let mut all = statements;
        all.insert(at.min(all.len()), deny);
        prop_assert!(matches!(evaluate(&trust(json!(all)), &session(), &keys()), Finding::Denied(_)));
    }

    #[test]
    fn the_order_of_statements_does_not_matter(statements in proptest::collection::vec(any_statement(), 1..5)) {
        let forth = evaluate(&trust(json!(statements)), &session(), &keys());
        let back: Vec<Value> = statements.into_iter().rev().collect();
        let back = evaluate(&trust(json!(back)), &session(), &keys());
        prop_assert_eq!(std::mem::discriminant(&forth), std::mem::discriminant(&back));
    }

    #[test]
    fn no_positive_operator_grants_on_a_missing_key(
        operator in prop_oneof![
            Just("StringEquals"), Just("StringLike"), Just("StringEqualsIgnoreCase"), Just("ArnLike"), Just("ArnEquals"),
            Just("Bool"), Just("NumericLessThan"), Just("DateGreaterThan"), Just("IpAddress"), Just("ForAnyValue:StringLike"),
        ],
        value in "[ -~]{0,12}",
    ) {
        for key in ["sts:SourceIdentity", "aws:PrincipalTag/none", "aws:never-heard-of"] {
            let condition = json!({ operator: { key: [value.clone(), "*"] } });
            prop_assert!(!granted(condition));
        }
    }

    #[test]
    fn a_pattern_without_wildcards_fits_itself_alone(text in "[a-z:/$]{1,12}", other in "[a-z:/$]{1,12}") {
        prop_assume!(!text.contains("${"));
        let mut keys = keys();
        keys.set("sts:ExternalId", [other.as_str()]);
        let policy = trust(json!([
            { "Effect": "Allow", "Principal": "*", "Action": "*", "Condition": { "StringLike": { "sts:ExternalId": text } } }
        ]));
        let found = matches!(evaluate(&policy, &session(), &keys), Finding::Allowed(..));
        prop_assert_eq!(found, text == other);
    }

    #[test]
    fn no_document_makes_the_reader_panic(text in "\\PC{0,80}") {
        let _ = super::parse_text(&text, Kind::Trust);
        let _ = super::parse_text(&text, Kind::Identity);
    }
}
