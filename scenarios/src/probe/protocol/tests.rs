use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::probe::bytes::Base64;

fn parse(value: Value) -> Result<Request, serde_json::Error> {
    serde_json::from_value(value)
}

#[test]
fn a_raw_request_reads_as_the_contract_writes_it() {
    let request = parse(
        json!({"id":1,"op":"raw","to":"169.254.169.254:80","send":"R0VU","bind":"10.0.0.1:99","half_close":true}),
    )
    .unwrap();
    assert_eq!(
        request.operation,
        Operation::Raw(Raw {
            to: "169.254.169.254:80".to_owned(),
            send: Base64::from("GET"),
            bind: Some("10.0.0.1:99".to_owned()),
            half_close: true,
            ..Raw::default()
        })
    );
}

#[test]
fn a_misspelt_field_is_refused() {
    assert!(parse(json!({"id":1,"op":"raw","to":"127.0.0.1:1","sned":""})).is_err());
}

#[test]
fn an_unknown_operation_is_refused() {
    assert!(parse(json!({"id":1,"op":"conquer"})).is_err());
}

#[test]
fn operations_without_options_need_only_their_name() {
    for op in ["sdk", "ping", "env", "interfaces"] {
        assert!(parse(json!({"id":1,"op":op})).is_ok(), "{op}");
    }
}

#[test]
fn replies_carry_ok_or_err() {
    let reply = Reply {
        id: 3,
        outcome: Outcome::Err(Failure {
            kind: FailureKind::Sts,
            message: "no".to_owned(),
        }),
    };
    insta::assert_snapshot!(serde_json::to_string(&reply).unwrap(), @r#"{"id":3,"err":{"kind":"sts","message":"no"}}"#);
    let reply = Reply {
        id: 4,
        outcome: Outcome::Ok(json!({})),
    };
    insta::assert_snapshot!(serde_json::to_string(&reply).unwrap(), @r#"{"id":4,"ok":{}}"#);
}

#[test]
fn every_end_of_a_connect_survives_the_wire() {
    for connect in [
        Connect::Ok,
        Connect::Refused,
        Connect::Timeout,
        Connect::Unreachable,
        Connect::Error("address not available".to_owned()),
    ] {
        let text = serde_json::to_string(&connect).unwrap();
        assert_eq!(serde_json::from_str::<Connect>(&text).unwrap(), connect);
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..64).prop_map(Base64);
    prop_oneof![
        (
            ".*",
            bytes(),
            proptest::option::of(".*"),
            proptest::option::of(any::<u64>()),
            any::<bool>(),
            proptest::option::of(any::<usize>())
        )
            .prop_map(|(to, send, bind, read_ms, half_close, responses)| Raw {
                to,
                send,
                bind,
                connect_ms: read_ms,
                read_ms,
                half_close,
                responses
            }
            .into()),
        (
            ".*",
            ".*",
            proptest::collection::vec((".*", ".*"), 0..4),
            proptest::option::of(bytes())
        )
            .prop_map(|(method, url, headers, body)| Http {
                method,
                target: url.get(..1).map(str::to_owned),
                url,
                headers,
                body,
                connect_ms: None,
                read_ms: None
            }
            .into()),
        (any::<u8>(), proptest::option::of(".*"), proptest::option::of(".*")).prop_map(|(version, host, role)| Imds {
            version,
            host,
            role,
            connect_ms: None,
            read_ms: None
        }
        .into()),
        (".*", bytes(), any::<bool>()).prop_map(|(name, data, half_close)| Send { name, data, half_close }.into()),
        (".*", any::<bool>()).prop_map(|(name, reset)| Close { name, reset }.into()),
        (".*", ".*", proptest::option::of(bytes())).prop_map(|(name, at, answer)| Listen { name, at, answer }.into()),
        (".*", proptest::option::of(".*")).prop_map(|(dev, add)| Address { add, del: None, dev }.into()),
        Just(Ping {}.into()),
    ]
}

proptest! {
    #[test]
    fn a_request_reads_back_as_it_was_written(id in any::<u64>(), operation in operation()) {
        let request = Request { id, operation };
        let line = serde_json::to_string(&request).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
    }

    #[test]
    fn hostile_lines_never_panic(line in "\\PC*") {
        let _ = serde_json::from_str::<Request>(&line);
        let _ = serde_json::from_str::<Reply>(&line);
    }
}
