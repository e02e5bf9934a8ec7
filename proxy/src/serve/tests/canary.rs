//! The container of the self-test, which calls the proxy that serves.

use std::sync::Arc;

use super::{LIST, PUT, get, status, world, world_of};
use crate::caller::{Facts, Unattested};
use crate::fixture::{RULE, facts};
use crate::selftest::Met;

const PATH: &str = "/self-test-call/0123456789abcdef0123456789abcdef";

/// A container of ours, which has no label of the runner's.
fn canary() -> Facts {
    let mut facts = facts();
    facts.run.container_id = "c".repeat(64);
    facts.labels.clear();
    facts
}

fn plain(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn it_is_met_as_itself_and_refused_whatever_else_it_asks_for() {
    let world = world();
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(canary()));
    let flight = world.service.canary.send_out(&"c".repeat(64), PATH);
    assert_eq!(status(&world.ask(PUT).await), 403);
    assert_eq!(status(&world.ask(&plain(LIST)).await), 403);
    assert_eq!(flight.met(), None);
    let answer = world.ask(&plain(PATH)).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    assert_eq!(flight.met(), Some(Met::Itself));
    drop(flight);
    // Once it is back there is no such path.
    assert_eq!(status(&world.ask(&plain(PATH)).await), 404);
    assert_eq!(world.sts.calls(), 0);
    let records = world.records().replace(&"c".repeat(64), "ID");
    let third = records.lines().nth(2).unwrap();
    insta::assert_snapshot!(third, @r#"{"time":"2027-01-15T08:00:00Z","client":"172.17.0.2:40000","container":"ID","attestation":"cgroup","route":"self-test","status":200,"reason":"self-test"}"#);
}

#[tokio::test(start_paused = true)]
async fn to_everybody_else_its_path_is_one_that_does_not_exist() {
    let world = world();
    let elsewhere = |answer: String| answer.replace(PATH, "");
    let never = elsewhere(
        world
            .ask(&plain("/self-test-call/00000000000000000000000000000000"))
            .await,
    );
    assert_eq!(status(&never), 404);
    let flight = world.service.canary.send_out(&"c".repeat(64), PATH);
    assert_eq!(elsewhere(world.ask(&plain(PATH)).await), never);
    // It is noticed all the same: either attestation is wrong, or somebody reads along.
    assert_eq!(flight.met(), Some(Met::Other(facts().run.container_id)));
    drop(flight);

    let flight = world.service.canary.send_out(&"c".repeat(64), PATH);
    *world.attestor.unattested.lock().unwrap() = Some(Unattested::NoCgroup);
    let refused = world.ask(&plain(LIST)).await;
    assert_eq!(world.ask(&plain(PATH)).await, refused);
    assert_eq!(flight.met(), Some(Met::Nobody(Unattested::NoCgroup)));
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_is_not_confirmed_before_the_answer_is_refused() {
    let world = world();
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(canary()));
    let _flight = world.service.canary.send_out(&"c".repeat(64), PATH);
    *world.attestor.confirmations.lock().unwrap() = Some(0);
    assert_eq!(status(&world.ask(&plain(PATH)).await), 403);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_enforced_it_is_not_observed_and_nobody_asks_sts_for_it() {
    let observe = "[compat]\nprofile = \"go-metadataproxy\"\nmode = \"observe\"\nobserved_roles = \"legacy\"\n";
    let world = world_of(&format!("{observe}{RULE}"));
    let mut facts = canary();
    facts.env.push("IAM_ROLE=legacy".to_owned());
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(facts.clone()));
    let flight = world.service.canary.send_out(&"c".repeat(64), PATH);
    assert!(!world.service.prefetch(&facts));
    assert_eq!(status(&world.ask(&plain(PATH)).await), 200);
    drop(flight);
    let metrics = &world.service.metrics;
    let text = metrics.text(&crate::health::Health::new(true, true).verdict());
    assert!(!text.contains("metadata_proxy_observed_total{"), "{text}");
    assert!(
        world.service.prefetch(&facts),
        "anybody else with the role is prepared for"
    );
    assert_eq!(status(&world.ask(&get(PATH, "x")).await), 404);
}
