use proptest::prelude::*;

use super::rule::Rule;
use super::shape::{Key, Kind};
use super::*;

fn read(text: &str) -> World {
    let worlds = parse("world.toml", text, Tolerance::Plausible);
    worlds.unwrap_or_else(|error| panic!("{error}")).pop().unwrap()
}

fn faults(text: &str) -> String {
    match parse("world.toml", text, Tolerance::Plausible) {
        Ok(_) => "no fault".to_owned(),
        Err(broken) => broken.to_string(),
    }
}

#[test]
fn an_empty_file_is_the_default_world() {
    assert_eq!(read(""), World::default());
}

#[test]
fn every_field_is_read_and_the_tables_of_others_are_left_alone() {
    let world = read(
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
    );
    let instance = &world.instance;
    assert_eq!(
        (
            world.account.id.as_str(),
            world.account.region.as_str(),
            world.account.partition.as_str()
        ),
        ("210987654321", "cn-north-1", "aws-cn")
    );
    assert_eq!(
        (instance.id.as_str(), instance.profile.as_str(), instance.role.as_str()),
        ("i-0fedcba9876543210", "p", "r")
    );
    insta::assert_debug_snapshot!(instance.options(), @r#"
    MetadataOptions {
        http_tokens: Required,
        hop_limit: 1,
        endpoint: Disabled,
        ipv6: false,
        instance_metadata_tags: Enabled,
    }
    "#);
    assert_eq!(instance.user_data_bytes(), None);
    assert_eq!(
        instance.tags,
        std::collections::BTreeMap::from([("team:name".to_owned(), "x".to_owned())])
    );
    assert_eq!(
        world.role_arn("aws:ec2-instance"),
        "arn:aws-cn:iam::210987654321:role/aws:ec2-instance"
    );
    assert_eq!(world.domain(), "amazonaws.com.cn");
}

/// One file describes both services.
#[test]
fn what_fake_sts_reads_of_a_world_is_passed_over() {
    let text = include_str!("../../../fake-sts/tests/clients/world.toml");
    let read = parse("world.toml", text, Tolerance::Plausible).unwrap();
    assert_eq!(read[0].account.id, "123456789012");
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
    world.toml:1: colour: is unknown; remove it, or use one of account, instance, role, user, policy, oidc_provider, saml_provider, issuer, organization
    world.toml:3: account.id: "12345" is not accepted; give twelve digits, in quotes
    world.toml:4: account.region: is not a string; give a region such as "eu-central-1"
    world.toml:6: instance.id: "i-xyz" is not accepted; give i- and 17 hexadecimal digits in lower case
    world.toml:7: instance.role: "a/b" is not accepted; give up to 64 letters, digits or +=,.@_-, or "" for an instance without a profile
    world.toml:8: instance.http_tokens: "maybe" is not accepted; give "optional" or "required"
    world.toml:9: instance.hop_limit: is out of range; give a whole number from 1 to 64
    world.toml:10: instance.ipv6: is neither true nor false; write true or false, without quotes
    world.toml:11: instance.endpoint: "off" is not accepted; give "enabled" or "disabled"
    world.toml:12: instance.nme: is unknown; remove it; `fake-imds schema` prints what may stand here
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

#[test]
fn a_typo_is_answered_with_the_nearest_field() {
    insta::assert_snapshot!(faults("[instance]\nhop_limits = 1\n[[instance.interface]]\nid = \"eni-1\"\n"), @r#"
    world.toml:2: instance.hop_limits: is unknown; remove it, or did you mean hop_limit?
    world.toml:3: instance.interface.mac: is missing; give it: its hardware address
    world.toml:4: instance.interface.id: "eni-1" is not accepted; give eni- and 17 hexadecimal digits in lower case
    "#);
}

#[test]
fn what_does_not_go_together_is_reported_at_once() {
    let text = r#"
[[instance]]
id = "i-0000000000000000a"
zone = "us-east-1a"
user_data = "x"
user_data_base64 = "eA=="
[[instance.interface]]
mac = "0e:49:61:0f:c3:11"
public = { "198.51.100.7" = "10.0.0.1" }
[[instance.interface]]
mac = "0e:49:61:0f:c3:12"
[[instance.event]]
state = "completed"
[[instance.timeline]]
spot = "stop"
complete = "instance-event-0000000a"
[[instance]]
id = "i-0000000000000000a"
"#;
    insta::assert_snapshot!(faults(text), @r#"
    world.toml:2: instance.listen: 2 of the instances answer whom no other does; give all but one of them listen, sources or tokens
    world.toml:3: instance.id: "i-0000000000000000a" is two instances; give each an id of its own
    world.toml:4: instance.zone: "us-east-1a" is not in eu-central-1; give a zone of account.region
    world.toml:6: instance.user_data: stands beside user_data_base64; keep one of them
    world.toml:9: instance.interface.public: "198.51.100.7" belongs to "10.0.0.1", which is not among ipv4; give one of the interface's ipv4
    world.toml:11: instance.interface.device_number: 0 is taken by another interface; count them from 0
    world.toml:11: instance.interface.ipv4: "172.31.22.10" belongs to another interface; give each addresses of its own
    world.toml:13: instance.event: is over and began in the future; say when it was: not_before
    world.toml:14: instance.timeline: has not exactly one of after and at; say when: after = 30, or at = "2026-01-02T03:04:05Z"
    world.toml:15: instance.timeline.spot: interrupts an instance that is not a spot instance; say life_cycle = "spot"
    world.toml:16: instance.timeline: there is no event "instance-event-0000000a"; give the id of an event that has one
    "#);
}

#[test]
fn anything_goes_where_it_is_asked_for_but_not_what_cannot_be_served() {
    let text = "[account]\nid = \"1\"\n[instance]\nid = \"my-instance\"\ntype = \"?\"\nimage = \"\"\nlife_cycle = \"eternal\"\n";
    let worlds = parse("world.toml", text, Tolerance::AnythingGoes).unwrap();
    assert_eq!(worlds[0].instance.id, "my-instance");
    assert_eq!(faults(text).lines().count(), 5);
    let text = "[instance]\ntags = { \"a/b\" = \"x\" }\nhop_limit = 0\nendpoint = \"off\"\nsources = [\"x\"]\n";
    let broken = parse("world.toml", text, Tolerance::AnythingGoes).unwrap_err();
    assert_eq!(broken.faults().len(), 4, "{broken}");
}

/// A value that a field of that kind takes.
fn example(kind: Kind) -> toml::Value {
    let text = |rule: Rule| {
        let known = [
            "x",
            "2026-01-02T03:04:05Z",
            "2026-01-02",
            "123456789012",
            "eu-central-1",
            "eu-central-1b",
            "euc1-az1",
            "m5.large",
            "10.0.0.1",
            "10.0.0.0/8",
            "2001:db8::",
            "2001:db8::/64",
            "0e:49:61:0f:c3:11",
            "127.0.0.1:80",
            "i-12345678",
            "ami-12345678",
            "aki-12345678",
            "ari-12345678",
            "r-12345678",
            "h-12345678",
            "eni-12345678",
            "subnet-12345678",
            "vpc-12345678",
            "sg-12345678",
            "instance-event-12345678",
            "eA==",
            "/x",
        ];
        let token = "AQAEAIXkhdOR3sIqAVRdg0mVAdHYRr_kfkFDU7SDzH9whlWZJwANKg==";
        let fitting = known.into_iter().chain([token]).find(|text| (rule.fits)(text));
        fitting
            .unwrap_or_else(|| panic!("nothing here fits: {}", rule.remedy))
            .to_owned()
    };
    match kind {
        Kind::Text(rule) => text(rule).into(),
        Kind::Word(words) | Kind::Usual(words) => words[0].into(),
        Kind::Flag => true.into(),
        Kind::Number(least, _) => least.into(),
        Kind::Texts(rule) => vec![text(rule)].into(),
        Kind::Named(names, values) => toml::Table::from_iter([(text(names), text(values).into())]).into(),
        Kind::Table(keys) | Kind::TableOrTables(keys) => filled(keys).into(),
        Kind::Tables(keys) => vec![toml::Value::Table(filled(keys))].into(),
        Kind::Foreign => toml::Table::new().into(),
    }
}

fn filled(keys: &[Key]) -> toml::Table {
    keys.iter()
        .map(|key| (key.name.to_owned(), example(key.kind)))
        .collect()
}

/// The shape and what is read agree: otherwise a field would be accepted and mean nothing.
#[test]
fn every_field_of_the_shape_is_read_into_something() {
    for key in fields::INSTANCE {
        let mut table = toml::Table::new();
        table.insert(key.name.to_owned(), example(key.kind));
        let mut other = toml::Table::new();
        other.insert(key.name.to_owned(), i64::MIN.into());
        let read = |table: toml::Table| Deserialize::deserialize(toml::Value::Table(table));
        let instance: Result<Instance, toml::de::Error> = read(table);
        assert!(instance.is_ok(), "{}: {instance:?}", key.name);
        let refused: Result<Instance, toml::de::Error> = read(other);
        assert!(refused.is_err(), "{} is read by nobody", key.name);
    }
}

#[test]
fn the_schema_follows_the_shape() {
    let schema = schema();
    let instance = &schema["properties"]["instance"]["oneOf"][0];
    assert_eq!(instance["properties"]["hop_limit"]["maximum"], 64);
    assert_eq!(
        instance["properties"]["interface"]["items"]["required"],
        serde_json::json!(["mac"])
    );
    assert_eq!(instance["additionalProperties"], false);
    assert_eq!(
        instance["properties"].as_object().unwrap().len(),
        fields::INSTANCE.len()
    );
}

proptest! {
    #[test]
    fn what_the_shape_accepts_is_read(chosen in proptest::collection::vec(any::<bool>(), fields::INSTANCE.len())) {
        let keys = fields::INSTANCE.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        let instance: toml::Table = keys.map(|(key, _)| (key.name.to_owned(), example(key.kind))).collect();
        let file = toml::Table::from_iter([("instance".to_owned(), toml::Value::Table(instance))]).to_string();
        if let Err(broken) = parse("world.toml", &file, Tolerance::AnythingGoes) {
            // Values may clash; what was refused by the shape has another remedy.
            for fault in broken.faults() {
                prop_assert!(fault.field.starts_with("instance."), "{}: {}", fault, file);
                prop_assert!(!fault.remedy.contains("correct the TOML"), "{}", fault);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _world = parse("world.toml", &text, Tolerance::AnythingGoes);
    }

    #[test]
    fn no_toml_panics(text in "(\\[account\\]|\\[instance\\]|id|tags|=|\"a\"|1|\\{|\\}|\\.|\n| |\\[\\[role\\]\\]){0,30}") {
        let _world = parse("world.toml", &text, Tolerance::AnythingGoes);
    }
}
