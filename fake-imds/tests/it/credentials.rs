//! Credentials from a fake STS, and the SDK's own provider as their client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use aws_config::imds::client::Client;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_credential_types::provider::ProvideCredentials;

use crate::running::{Running, body};

const ROLE: &str = "/latest/meta-data/iam/security-credentials/lab-host";
const IDENTITY: &str = "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance";
const GIVEN: &str =
    r#"{"access_key_id":"ASIAGIVEN","secret_access_key":"S","session_token":"T","expiration":"2999-01-02T03:04:05Z"}"#;

/// Answers one `POST /credentials`, and gives its body back.
fn answer_once<S: Read + Write>(stream: S, status: &str, answer: &str) -> String {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    assert!(head.starts_with("POST /credentials HTTP/1.1\r\n"), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
    stream.get_mut().write_all(text.as_bytes()).unwrap();
    String::from_utf8(body).unwrap()
}

fn sts(status: &'static str, answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (
        url,
        std::thread::spawn(move || answer_once(listener.accept().unwrap().0, status, answer)),
    )
}

/// A token's header, for `with_header`.
fn token_header(imds: &Running) -> String {
    let put = "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n";
    format!("X-aws-ec2-metadata-token: {}\r\n", body(&imds.raw(put)))
}

/// The document of credentials at a path.
fn with_header(imds: &Running, path: &str, header: &str) -> String {
    let answer = imds.raw(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    body(&answer).to_owned()
}

#[test]
fn credentials_come_from_the_sts_once_and_are_repeated() {
    let (url, asked) = sts("200 OK", GIVEN);
    let imds = Running::start(&["--sts-control", &url]);
    let first = imds.get(ROLE);
    assert!(body(&first).contains("\"AccessKeyId\" : \"ASIAGIVEN\""), "{first}");
    assert_eq!(body(&imds.get(ROLE)), body(&first));
    let wish: serde_json::Value = serde_json::from_str(&asked.join().unwrap()).unwrap();
    assert_eq!(
        wish,
        serde_json::json!({
            "role_arn": "arn:aws:iam::123456789012:role/lab-host",
            "session_name": "i-0123456789abcdef0",
            "via": "instance-profile",
            "duration_seconds": 21600,
            "canary": "host-role",
            "delivery": "1.0",
        })
    );
}

#[test]
fn each_version_of_the_service_has_credentials_of_its_own() {
    let imds = Running::world("[instance]\n[instance.switches]\nbad_token = \"ignored\"\n", &[]);
    for path in [ROLE, IDENTITY] {
        let token = token_header(&imds);
        let (one, two) = (with_header(&imds, path, ""), with_header(&imds, path, &token));
        assert_ne!(one, two);
        assert_eq!(with_header(&imds, path, &token_header(&imds)), two);
        assert_eq!(with_header(&imds, path, ""), one);
        // A token that is ignored does not make it version 2.
        assert_eq!(with_header(&imds, path, "X-aws-ec2-metadata-token: none\r\n"), one);
    }
}

#[test]
fn the_sts_is_told_which_version_delivers() {
    let container = "[instance]\ncontainer = { path = \"/v1/credentials\" }\n";
    let delivery = |path: &str, with_token: bool| {
        let (url, asked) = sts("200 OK", GIVEN);
        let imds = Running::world(container, &["--sts-control", &url]);
        let header = if with_token { token_header(&imds) } else { String::new() };
        with_header(&imds, path, &header);
        let wish: serde_json::Value = serde_json::from_str(&asked.join().unwrap()).unwrap();
        wish["delivery"].as_str().unwrap().to_owned()
    };
    for path in [ROLE, IDENTITY] {
        assert_eq!(delivery(path, false), "1.0", "{path}");
        assert_eq!(delivery(path, true), "2.0", "{path}");
    }
    assert_eq!(delivery("/v1/credentials", false), "2.0");
}

#[test]
fn the_sts_may_be_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = std::thread::spawn(move || answer_once(listener.accept().unwrap().0, "200 OK", GIVEN));
    let imds = Running::start(&["--sts-control", &format!("unix:{}", path.display())]);
    let identity = imds.get(IDENTITY);
    assert!(body(&identity).contains("ASIAGIVEN"), "{identity}");
    let wish = asked.join().unwrap();
    assert!(
        wish.contains("role/aws:ec2-instance") && wish.contains("identity-role"),
        "{wish}"
    );
}

#[test]
fn a_role_that_sts_refuses_is_told_in_the_document() {
    let (url, _asked) = sts("403 Forbidden", "untrusted");
    let imds = Running::start(&["--sts-control", &url]);
    let answer = imds.get(ROLE);
    assert!(answer.starts_with("HTTP/1.1 200 OK"));
    assert!(
        body(&answer).contains("\"Code\" : \"AssumeRoleUnauthorizedAccess\""),
        "{answer}"
    );
}

#[test]
fn an_sts_out_of_order_is_a_500_with_the_reason_in_the_ledger() {
    let imds = Running::start(&["--sts-control", "unix:/nonexistent/sts.sock"]);
    let answer = imds.get(ROLE);
    assert!(
        answer.starts_with("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n"),
        "{answer}"
    );
    let reason = imds.ledger()[0]["answer"]["reason"].to_string();
    assert!(
        reason.contains("cannot reach the fake STS at unix:/nonexistent/sts.sock"),
        "{reason}"
    );
    let (url, _asked) = sts("200 OK", "not JSON");
    let imds = Running::start(&["--sts-control", &url]);
    assert!(imds.get(ROLE).starts_with("HTTP/1.1 500"));
    assert!(
        imds.ledger()[0]["answer"]["reason"]
            .to_string()
            .contains("answered 200 instead of credentials")
    );
}

#[tokio::test]
async fn the_unmodified_sdk_provider_gets_credentials() {
    let imds = Running::world("[instance]\nhttp_tokens = \"required\"\n", &[]);
    let client = Client::builder()
        .endpoint(format!("http://{}", imds.address))
        .unwrap()
        .build();
    let provider = ImdsCredentialsProvider::builder().imds_client(client).build();
    let credentials = provider.provide_credentials().await.unwrap();
    let (_, canaries) = imds.control("GET", "/canaries", "");
    assert!(
        credentials
            .secret_access_key()
            .starts_with(canaries["host-role"].as_str().unwrap())
    );
    assert!(credentials.expiry().is_some());
    let seen: Vec<(String, String)> = imds
        .ledger()
        .iter()
        .map(|entry| {
            (
                entry["method"].as_str().unwrap().to_owned(),
                entry["target"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(seen[0], ("PUT".to_owned(), "/latest/api/token".to_owned()));
    assert_eq!(seen.last().unwrap(), &("GET".to_owned(), ROLE.to_owned()));
}
