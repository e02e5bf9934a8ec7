//! When the kernel is asked again, and how long a job may ask (rules A3, A4, A11).

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::{End, LIST, PUT, ROLE, get, status, world};
use crate::fixture::facts;

#[tokio::test(start_paused = true)]
async fn nothing_is_written_once_the_socket_is_another() {
    let world = world();
    let token = world.token(&facts().run, 60);
    // The request is confirmed, STS is asked, and then the container is gone.
    *world.attestor.confirmations.lock().unwrap() = Some(1);
    let answer = world.ask(&get(ROLE, &token)).await;
    assert_eq!(status(&answer), 403);
    assert_eq!(world.sts.calls(), 1);
    assert!(!answer.contains("secret"));
    *world.attestor.confirmations.lock().unwrap() = Some(0);
    assert_eq!(status(&world.ask(&get(LIST, &token)).await), 403);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_confirmed_once_and_twice_only_if_sts_is_asked_in_between() {
    let world = world();
    let token = world.token(&facts().run, 60);
    let left = || world.attestor.confirmations.lock().unwrap().take();
    for (request, confirmations) in [
        (PUT.to_owned(), 1),
        (get(LIST, &token), 1),
        (get(ROLE, &token), 2),
        (get(ROLE, &token), 1),
        (get("/latest/user-data", &token), 1),
    ] {
        *world.attestor.confirmations.lock().unwrap() = Some(10);
        world.ask(&request).await;
        assert_eq!(left(), Some(10 - confirmations), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_confirmed_makes_nobody_call_sts() {
    let world = world();
    let token = world.token(&facts().run, 60);
    *world.attestor.confirmations.lock().unwrap() = Some(0);
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 403);
    assert_eq!(world.sts.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_outlives_its_job_is_refused() {
    let world = world();
    assert_eq!(status(&world.ask(PUT).await), 200);
    // One hour, and ten minutes of grace, since a minute before the clock's start.
    tokio::time::advance(Duration::from_secs(69 * 60)).await;
    assert_eq!(status(&world.ask(PUT).await), 200);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(status(&world.ask(PUT).await), 403);
    let records = world.records();
    assert!(records.contains("\"reason\":\"too-old\""), "{records}");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_has_its_connections_reset() {
    let world = world();
    let token = world.token(&facts().run, 60);
    let mut client = world.connect();
    client.send(&get(ROLE, &token)).await;
    // While STS is being asked.
    tokio::time::advance(Duration::from_millis(10)).await;
    world.attestor.ended.notify_waiters();
    assert_eq!(client.served.await.unwrap(), End::Reset);
    assert!(client.reset.load(Ordering::SeqCst));
    let mut text = String::new();
    client.stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "");
}
