//! An engine that is not there, or answers late, in half, wrongly or without end: every time an error, soon, and the next question is asked
//! as if nothing had been.

use std::time::Duration;

use super::way::ANSWER_MAX;
use super::{Change, Engine, EngineError};
use crate::fixture::engine::{FakeEngine, Script};

const GOOD: &str =
    r#"{"Id":"aa","Image":"sha256:1","State":{"Running":true,"Pid":7,"StartedAt":"2026-01-01T00:00:00Z"},"Config":{}}"#;
/// What the kernel may hold beside what was read, in both directions.
const SLACK: usize = 8 * 1024 * 1024;

async fn connect(fake: &FakeEngine) -> Engine {
    Engine::connect(&fake.socket(), None).await.unwrap()
}

/// It answers again as it should, over the same client.
async fn assert_recovers(fake: &FakeEngine, engine: &Engine) {
    fake.tell(Script::json(GOOD));
    assert_eq!(engine.inspect("aa").await.unwrap().unwrap().pid, 7);
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_an_error() {
    let nowhere = Engine::connect("unix:///nonexistent/docker.sock", None).await;
    assert!(matches!(nowhere, Err(EngineError::Api { .. })), "{nowhere:?}");
    for strange in [
        "docker.sock",
        "unix://relative",
        "tcp://127.0.0.1:2376",
        "ssh://host",
        "http://",
    ] {
        let refused = Engine::connect(strange, None).await;
        assert!(
            matches!(refused, Err(EngineError::Socket { .. })),
            "{strange}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_given_up() {
    let fake = FakeEngine::start(Script::Silence);
    let engine = connect(&fake).await;
    tokio::time::pause();
    let late = engine.inspect("aa").await;
    assert!(matches!(late, Err(EngineError::TimedOut { .. })), "{late:?}");
    tokio::time::resume();
    assert_recovers(&fake, &engine).await;
}

#[tokio::test]
async fn half_an_answer_and_a_wrong_one_are_errors() {
    let fake = FakeEngine::start(Script::Silence);
    let engine = connect(&fake).await;
    let cut = GOOD.get(..40).unwrap();
    for answer in [
        Script::text(""),
        Script::text("HTTP/1.1 200 OK\r\nConte"),
        Script::text(&format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{cut}")),
        Script::text(&format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n{cut}\r\n"
        )),
        Script::text("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        Script::json(cut),
        Script::json("[]"),
        Script::json("null"),
        Script::json(r#"{"Id":7}"#),
        Script::json(r#"{"Id":"aa"}"#),
        Script::text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}"),
        Script::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x00".to_vec()),
    ] {
        fake.tell(answer.clone());
        let wrong = engine.inspect("aa").await;
        assert!(
            matches!(wrong, Err(EngineError::Api { .. } | EngineError::Incomplete { .. })),
            "{answer:?}: {wrong:?}"
        );
    }
    fake.tell(Script::text("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"));
    assert_eq!(engine.inspect("aa").await.unwrap(), None);
    assert_recovers(&fake, &engine).await;
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_early() {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    for (head, part) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n\"",
            vec![b'x'; 65_536],
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunk.into_bytes(),
        ),
        ("HTTP/1.1 500 Oh\r\n\r\n", vec![b'x'; 65_536]),
        ("HTTP/1.1 200 OK\r\nX: ", vec![b'x'; 65_536]),
    ] {
        let fake = FakeEngine::start(Script::Endless(head, part));
        let engine = connect(&fake).await;
        let huge = engine.running().await;
        assert!(matches!(huge, Err(EngineError::Api { .. })), "{head}: {huge:?}");
        assert!(fake.written() < ANSWER_MAX + SLACK, "{head}: {}", fake.written());
        assert_recovers(&fake, &engine).await;
    }
}

fn event(kind: &str) -> String {
    format!("{{\"Type\":\"container\",\"Action\":\"{kind}\",\"Actor\":{{\"ID\":\"aa\"}}}}\n")
}

#[tokio::test]
async fn an_event_without_end_is_left_out_and_the_next_one_is_heard() {
    let long = format!("{{\"Type\":\"{}\"}}\n", "x".repeat(20 * 1024 * 1024));
    let text = format!("{}{long}{}", event("start"), event("die"));
    let fake = FakeEngine::start(Script::json(&text));
    let mut changes = connect(&fake).await.changes();
    let container = "aa".to_owned();
    assert_eq!(
        changes.next().await,
        Some(Change::Arrived {
            container: container.clone()
        })
    );
    assert_eq!(changes.next().await, Some(Change::Ended { container }));
    assert_eq!(changes.next().await, None);
}

#[tokio::test]
async fn events_end_with_the_engine_and_with_what_cannot_be_read() {
    let fake = FakeEngine::start(Script::json(&format!("{}no json\n{}", event("start"), event("die"))));
    let engine = connect(&fake).await;
    let mut changes = engine.changes();
    assert!(matches!(changes.next().await, Some(Change::Arrived { .. })));
    assert_eq!(changes.next().await, None);
    for broken in ["", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "nonsense\r\n\r\n"] {
        fake.tell(Script::text(broken));
        assert_eq!(engine.changes().next().await, None, "{broken}");
    }
    fake.tell(Script::Silence);
    let mut silent = engine.changes();
    tokio::time::pause();
    assert_eq!(
        tokio::time::timeout(Duration::from_mins(1), silent.next()).await,
        Ok(None)
    );
}
