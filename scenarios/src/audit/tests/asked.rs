use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::audit::run;

/// A server on the loopback interface, and every request that it was sent.
async fn serve(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        // Ends with the test's runtime.
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            let head = String::from_utf8_lossy(&head).into_owned();
            let (status, body) = answer(&head);
            seen.lock().unwrap().push(head);
            let text = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    (at, heads)
}

async fn audited(at: SocketAddr, around: &Surroundings, expected: Option<&str>) -> Report {
    let places = Places::redirected(move |_| at.to_string());
    run(&audit(&places, around, expected, &[]), |_, _| {}).await
}

const TOKEN: &str = "AQAEAIXkhdOR3sIqAVRdg0mVAdHYRr_fkfFDU7SDzH9whlWZJwANKg==";

/// Roles and credentials at a path, as the service has them.
fn role_at(target: &str, base: &str, role: &str, key: &str) -> Option<(u16, String)> {
    match target.strip_prefix(base)? {
        "" => Some((200, role.to_owned())),
        name if name == role => Some((200, credentials(key))),
        _ => None,
    }
}

fn target(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_proxy_that_passes_a_spelling_on_is_found_even_if_only_without_its_token() {
    let (at, _) = serve(|head| {
        let has_token = head.contains(TOKEN);
        let own = has_token
            .then(|| role_at(target(head), plan::LIST, "ci-deploy", "ASIAOWNOWNOWNOWN1111"))
            .flatten();
        let passed_on = format!("/.{}", plan::LIST);
        let hosts = (!has_token)
            .then(|| role_at(target(head), &passed_on, "lab-host", "ASIAHOSTHOSTHOST2222"))
            .flatten();
        match (head.starts_with("PUT /latest/api/token "), own.or(hosts)) {
            (true, _) => (200, TOKEN.to_owned()),
            (false, Some(answer)) => answer,
            (false, None) => (404, "no".to_owned()),
        }
    })
    .await;
    let report = audited(at, &Surroundings::default(), Some("ci-deploy")).await;
    assert_eq!(
        told(&report, "imds-v2"),
        ("ROLE(ci-deploy)".to_owned(), State::Sanctioned)
    );
    assert_eq!(told(&report, "path-dot"), ("ROLE(lab-host)".to_owned(), State::Open));
    assert_eq!(of(&report, "path-dot").key_ends_with.as_deref(), Some("2222"));
    assert_eq!(told(&report, "header-loopback").1, State::Closed);
    assert_eq!(told(&report, "path-slashes"), ("DENY".to_owned(), State::Closed));
    assert_eq!(report.open, 1, "{}", table::render(&report, Colour::Plain));
}

#[tokio::test]
async fn whatever_is_answered_only_harmless_requests_are_sent_and_no_secret_is_told() {
    let (at, heads) = serve(|head| {
        let is_list = target(head).ends_with(['/', '\\']) || target(head).contains('?');
        match (head.starts_with("PUT"), is_list) {
            (true, _) => (200, TOKEN.to_owned()),
            (false, true) => (200, "lab-host".to_owned()),
            (false, false) => (200, credentials("ASIAIOSFODNN7EXAMPLE")),
        }
    })
    .await;
    let around = job_with(&[
        ("DOCKER_HOST", "tcp://docker:2375"),
        ("HTTP_PROXY", "http://user:hunter2@proxy.example:3128/"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/a"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost:9/creds"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "an-authorization-of-the-task"),
    ]);
    let report = audited(at, &around, None).await;
    let heads = heads.lock().unwrap();
    assert!((60..=160).contains(&heads.len()), "{} requests", heads.len());
    for head in heads.iter() {
        assert!(
            head.starts_with("GET ") || head.starts_with("PUT /latest/api/token "),
            "{head}"
        );
        assert!(!head.contains("hunter2"));
        let authorized = head.contains("an-authorization-of-the-task");
        assert_eq!(
            authorized,
            head.contains("Host: 169.254.170.2\r\n") || head.contains("Host: localhost:9\r\n"),
            "{head}"
        );
    }
    let expected: Vec<&str> = plan::every_way()
        .iter()
        .map(|way| way.name)
        .filter(|name| *name != "sdk")
        .collect();
    assert_eq!(
        report.ways.iter().map(|way| way.way.as_str()).collect::<Vec<_>>(),
        expected
    );
    let told = format!("{}{}", table::render(&report, Colour::Plain), report.json().unwrap());
    for secret in [SECRET, TOKEN, "IQoJb3", "ASIAIOSFODNN7", "an-authorization", "hunter2"] {
        assert!(!told.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn who_takes_no_connection_is_not_asked_for_every_spelling() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let report = audited(closed, &Surroundings::default(), None).await;
    assert_eq!((report.open, report.fails()), (0, false));
    assert_eq!(told(&report, "imds-v1").0, "BLOCKED");
    assert_eq!(of(&report, "path-dot").note, "as imds-v1");
}
