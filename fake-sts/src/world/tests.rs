use fake_kit::seed::Seed;
use serde_json::json;

use super::{DEFAULT_WORLD, Faults, World, read, read_role};
use crate::lint::{Settings, judge};
use crate::oidc::Issuer;
use crate::policy::{Ask, Finding, Keys, Match, evaluate};
use crate::state::State;

fn world(text: &str) -> Result<World, Faults> {
    read(text, "world.toml", &Seed::default())
}

#[test]
fn the_built_in_world_is_whole() {
    let world = world(DEFAULT_WORLD).unwrap();
    assert_eq!(world.account.id, "123456789012");
    assert_eq!(
        world.role("123456789012", "lab-host").unwrap().arn.to_string(),
        "arn:aws:iam::123456789012:role/lab-host"
    );
    assert!(world.user("AKIAIOSFODNN7EXAMPLE").is_some());
}

#[test]
fn what_the_built_in_world_trusts_of_issuers_is_pinned() {
    let world = world(DEFAULT_WORLD).unwrap();
    for name in ["gitlab-deploy", "people"] {
        let trust = &world.role("123456789012", name).unwrap().trust;
        let found = judge(name, &trust.text, &Settings::default()).unwrap();
        assert!(found.is_empty(), "{found:?}");
    }
    // The start must not wait for a key.
    let state = State::new(world, false, Seed::default());
    assert!(state.issuers.len() == 1 && state.issuers.iter().all(Issuer::is_bare));
    assert!(state.identity_providers.iter().all(|idp| idp.public_key().is_none()));
}

#[test]
fn a_broken_world_tells_every_fault_with_line_and_remedy() {
    let text = r#"
[account]
id = "12345"
region = "eu-central-1"
colour = "red"

[instance]
anything = true

[[role]]
name = "dep loy"
max_session_seconds = 60
trust = { Version = "2012-10-17", Statement = [
  { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:root" }, Action = "sts:AssumeRole" },
  { Effect = "Maybe", Principal = "*", Action = "sts:AssumeRole" },
] }

[[role]]
name = "twice"
trust = '{"Version": "2012-10-17", "Statement": []}'
policy = [{ Statement = [{ Effect = "Allow", Action = "sts:AssumeRole" }] }]

[[user]]
name = "alice"
access_key_id = "ASIA1"

[[usr]]
"#;
    insta::assert_snapshot!(world(text).unwrap_err(), @r#"
    world.toml has 10 faults
    world.toml:3: account.id is 12345, not twelve digits
      hint: write "123456789012"
    world.toml:5: account.colour is not known
      hint: remove it, or use one of id, region, partition, outbound_web_identity
    world.toml:11: role[0].name is no IAM name
      hint: use up to 64 letters, digits and _+=,.@-
    world.toml:12: role[0].max_session_seconds is 60
      hint: write a number from 3600 to 43200, as IAM allows
    world.toml:15: role[0].trust.Statement[1].Effect is neither Allow nor Deny
      hint: write "Allow" or "Deny"
    world.toml:20: role[1].trust.Statement is missing or empty
      hint: write at least one statement
    world.toml:21: role[1].policy[0].Statement[0].Resource is missing
      hint: name the resource
    world.toml:23: user[0].secret_access_key is missing
      hint: write secret_access_key = "...", 40 characters
    world.toml:25: user[0].access_key_id is no long-lived key id
      hint: begin it with AKIA and use 16 to 128 letters and digits
    world.toml:27: usr is not known
      hint: remove it, or use one of account, role, user, policy, oidc_provider, saml_provider, issuer, organization, instance
    "#);
}

#[test]
fn broken_toml_tells_its_line() {
    insta::assert_snapshot!(world("[account]\nid = \n\nregion = x\n").unwrap_err(), @"
    world.toml has 2 faults
    world.toml:2: syntax: string values must be quoted, expected literal string
      hint: write TOML
    world.toml:4: syntax: string values must be quoted, expected literal string
      hint: write TOML
    ");
}

#[test]
fn equal_names_and_keys_are_refused() {
    let text = r#"
[account]
id = "123456789012"
region = "eu-central-1"
[[role]]
name = "a"
trust = { Statement = { Effect = "Allow", Principal = "*", Action = "sts:AssumeRole" } }
[[role]]
name = "a"
path = "/other/"
trust = { Statement = { Effect = "Allow", Principal = "*", Action = "sts:AssumeRole" } }
[[user]]
name = "x"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "s"
[[user]]
name = "y"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "s"
"#;
    let faults = world(text).unwrap_err().faults;
    let fields: Vec<_> = faults.iter().map(|fault| (fault.line, fault.field.as_str())).collect();
    assert_eq!(fields, [(Some(9), "role[1].name"), (Some(18), "user[1].access_key_id")]);
}

#[test]
fn a_role_made_again_is_another_principal() {
    let seed = Seed::default();
    let mut world = world(DEFAULT_WORLD).unwrap();
    let old = world.role("123456789012", "lab-host").unwrap().clone();
    let trusts = |world: &World| {
        let caller = world.role("123456789012", "lab-host").unwrap();
        let arn = caller.arn.to_string();
        let attributes = crate::policy::Attributes {
            arn: "",
            principal_arn: &arn,
            unique_id: &caller.id,
            account: "123456789012",
            partition: "aws",
            service: None,
            federated: None,
        };
        let ask = Ask {
            action: "sts:AssumeRole",
            resource: "",
            caller: &attributes,
            keys: &Keys::default(),
        };
        matches!(
            evaluate(world.role("123456789012", "deploy").unwrap().trust.policy(), &ask),
            Finding::Allowed(Match::Direct, _)
        )
    };
    assert!(trusts(&world));
    assert_eq!(world.put_role(old.clone(), &seed).id, old.id);
    assert!(trusts(&world));
    assert!(world.delete_role("123456789012", "lab-host").is_some());
    assert!(world.delete_role("123456789012", "lab-host").is_none());
    assert_ne!(world.put_role(old.clone(), &seed).id, old.id);
    assert!(!trusts(&world));
}

#[test]
fn a_role_can_be_read_from_json() {
    let account = world(DEFAULT_WORLD).unwrap().account;
    let trust = json!({ "Statement": { "Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole" } });
    let role = read_role(&json!({ "name": "a", "path": "/b/", "trust": trust }), &account).unwrap();
    assert_eq!(role.arn.to_string(), "arn:aws:iam::123456789012:role/b/a");
    insta::assert_snapshot!(read_role(&json!({ "name": "a" }), &account).unwrap_err(), @r#"
    request has 1 fault
    request: role.trust is missing
      hint: say who may assume the role: trust = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "123456789012" }, Action = "sts:AssumeRole" }] }
    "#);
}
