//! Every class of answers, byte for byte, with the clock standing still. One snapshot; each line of a head ends in a carriage return too.

use std::fmt::Write as _;

use fake_imds::FakeImds;
use fake_kit::listen::Listen;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TOKEN_PUT: &str = "PUT /latest/api/token\nX-aws-ec2-metadata-token-ttl-seconds: 21600";

/// A title, the instance's fields, faults, and the request: its first words, and its headers by line. `TOKEN` becomes a token.
const CLASSES: &[(&str, &str, &[&str], &str)] = &[
    ("a token", "", &[], TOKEN_PUT),
    (
        "a leaf, v2",
        "",
        &[],
        "GET /latest/meta-data/instance-id\nX-aws-ec2-metadata-token: TOKEN",
    ),
    ("a leaf, v1", "", &[], "GET /latest/meta-data/instance-id"),
    ("HEAD of a leaf", "", &[], "HEAD /latest/meta-data/instance-id"),
    ("a listing", "", &[], "GET /latest/meta-data/iam/"),
    ("the versions", "", &[], "GET /"),
    ("user data", "", &[], "GET /latest/user-data"),
    ("the role", "", &[], "GET /latest/meta-data/iam/security-credentials/"),
    (
        "credentials",
        "",
        &[],
        "GET /latest/meta-data/iam/security-credentials/lab-host",
    ),
    (
        "credentials, AssumeRoleUnauthorizedAccess",
        "profile_state = \"untrusted\"",
        &[],
        "GET /latest/meta-data/iam/security-credentials/lab-host",
    ),
    (
        "InstanceProfileNotFound",
        "profile_state = \"not-found\"",
        &[],
        "GET /latest/meta-data/iam/info",
    ),
    (
        "credentials with an account",
        "switches = { extended_credentials = true }",
        &[],
        "GET /latest/meta-data/iam/security-credentials-extended/lab-host",
    ),
    (
        "the identity document",
        "",
        &[],
        "GET /latest/dynamic/instance-identity/document",
    ),
    (
        "its signature",
        "",
        &[],
        "GET /latest/dynamic/instance-identity/signature",
    ),
    (
        "a spot notice",
        "life_cycle = \"spot\"\ntimeline = [{ after = 0, spot = \"terminate\" }]",
        &[],
        "GET /latest/meta-data/spot/instance-action",
    ),
    (
        "scheduled maintenance",
        "event = [{ id = \"instance-event-0d59937288b749b32\" }]",
        &[],
        "GET /latest/meta-data/events/maintenance/scheduled",
    ),
    (
        "credentials for a container",
        "container = { path = \"/v1/credentials\", authorization = \"secret\" }",
        &[],
        "GET /v1/credentials\nAuthorization: secret",
    ),
    (
        "a container without authorization",
        "container = { path = \"/v1/credentials\", authorization = \"secret\" }",
        &[],
        "GET /v1/credentials",
    ),
    ("OPTIONS of the token path", "", &[], "OPTIONS /latest/api/token"),
    ("OPTIONS elsewhere", "", &[], "OPTIONS /latest/meta-data/"),
    (
        "301",
        "switches = { listing_without_slash = \"redirect\" }",
        &[],
        "GET /latest/meta-data",
    ),
    ("400", "", &[], "PUT /latest/api/token"),
    (
        "400 with a page",
        "switches = { error_body = \"page\" }",
        &[],
        "PUT /latest/api/token",
    ),
    (
        "401",
        "http_tokens = \"required\"",
        &[],
        "GET /latest/meta-data/instance-id",
    ),
    (
        "403, forwarded",
        "",
        &[],
        "PUT /latest/api/token\nX-aws-ec2-metadata-token-ttl-seconds: 60\nX-Forwarded-For: 203.0.113.7",
    ),
    (
        "403, disabled",
        "endpoint = \"disabled\"",
        &[],
        "GET /latest/meta-data/instance-id",
    ),
    ("404", "", &[], "GET /latest/meta-data/nothing"),
    ("405 at the token path", "", &[], "GET /latest/api/token"),
    ("405 elsewhere", "", &[], "DELETE /latest/meta-data/instance-id"),
    (
        "417",
        "",
        &[],
        "PUT /latest/api/token\nX-aws-ec2-metadata-token-ttl-seconds: 60\nExpect: 100-continue",
    ),
    (
        "500",
        "",
        &[r#"{"effect":{"error":{"status":500}}}"#],
        "GET /latest/meta-data/instance-id",
    ),
    (
        "503, throttled",
        "throttle = { requests_per_second = 1, burst = 1 }",
        &[],
        "GET /latest/meta-data/instance-id\nX-aws-ec2-metadata-token: TOKEN",
    ),
    (
        "429, throttled",
        "throttle = { requests_per_second = 1, burst = 1 }\nswitches = { overload = \"too-many-requests\" }",
        &[],
        "GET /latest/meta-data/instance-id\nX-aws-ec2-metadata-token: TOKEN",
    ),
    ("no request", "", &[], "NONSENSE"),
    (
        "no request, with a page",
        "switches = { error_body = \"page\" }",
        &[],
        "NONSENSE",
    ),
    ("a head that is too long", "", &[], "GET / MANY"),
];

async fn exchange(imds: &FakeImds, request: &str) -> String {
    let mut lines = request.lines();
    let first = lines.next().unwrap();
    let version = if first.contains(' ') { " HTTP/1.1" } else { "" };
    let many = "A: b\r\n".repeat(101);
    let headers: String = lines.map(|line| format!("{line}\r\n")).collect();
    let length = if first.starts_with("PUT") {
        "Content-Length: 0\r\n"
    } else {
        ""
    };
    let first = first.replace(" MANY", "");
    let headers = headers + if request.contains("MANY") { &many } else { "" };
    let text = format!("{first}{version}\r\nHost: 169.254.169.254\r\n{headers}{length}\r\n");
    let Listen::Tcp(address) = &imds.addresses()[0] else {
        panic!("not an address")
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn every_class_has_these_bytes() {
    let mut shown = String::new();
    for (title, instance, faults, request) in CLASSES {
        let world = format!("[instance]\n{instance}\n");
        let builder = FakeImds::builder()
            .world(world)
            .frozen_at("2026-01-02T03:04:05Z".parse().unwrap());
        let imds = builder.start().await.unwrap_or_else(|error| panic!("{title}: {error}"));
        let mut request = (*request).to_owned();
        if request.contains("TOKEN") {
            let put = exchange(&imds, TOKEN_PUT).await;
            request = request.replace("TOKEN", put.split("\r\n\r\n").nth(1).unwrap());
        }
        for fault in *faults {
            imds.plant(fault).unwrap();
        }
        let answer = exchange(&imds, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            !head.replace("\r\n", "").contains(['\r', '\n']) && !body.contains('\r'),
            "{title}"
        );
        // What the session token is derived from is JSON, in whatever order of keys.
        let lines: Vec<&str> = answer
            .lines()
            .map(|line| {
                if line.contains("\"Token\"") {
                    "  (the token)"
                } else {
                    line
                }
            })
            .collect();
        let ended = if answer.ends_with('\n') { "\n" } else { "" };
        let lines = lines.join("\n");
        writeln!(shown, "=== {title}\n{lines}{ended}⏹\n").unwrap();
    }
    insta::assert_snapshot!(shown);
}
