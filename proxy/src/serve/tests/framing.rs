//! Requests that two parsers could read differently: each is refused and its connection closed, so that nothing behind it is read.

use super::{LIST, PUT, get, status, without_token, world, world_of};
use crate::fixture::facts;

const HOST: &str = "Host: 169.254.169.254\r\n";

#[tokio::test(start_paused = true)]
async fn an_ambiguous_request_is_refused_and_the_connection_closed() {
    let world = world_of(&without_token());
    let list = format!("GET {LIST} HTTP/1.1\r\n");
    let cases = [
        (
            "absolute form",
            format!("GET http://169.254.169.254{LIST} HTTP/1.1\r\n{HOST}\r\n"),
        ),
        (
            "authority form",
            format!("CONNECT 169.254.169.254:80 HTTP/1.1\r\n{HOST}\r\n"),
        ),
        ("asterisk form", format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n")),
        ("no host", format!("{list}\r\n")),
        ("empty host", format!("{list}Host:\r\n\r\n")),
        ("foreign host", format!("{list}Host: evil.example\r\n\r\n")),
        ("foreign port", format!("{list}Host: 169.254.169.254:8000\r\n\r\n")),
        ("two hosts", format!("{list}{HOST}{HOST}\r\n")),
        ("two different hosts", format!("{list}{HOST}Host: evil.example\r\n\r\n")),
        (
            "length and encoding",
            format!("{list}{HOST}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "encoding and length",
            format!("{list}{HOST}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
        ),
        ("encoding", format!("{list}{HOST}Transfer-Encoding: identity\r\n\r\n")),
        (
            "odd encoding",
            format!("{list}{HOST}Transfer-Encoding: xchunked\r\n\r\n"),
        ),
        ("a body", format!("{list}{HOST}Content-Length: 3\r\n\r\nabc")),
        (
            "two lengths",
            format!("{list}{HOST}Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        ),
        ("signed length", format!("{list}{HOST}Content-Length: +0\r\n\r\n")),
        ("list of lengths", format!("{list}{HOST}Content-Length: 0,0\r\n\r\n")),
        ("long zero", format!("{list}{HOST}Content-Length: 00\r\n\r\n")),
        ("empty length", format!("{list}{HOST}Content-Length:\r\n\r\n")),
        ("space before colon", format!("{list}Host : 169.254.169.254\r\n\r\n")),
        ("folded line", format!("{list}{HOST}X: a\r\n b\r\n\r\n")),
        ("folded first line", format!("{list} {HOST}\r\n")),
        ("no colon", format!("{list}{HOST}nonsense\r\n\r\n")),
        ("empty name", format!("{list}{HOST}: x\r\n\r\n")),
        ("bare line feed", format!("GET {LIST} HTTP/1.1\n{HOST}\r\n")),
        (
            "bare line feed in the head",
            format!("{list}Host: 169.254.169.254\nX: y\r\n\r\n"),
        ),
        (
            "bare carriage return",
            format!("{list}Host: 169.254.169.254\rX: y\r\n\r\n"),
        ),
        ("leading line end", format!("\r\n{list}{HOST}\r\n")),
        ("nul", format!("{list}{HOST}X: \0\r\n\r\n")),
        ("escape", format!("{list}{HOST}X: \u{1b}\r\n\r\n")),
        ("old version", format!("GET {LIST} HTTP/1.0\r\n{HOST}\r\n")),
        ("oldest version", format!("GET {LIST}\r\n")),
        ("new version", format!("GET {LIST} HTTP/2.0\r\n{HOST}\r\n")),
        ("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("lowercase version", format!("GET {LIST} http/1.1\r\n{HOST}\r\n")),
        ("two spaces", format!("GET  {LIST} HTTP/1.1\r\n{HOST}\r\n")),
        ("tab", format!("GET\t{LIST} HTTP/1.1\r\n{HOST}\r\n")),
        ("space in the target", format!("GET {LIST} x HTTP/1.1\r\n{HOST}\r\n")),
        ("percent", format!("GET {LIST}%64eploy HTTP/1.1\r\n{HOST}\r\n")),
        ("encoded dots", format!("GET /%2e%2e{LIST} HTTP/1.1\r\n{HOST}\r\n")),
        ("encoded nul", format!("GET {LIST}%00 HTTP/1.1\r\n{HOST}\r\n")),
        ("fragment", format!("GET {LIST}#x HTTP/1.1\r\n{HOST}\r\n")),
        ("backslash", format!("GET \\latest\\meta-data HTTP/1.1\r\n{HOST}\r\n")),
        ("non-ASCII", format!("GET {LIST}é HTTP/1.1\r\n{HOST}\r\n")),
        (
            "PROXY preamble",
            format!("PROXY TCP4 172.17.0.3 169.254.169.254 1 80\r\n{list}{HOST}\r\n"),
        ),
        ("TLS", "\u{16}\u{3}\u{1}\0".to_owned()),
        ("long line", format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "a".repeat(2048))),
        ("long line without end", "a".repeat(4096)),
        (
            "long header",
            format!("{list}{HOST}X: {}\r\n\r\n", "a".repeat(64 * 1024)),
        ),
        ("many headers", format!("{list}{HOST}{}\r\n", "X: y\r\n".repeat(65))),
    ];
    for (name, request) in cases {
        // Whatever follows must not be taken for a request.
        let mut client = world.connect();
        client.send(&format!("{request}{}", get(LIST, "x"))).await;
        let answer = client.rest().await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: {answer}");
        assert_eq!(status(&answer), 400, "{name}: {answer}");
        assert!(
            answer.contains("Connection: close\r\n") && answer.ends_with("\r\n\r\n"),
            "{name}: {answer}"
        );
    }
    assert_eq!(world.sts.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_method_is_not_allowed_whatever_body_it_announces() {
    let world = world_of(&without_token());
    for method in ["POST", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "MKCOL"] {
        let request = format!("{method} {LIST} HTTP/1.1\r\n{HOST}Connection: close\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(status(&world.ask(&request).await), 405, "{method}");
    }
    assert_eq!(
        status(&world.ask(&format!("PUT {LIST} HTTP/1.1\r\n{HOST}\r\n")).await),
        405
    );
    assert_eq!(
        status(
            &world
                .ask(&format!("GET /latest/api/token HTTP/1.1\r\n{HOST}\r\n"))
                .await
        ),
        405
    );
}

#[tokio::test(start_paused = true)]
async fn headers_that_mean_something_elsewhere_mean_nothing_here() {
    let world = world();
    let token = world.token(&facts().run, 60);
    let plain = world.ask(&get(LIST, &token)).await;
    for header in [
        "X-Forwarded-For: 172.17.0.9",
        "X-Real-IP: 172.17.0.9",
        "Forwarded: for=172.17.0.9",
        "X-Container-Id: 0",
        "X-HTTP-Method-Override: PUT",
        "SCRIPT_NAME: /latest",
        "Expect: 100-continue",
        "Upgrade: h2c",
        "X-Original-URL: /latest/user-data",
        "Connection: X-aws-ec2-metadata-token",
    ] {
        let request = get(LIST, &token).replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"));
        assert_eq!(world.ask(&request).await, plain, "{header}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_name_of_the_service_is_its_host() {
    let world = world();
    for host in [
        "169.254.169.254",
        "169.254.169.254:80",
        "[fd00:ec2::254]",
        "[FD00:EC2::254]:80",
        "instance-data",
        "Instance-Data.ec2.internal",
    ] {
        assert_eq!(
            status(&world.ask(&PUT.replace("169.254.169.254", host)).await),
            200,
            "{host}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_is_given_up() {
    let world = world();
    let mut client = world.connect();
    for byte in PUT.split_inclusive(|_| true).take(6) {
        client.send(byte).await;
        tokio::time::advance(std::time::Duration::from_millis(900)).await;
    }
    let answer = client.rest().await;
    assert_eq!(status(&answer), 400);
    // One that says nothing is closed without a word.
    let mut silent = world.connect();
    assert_eq!(silent.rest().await, "");
}
