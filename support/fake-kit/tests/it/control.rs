use tokio::net::TcpStream;

use crate::stage::{Stage, exchange};

#[tokio::test]
async fn the_common_routes_answer_as_agreed() {
    let stage = Stage::set(false).await;
    let mut seen = Vec::new();
    for (method, path, body) in [
        ("GET", "/healthz", ""),
        ("GET", "/canaries", ""),
        ("GET", "/ledger", ""),
        (
            "POST",
            "/faults",
            r#"{"match":{"path":"/x*"},"times":2,"effect":{"hold":"h"}}"#,
        ),
        ("GET", "/faults", ""),
        ("DELETE", "/faults/1", ""),
        ("DELETE", "/faults/1", ""),
        (
            "POST",
            "/faults",
            r#"{"match":{"colour":"red"},"effect":{"reset":true}}"#,
        ),
        ("POST", "/faults", r#"{"effect":{"error":{"status":99}}}"#),
        ("DELETE", "/faults", ""),
        ("GET", "/holds/h?waiting=0", ""),
        ("POST", "/holds/h/release", ""),
        ("POST", "/clock", r#"{"advance_seconds":3600}"#),
        ("POST", "/clock", r#"{"advance":1}"#),
        ("POST", "/clock", r#"{"set":"2026-01-02T03:04:05Z","speed":0.5}"#),
        ("GET", "/clock", ""),
        ("POST", "/clock", r#"{"speed":-1}"#),
        ("POST", "/reset", ""),
        ("POST", "/clock", r#"{"advance_seconds":0}"#),
        ("GET", "/ledger?path=/x&since=1", ""),
        ("GET", "/ledger?pth=/x", ""),
        ("POST", "/assertions", r#"{"match":{"path":"/x"},"exactly":0}"#),
        ("POST", "/assertions", r#"[{"at_least":1}]"#),
        ("POST", "/assertions", r#"{"per":"colour"}"#),
        ("GET", "/nothing", ""),
    ] {
        seen.push(format!("{method} {path}: {}", stage.control(method, path, body).await));
    }
    insta::assert_snapshot!(seen.join("\n"), @r#"
    GET /healthz: 200 ok
    GET /canaries: 200 {"one":"Y4PM5ODPLYXPEYPS"}
    GET /ledger: 200 {"entries":[],"next":1,"dropped":0}
    POST /faults: 200 {"id":1}
    GET /faults: 200 {"1":{"match":{"path":"/x*"},"times":2,"effect":{"hold":"h"}}}
    DELETE /faults/1: 200 {"removed":1}
    DELETE /faults/1: 404 {"error":"no fault 1 is planted"}
    POST /faults: 400 {"error":"no fact is called \"colour\"; there are: path"}
    POST /faults: 400 {"error":"status 99 is not between 200 and 599"}
    DELETE /faults: 200 {"removed":0}
    GET /holds/h?waiting=0: 200 {"waiting":0}
    POST /holds/h/release: 200 {"released":0}
    POST /clock: 200 {"now":"1970-01-01T01:00:00Z"}
    POST /clock: 422 Failed to deserialize the JSON body into the target type: advance: unknown field `advance`, expected one of `advance_seconds`, `set`, `freeze`, `speed` at line 1 column 10
    POST /clock: 200 {"now":"2026-01-02T03:04:05Z"}
    GET /clock: 200 {"now":"2026-01-02T03:04:05Z","frozen":true,"speed":0.5}
    POST /clock: 400 {"error":"speed is not from 0 to 1000000"}
    POST /reset: 200 {"reset":true}
    POST /clock: 200 {"now":"1970-01-01T00:00:00Z"}
    GET /ledger?path=/x&since=1: 200 {"entries":[],"next":1,"dropped":0}
    GET /ledger?pth=/x: 400 {"error":"entries have no \"pth\"; there are: path, method, service, source, client, local, target, status, reason, header:NAME"}
    POST /assertions: 200 {"held":true,"unmet":[]}
    POST /assertions: 409 {"held":false,"unmet":[{"said":"there are 0 requests of {\"at_least\":1}","assertion":{"at_least":1},"entries":[]}]}
    POST /assertions: 400 {"error":"entries have no \"colour\"; there are: path, method, service, source, client, local, target, status, reason, header:NAME"}
    GET /nothing: 404
    "#);
}

#[tokio::test]
async fn a_hold_is_a_barrier_for_every_request_that_matches() {
    let stage = Stage::set(false).await;
    stage
        .control("POST", "/faults", r#"{"match":{"path":"/held"},"effect":{"hold":"h"}}"#)
        .await;
    let request = "GET /held HTTP/1.1\r\nHost: x\r\n\r\n";
    let held: Vec<_> = (0..3)
        .map(|_| {
            let tcp = stage.tcp.clone();
            tokio::spawn(async move { exchange(TcpStream::connect(tcp).await.unwrap(), request).await.unwrap() })
        })
        .collect();
    assert_eq!(
        stage.control("GET", "/holds/h?waiting=3", "").await,
        r#"200 {"waiting":3}"#
    );
    assert!(
        stage
            .raw("GET /free HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert_eq!(
        stage.control("POST", "/holds/h/release", "").await,
        r#"200 {"released":3}"#
    );
    for answer in held {
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 200"));
    }
}
