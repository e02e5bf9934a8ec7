use std::io::ErrorKind;

use tokio::net::TcpStream;

use crate::stage::{Stage, exchange};

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn targets_are_kept_as_received() {
    let stage = Stage::set(false).await;
    for target in ["/a?b=c#d", "/%2e%2E//x", "http://other/x", "*"] {
        let answer = stage
            .raw(&format!("OPTIONS {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        assert_eq!(body(&answer), format!("OPTIONS {target} 0"));
    }
    assert_eq!(stage.ledger.since(0).entries[0].target, "/a?b=c#d");
}

#[tokio::test]
async fn a_unix_listener_serves_the_same() {
    let stage = Stage::set(false).await;
    let answer = stage
        .over_unix("PUT /u HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"),
        "{answer}"
    );
    assert_eq!(body(&answer), "PUT /u 3");
    let entry = stage.ledger.since(0).entries.remove(0);
    assert_eq!((entry.source.as_str(), entry.body_bytes), ("unix", 3));
    assert!(entry.local.starts_with("unix:/"));
}

#[tokio::test]
async fn what_is_no_request_is_in_the_ledger_too() {
    let stage = Stage::set(false).await;
    assert!(stage.raw("\u{1}\u{2}\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert!(
        stage
            .raw("GET / HTTP/1.1\r\nA : b\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400")
    );
    let long = format!(
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{}",
        "x".repeat(11)
    );
    assert!(stage.raw(&long).await.starts_with("HTTP/1.1 413"));
    let headers = "A: b\r\n".repeat(200);
    assert!(
        stage
            .raw(&format!("GET / HTTP/1.1\r\n{headers}\r\n"))
            .await
            .starts_with("HTTP/1.1 431")
    );
    let entries = stage.ledger.since(0).entries;
    let seen: Vec<(&str, u16)> = entries.iter().map(|e| (e.target.as_str(), e.answer.status)).collect();
    assert_eq!(
        seen,
        [
            ("\u{1}\u{2}", 400),
            ("GET / HTTP/1.1", 400),
            ("PUT / HTTP/1.1", 413),
            ("GET / HTTP/1.1", 431)
        ]
    );
}

#[tokio::test]
async fn connections_are_kept_only_when_asked() {
    let two = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let closing = Stage::set(false).await;
    assert_eq!(closing.raw(two).await.matches("200 OK").count(), 1);
    let keeping = Stage::set(true).await;
    assert_eq!(keeping.raw(two).await.matches("200 OK").count(), 2);
    let targets: Vec<String> = keeping
        .ledger
        .since(0)
        .entries
        .into_iter()
        .map(|entry| entry.target)
        .collect();
    assert_eq!(targets, ["/1", "/2"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_happens_ends_and_only_half_a_head_is_told() {
    let stage = Stage::set(true).await;
    let answer = stage
        .raw("PUT /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(body(&answer), "PUT /1 3");
    assert_eq!(stage.raw("").await, "");
    assert_eq!(stage.raw("GET /2 HTT").await, "");
    let entries = stage.ledger.since(0).entries;
    let seen: Vec<(&str, &str)> = entries
        .iter()
        .map(|e| (e.target.as_str(), e.answer.reason.as_str()))
        .collect();
    assert_eq!(
        seen,
        [("/1", ""), ("GET /2 HTT", "malformed: its head did not come in time")]
    );
}

#[tokio::test]
async fn a_reset_is_a_reset_on_the_wire() {
    let stage = Stage::set(false).await;
    stage.control("POST", "/faults", r#"{"effect":{"reset":true}}"#).await;
    let stream = TcpStream::connect(&stage.tcp).await.unwrap();
    let error = exchange(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn listeners_are_announced_in_order_and_idle_connections_do_not_delay_the_stop() {
    let stage = Stage::set(true).await;
    let (tcp, unix, control) = (stage.tcp.clone(), stage.unix.clone(), stage.control.clone());
    let idle = TcpStream::connect(&tcp).await.unwrap();
    let announced = stage.stop().await;
    assert_eq!(
        announced,
        format!(
            "listening on http://{tcp}\nlistening on unix:{}\nlistening on unix:{}\n",
            unix.display(),
            control.display()
        )
    );
    assert_eq!(exchange(idle, "").await.unwrap(), "");
    assert!(TcpStream::connect(&tcp).await.is_err());
}
