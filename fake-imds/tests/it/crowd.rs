//! A thousand clients at once: each gets what it asked for, and the service stays small.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::running::Running;

const CLIENTS: usize = 1_000;
/// What the program may take more than before, with its ledger full. A test is not optimised; `ci/bench` tells what the program itself takes.
const MOST_GROWTH_KIB: u64 = 6 * 1024;

/// One answer of a connection that is kept: its head and body.
async fn answer(stream: &mut TcpStream) -> (String, String) {
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection ended early");
        text.extend(&buffer[..count]);
        let seen = String::from_utf8_lossy(&text);
        let Some((head, body)) = seen.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return (head.to_owned(), body.to_owned());
        }
    }
}

/// Asks for a token while all others are connected, then for what it opens; the token.
async fn client(address: SocketAddr, number: usize, all: Arc<Barrier>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    all.wait().await;
    let ttl = 1 + number % 21_600;
    let put = format!(
        "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: {ttl}\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(put.as_bytes()).await.unwrap();
    let (head, token) = answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("Token-Ttl-Seconds: {ttl}\r\n")), "{head}");
    for (path, expected) in [
        ("meta-data/instance-id", "i-0123456789abcdef0"),
        ("meta-data/iam/security-credentials/", "lab-host"),
    ] {
        let get = format!("GET /latest/{path} HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n");
        stream.write_all(get.as_bytes()).await.unwrap();
        let (head, body) = answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, expected);
    }
    all.wait().await;
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_at_once_get_what_they_ask_for() {
    fake_kit::ambient::take_descriptors();
    let imds = Running::world(
        "[instance]\nhttp_tokens = \"required\"\n",
        &["--keep-alive", "--frozen-at", "2026-01-02T03:04:05Z"],
    );
    let all = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(imds.address, number, Arc::clone(&all))))
        .collect();
    let mut tokens = BTreeSet::new();
    for client in clients {
        tokens.insert(client.await.unwrap());
    }
    assert_eq!(tokens.len(), CLIENTS, "no two clients have one token");
    let claims = r#"[{"match":{"method":"PUT","status":"200"},"exactly":1,"per":"source"},
        {"match":{"method":"GET","status":"200","token":"valid"},"exactly":2,"per":"source"},
        {"match":{"status":"200"},"exactly":3000}]"#;
    let (status, judged) = imds.control("POST", "/assertions", claims);
    assert_eq!(status, 200, "{judged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_ledger_takes_what_it_may_and_no_claim_holds_any_more() {
    let imds = Running::start(&["--keep-alive", "--ledger", "2MiB"]);
    let before = imds.memory();
    let mut stream = TcpStream::connect(imds.address).await.unwrap();
    let name = "x".repeat(900);
    for number in 0..5_000 {
        let get = format!("GET /latest/{name}/{number} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(get.as_bytes()).await.unwrap();
        answer(&mut stream).await;
    }
    let grown = imds.memory().saturating_sub(before);
    assert!(grown < MOST_GROWTH_KIB, "{grown} KiB");
    let claim = r#"{"match":{"version":"v2"},"exactly":0}"#;
    let (status, judged) = imds.control("POST", "/assertions", claim);
    assert_eq!((status, judged["held"].as_bool()), (409, Some(false)));
    let said = judged["unmet"][0]["said"].as_str().unwrap();
    assert!(
        said.starts_with("the ledger has lost ") && said.ends_with("or let it be larger than 2MiB"),
        "{said}"
    );
    imds.control("POST", "/reset", "");
    assert_eq!(imds.control("POST", "/assertions", claim).0, 200);
}
