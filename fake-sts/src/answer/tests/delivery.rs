//! Which version of the metadata service delivered an instance's credentials, and what policies make of it.

use std::sync::Arc;

use serde_json::json;

use super::{Bench, Keys, alice};
use crate::context::{Origin, caller_keys};
use crate::control::{Wanted, decide};
use crate::state::Caller;

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[role]]
name = "lab-host"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" } }
policy = { Version = "2012-10-17", Statement = { Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" } }

[[role]]
name = "strict-host"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" } }
policy = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" }, { Sid = "v2", Effect = "Deny", Action = "*", Resource = "*", Condition = { NumericLessThan = { "ec2:RoleDelivery" = "2.0" } } }] }

[[role]]
name = "open"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { AWS = "123456789012" }, Action = "sts:AssumeRole" } }
policy = { Version = "2012-10-17", Statement = { Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" } }

[[role]]
name = "v2-only"
trust = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "123456789012" }, Action = "sts:AssumeRole" }, { Sid = "v2", Effect = "Deny", Principal = { AWS = "*" }, Action = "*", Condition = { NumericLessThan = { "ec2:RoleDelivery" = "2.0" } } }] }

[[role]]
name = "no-delivery"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { AWS = "123456789012" }, Action = "sts:AssumeRole", Condition = { Null = { "ec2:RoleDelivery" = "true", "ec2:SourceInstanceARN" = "true" } } } }

[[role]]
name = "own-instance"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { AWS = "123456789012" }, Action = "sts:AssumeRole", Condition = { ArnEquals = { "ec2:SourceInstanceARN" = "arn:aws:ec2:eu-central-1:123456789012:instance/i-0123456789abcdef0" } } } }

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "alice-secret"
policy = { Version = "2012-10-17", Statement = { Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" } }
"#;

/// What the metadata service asks for; without `delivery` when it is empty.
fn wish(role: &str, via: &str, delivery: &str) -> serde_json::Value {
    let mut wish = json!({
        "role_arn": format!("arn:aws:iam::123456789012:role/{role}"),
        "session_name": "i-0123456789abcdef0",
        "via": via,
        "duration_seconds": 21_600,
        "canary": "host-role",
    });
    if !delivery.is_empty() {
        wish["delivery"] = delivery.into();
    }
    wish
}

fn delivered(bench: &mut Bench, role: &str, via: &str, delivery: &str) -> Keys {
    let wanted: Wanted = serde_json::from_value(wish(role, via, delivery)).unwrap();
    let grant = decide(&bench.state, &wanted).unwrap();
    Keys::from(&bench.keep(grant))
}

/// Why somebody does not get the role; empty if he does.
fn objection(bench: &mut Bench, keys: &Keys, role: &str) -> String {
    match bench.assume(keys, &format!("123456789012:role/{role}"), "") {
        Ok(_) => String::new(),
        Err(refusal) => refusal.denied_by.unwrap(),
    }
}

#[test]
fn a_trust_may_refuse_what_version_one_delivered() {
    let mut bench = Bench::of(WORLD);
    let one = delivered(&mut bench, "lab-host", "instance-profile", "1.0");
    assert_eq!(objection(&mut bench, &one, "open"), "");
    insta::assert_snapshot!(objection(&mut bench, &one, "v2-only"), @"trust policy: explicit deny in v2");
    for delivery in ["2.0", ""] {
        let two = delivered(&mut bench, "lab-host", "instance-profile", delivery);
        assert_eq!(objection(&mut bench, &two, "v2-only"), "", "{delivery:?}");
    }
}

#[test]
fn a_role_may_be_worth_nothing_when_version_one_delivered_it() {
    let mut bench = Bench::of(WORLD);
    let one = delivered(&mut bench, "strict-host", "instance-profile", "1.0");
    insta::assert_snapshot!(objection(&mut bench, &one, "open"), @"identity policy: explicit deny in v2");
    let two = delivered(&mut bench, "strict-host", "instance-profile", "2.0");
    assert_eq!(objection(&mut bench, &two, "open"), "");
}

#[test]
fn users_and_roles_that_were_assumed_were_not_delivered() {
    let mut bench = Bench::of(WORLD);
    let host = delivered(&mut bench, "lab-host", "instance-profile", "1.0");
    let next = Keys::from(&bench.assume(&host, "123456789012:role/open", "").unwrap());
    for keys in [alice(), next] {
        assert_eq!(objection(&mut bench, &keys, "no-delivery"), "");
        assert_eq!(objection(&mut bench, &keys, "v2-only"), "");
        assert_ne!(objection(&mut bench, &keys, "own-instance"), "");
    }
    insta::assert_snapshot!(objection(&mut bench, &host, "no-delivery"), @"trust policy: no statement allows; Statement[0]: Null ec2:roledelivery does not hold: the request has 1.0, the policy wants true");
}

#[test]
fn credentials_name_their_instance() {
    let mut bench = Bench::of(WORLD);
    let host = delivered(&mut bench, "lab-host", "instance-profile", "2.0");
    assert_eq!(objection(&mut bench, &host, "own-instance"), "");
    let mut other = wish("lab-host", "instance-profile", "2.0");
    other["session_name"] = "i-0000000000000000b".into();
    let grant = decide(&bench.state, &serde_json::from_value(other).unwrap()).unwrap();
    let other = Keys::from(&bench.keep(grant));
    assert_ne!(objection(&mut bench, &other, "own-instance"), "");
}

#[test]
fn both_roles_of_an_instance_say_it_after_their_token_was_read() {
    let mut bench = Bench::of(WORLD);
    for (role, via) in [
        ("lab-host", "instance-profile"),
        ("aws:ec2-instance", "instance-identity"),
    ] {
        let keys = delivered(&mut bench, role, via, "1.0");
        let session = bench.state.session(&keys.id, keys.token.unwrap().expose()).unwrap();
        let caller = Caller::Session(Arc::new(session));
        let told = caller_keys(&caller, &bench.state.world, &Origin::default(), bench.now);
        assert_eq!(told.values("ec2:RoleDelivery"), ["1.0"], "{via}");
        assert_eq!(
            told.values("ec2:SourceInstanceARN"),
            ["arn:aws:ec2:eu-central-1:123456789012:instance/i-0123456789abcdef0"],
            "{via}"
        );
    }
}

#[test]
fn only_versions_that_there_are_deliver() {
    for delivery in ["3.0", "1", "v2"] {
        let refused = serde_json::from_value::<Wanted>(wish("lab-host", "instance-profile", delivery)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("unknown variant `{delivery}`, expected `1.0` or `2.0`")
        );
    }
}
