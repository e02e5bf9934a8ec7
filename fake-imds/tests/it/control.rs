//! Ledger, faults, holds, clock and options over the control socket.

use std::io::{ErrorKind, Read, Write};

use crate::running::{Running, body};

const ROLE: &str = "/latest/meta-data/iam/security-credentials/lab-host";

#[test]
fn the_ledger_has_every_request_as_received() {
    let imds = Running::start(&[]);
    imds.raw("GET /latest/user-data?x=1#part HTTP/1.1\r\nHost: y\r\nX-Nonce: 7\r\n\r\n");
    imds.raw("PUT /latest/api/token HTTP/1.1\r\nHost: y\r\nContent-Length: 3\r\n\r\nabc");
    imds.raw("NONSENSE\r\n\r\n");
    imds.raw("GET /a b HTTP/1.1\r\nHost: y\r\n\r\n");
    let entries = imds.ledger();
    let first = &entries[0];
    assert_eq!(
        (&first["seq"], &first["service"], &first["method"]),
        (&1.into(), &"imds".into(), &"GET".into())
    );
    assert_eq!(first["target"], "/latest/user-data?x=1#part");
    assert_eq!(first["local"], imds.address.to_string());
    assert!(first["source"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(first["headers"], serde_json::json!([["host", "y"], ["x-nonce", "7"]]));
    assert_eq!(
        first["facts"],
        serde_json::json!({"path": "/latest/user-data", "method": "GET", "token": "none", "version": "v1", "instance": "i-0123456789abcdef0"})
    );
    assert_eq!(
        first["answer"],
        serde_json::json!({"status": 200, "reason": "user data"})
    );
    assert_eq!(
        (&entries[1]["body_bytes"], &entries[1]["answer"]["status"]),
        (&3.into(), &400.into())
    );
    let malformed: Vec<_> = entries[2..]
        .iter()
        .map(|entry| (&entry["target"], &entry["answer"]["status"]))
        .collect();
    assert_eq!(
        malformed,
        [
            (&"NONSENSE".into(), &400.into()),
            (&"GET /a b HTTP/1.1".into(), &400.into())
        ]
    );
    let (_, page) = imds.control("GET", "/ledger?since=3", "");
    assert_eq!(
        (
            page["entries"].as_array().unwrap().len(),
            &page["next"],
            &page["dropped"]
        ),
        (2, &5.into(), &0.into())
    );
}

#[test]
fn every_canary_is_listed_and_found_where_it_is_planted() {
    let imds = Running::start(&["--seed", "other"]);
    let (_, canaries) = imds.control("GET", "/canaries", "");
    let put = imds.raw(
        "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 5\r\nContent-Length: 0\r\n\r\n",
    );
    let identity = "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance";
    for (name, answer) in [
        ("host-role", imds.get(ROLE)),
        ("identity-role", imds.get(identity)),
        ("user-data", imds.get("/latest/user-data")),
        (
            "identity-document",
            imds.get("/latest/dynamic/instance-identity/document"),
        ),
        ("tags", imds.get("/latest/meta-data/tags/instance/lab:canary")),
        ("public-key", imds.get("/latest/meta-data/public-keys/0/openssh-key")),
        ("host-iam-info", imds.get("/latest/meta-data/iam/info")),
        ("host-token", put),
    ] {
        let canary = canaries[name].as_str().unwrap();
        assert!(canary.len() == 16 && answer.contains(canary), "{name}: {answer}");
    }
    assert_eq!(canaries.as_object().unwrap().len(), 8);
}

#[test]
fn a_held_answer_waits_for_its_release() {
    let imds = Running::start(&[]);
    imds.fault(r#"{"match":{"path":"*/security-credentials/lab-host"},"times":1,"effect":{"hold":"swap"}}"#);
    let mut stream = imds.connect();
    write!(stream, "GET {ROLE} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(
        imds.control("GET", "/holds/swap?waiting=1", ""),
        (200, serde_json::json!({"waiting": 1}))
    );
    assert_eq!(
        imds.ledger()[0]["answer"],
        serde_json::json!({"status": 0, "reason": "not answered yet"})
    );
    assert_eq!(
        imds.control("POST", "/holds/swap/release", "").1,
        serde_json::json!({"released": 1})
    );
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(body(&answer).contains("\"Code\" : \"Success\""));
    assert_eq!(imds.ledger()[0]["answer"]["reason"], "held at swap; credentials");
}

#[test]
fn a_client_that_leaves_a_hold_is_in_the_ledger() {
    let imds = Running::start(&[]);
    imds.fault(r#"{"effect":{"hold":"gone"}}"#);
    let mut stream = imds.connect();
    write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(imds.control("GET", "/holds/gone?waiting=1", "").0, 200);
    drop(stream);
    assert_eq!(imds.ledger().len(), 1);
}

#[test]
fn faults_strike_as_often_as_they_say() {
    let imds = Running::start(&[]);
    imds.fault(r#"{"match":{"method":"GET"},"times":1,"effect":{"error":{"status":503}}}"#);
    assert!(
        imds.get("/latest/")
            .starts_with("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n")
    );
    assert!(imds.get("/latest/").starts_with("HTTP/1.1 200 OK"));
    imds.fault(r#"{"match":{"path":"/latest/"},"times":1,"effect":{"reset":true}}"#);
    let mut stream = imds.connect();
    stream.write_all(b"GET /latest/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(
        stream.read(&mut [0; 16]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    imds.fault(
        r#"{"times":1,"effect":{"rewrite":{"credentials:Code":"Failed","credentials:Token":"","colour":"red"}}}"#,
    );
    let answer = imds.get(ROLE);
    assert!(
        answer.contains("\"Code\" : \"Failed\"") && !answer.contains("\"Token\""),
        "{answer}"
    );
    let reasons: Vec<_> = imds
        .ledger()
        .iter()
        .map(|entry| entry["answer"]["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        reasons,
        [
            "fault: error 503",
            "listing",
            "fault: reset; listing",
            "fault: rewrite; credentials; a rewrite was not understood: colour=red",
        ]
    );
}

#[test]
fn a_mistaken_fault_is_refused_with_the_words_there_are() {
    let imds = Running::start(&[]);
    let (status, answer) = imds.control("POST", "/faults", r#"{"match":{"pth":"x"},"effect":{"reset":true}}"#);
    assert_eq!(status, 400);
    assert_eq!(
        answer["error"],
        "no fact is called \"pth\"; there are: path, method, token, version, instance"
    );
    assert_eq!(imds.control("POST", "/faults", r#"{"effect":{"explode":1}}"#).0, 422);
    assert_eq!(imds.control("DELETE", "/faults/9", "").0, 404);
}

#[test]
fn credentials_and_tokens_age_with_the_clock() {
    let imds = Running::start(&[]);
    let first = body(&imds.get(ROLE)).to_owned();
    assert_eq!(body(&imds.get(ROLE)), first);
    let put = imds.raw(
        "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n",
    );
    let ask = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: {}\r\n\r\n",
        body(&put)
    );
    assert!(imds.raw(&ask).starts_with("HTTP/1.1 200"));
    assert_eq!(imds.control("POST", "/clock", r#"{"advance_seconds":21400}"#).0, 200);
    assert!(imds.raw(&ask).starts_with("HTTP/1.1 401"));
    assert_ne!(body(&imds.get(ROLE)), first);
    imds.fault(r#"{"times":1,"effect":{"lifetime_seconds":5}}"#);
    let short: serde_json::Value = serde_json::from_str(body(&imds.get(ROLE))).unwrap();
    let seconds = |field: &str| {
        short[field]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_second()
    };
    assert_eq!(seconds("Expiration") - seconds("LastUpdated"), 5);
}

#[test]
fn options_change_while_it_runs_and_a_reset_puts_them_back() {
    let imds = Running::start(&[]);
    let (status, options) = imds.control(
        "PUT",
        "/metadata-options",
        r#"{"http_tokens":"required","hop_limit":1}"#,
    );
    assert_eq!(status, 200);
    assert_eq!(
        options,
        serde_json::json!({"http_tokens":"required","hop_limit":1,"endpoint":"enabled","ipv6":true,"instance_metadata_tags":"enabled"})
    );
    assert!(imds.get("/").starts_with("HTTP/1.1 401"));
    assert_eq!(imds.control("PUT", "/metadata-options", r#"{"hop_limit":65}"#).0, 400);
    assert_eq!(imds.control("POST", "/reset", "").0, 200);
    assert!(imds.get("/").starts_with("HTTP/1.1 200"));
    assert_eq!(imds.ledger().len(), 1);
    imds.control("PUT", "/metadata-options", r#"{"endpoint":"disabled"}"#);
    assert!(imds.get("/").starts_with("HTTP/1.1 403"));
}
