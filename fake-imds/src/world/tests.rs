use proptest::prelude::*;

use super::*;

fn faults(text: &str) -> String {
    match parse("world.toml", text) {
        Ok(_) => "no fault".to_owned(),
        Err(broken) => broken.to_string(),
    }
}

#[test]
fn an_empty_file_is_the_default_world() {
    assert_eq!(parse("world.toml", "").unwrap(), World::default());
}

#[test]
fn every_field_is_read_and_the_tables_of_others_are_left_alone() {
    let world = parse(
        "world.toml",
        r#"
        [account]
        id = "210987654321"
        region = "cn-north-1"
        partition = "aws-cn"
        [instance]
        id = "i-0fedcba9876543210"
        profile = "p"
        role = "r"
        http_tokens = "required"
        hop_limit = 1
        endpoint = "disabled"
        ipv6 = false
        user_data = ""
        [instance.tags]
        "team:name" = "x"
        [[role]]
        name = "deploy"
        trust = { anything = true }
        [[user]]
        name = "alice"
        "#,
    )
    .unwrap();
    insta::assert_debug_snapshot!(world, @r#"
    World {
        account_id: "210987654321",
        region: "cn-north-1",
        partition: "aws-cn",
        instance_id: "i-0fedcba9876543210",
        profile: "p",
        role: "r",
        options: MetadataOptions {
            http_tokens: Required,
            hop_limit: 1,
            endpoint: Disabled,
            ipv6: false,
        },
        user_data: None,
        tags: {
            "team:name": "x",
        },
    }
    "#);
    assert_eq!(
        world.role_arn(Kind::Identity),
        "arn:aws-cn:iam::210987654321:role/aws:ec2-instance"
    );
    assert_eq!(world.domain(), "amazonaws.com.cn");
}

#[test]
fn every_fault_is_reported_at_once_with_line_and_remedy() {
    let text = r#"colour = "red"
[account]
id = "12345"
region = 7
[instance]
id = "i-xyz"
role = "a/b"
http_tokens = "maybe"
hop_limit = 65
ipv6 = "yes"
endpoint = "off"
nme = "typo"
[instance.tags]
"a/b" = "x"
number = 1
"#;
    insta::assert_snapshot!(faults(text), @r#"
    world.toml:1: colour: is unknown; remove it, or use one of account, instance, role, user, oidc_provider
    world.toml:3: account.id: "12345" is not accepted; give twelve digits, in quotes
    world.toml:4: account.region: is not a string; give a region such as "eu-central-1"
    world.toml:6: instance.id: "i-xyz" is not accepted; give i- and 17 hexadecimal digits in lower case
    world.toml:7: instance.role: "a/b" is not accepted; give up to 64 letters, digits or +=,.@_-, or "" for an instance without a profile
    world.toml:8: instance.http_tokens: "maybe" is not accepted; give "optional" or "required"
    world.toml:9: instance.hop_limit: is out of range; give a whole number from 1 to 64
    world.toml:10: instance.ipv6: is neither true nor false; write true or false, without quotes
    world.toml:11: instance.endpoint: "off" is not accepted; give "enabled" or "disabled"
    world.toml:12: instance.nme: is unknown; remove it, or use one of id, profile, role, http_tokens, hop_limit, endpoint, ipv6, user_data, tags
    world.toml:14: instance.tags.a/b: is not accepted; tags in metadata have names of letters, digits and +-=.,_:@ (not . or ..), and values up to 256 bytes
    world.toml:15: instance.tags.number: is not a string; tags in metadata have names of letters, digits and +-=.,_:@ (not . or ..), and values up to 256 bytes
    "#);
}

#[test]
fn a_syntax_fault_names_its_line() {
    insta::assert_snapshot!(faults("[account]\nid = \n[instance\n"), @r#"
    world.toml:2: string values must be quoted, expected literal string; correct the TOML
    world.toml:3: unclosed table, expected `]`; correct the TOML
    "#);
    insta::assert_snapshot!(faults("account = 1\n"), @"world.toml:1: account: is not a table; write [account]");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _world = parse("world.toml", &text);
    }

    #[test]
    fn no_toml_panics(text in "(\\[account\\]|\\[instance\\]|id|tags|=|\"a\"|1|\\{|\\}|\\.|\n| |\\[\\[role\\]\\]){0,30}") {
        let _world = parse("world.toml", &text);
    }
}
