//! Values of the instance: who may read which, and what the proxy asks for them.

use std::sync::Arc;

use super::{PUT, World, get, world, world_of};
use crate::caller::Unattested;
use crate::fixture::{RULE, facts, label};
use crate::instance::{Leaf, Unreadable};

const ZONE: &str = "/latest/meta-data/placement/availability-zone/";
const TYPE: &str = "/latest/meta-data/instance-type";

async fn read(world: &World, paths: &[&str]) -> Vec<(u16, String)> {
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    let mut answers = Vec::new();
    for path in paths {
        client.send(&get(path, &token)).await;
        answers.push(client.answer().await);
    }
    drop(client.stream);
    client.served.await.unwrap();
    answers
}

fn statuses(answers: &[(u16, String)]) -> Vec<u16> {
    answers.iter().map(|(status, _)| *status).collect()
}

#[tokio::test(start_paused = true)]
async fn a_container_reads_what_its_rule_names_and_nothing_else() {
    let zone = format!("{RULE}paths = [\"availability-zone\"]\n");
    let world = world_of(&zone);
    let region = "/latest/meta-data/placement/region";
    let answers = read(&world, &[ZONE, ZONE, TYPE, region]).await;
    assert_eq!(statuses(&answers), [200, 200, 404, 404]);
    assert_eq!(answers[0].1, "value");
    assert_eq!(*world.instance.asked.lock().unwrap(), [Leaf::AvailabilityZone]);
    let records = world.records();
    assert!(
        records.contains("\"route\":\"availability-zone\",\"status\":200"),
        "{records}"
    );
    assert!(records.contains("\"reason\":\"path-not-given\""), "{records}");
}

#[tokio::test(start_paused = true)]
async fn by_default_only_the_region_is_told_and_nobody_is_asked_for_it() {
    let world = world();
    let answers = read(&world, &["/latest/meta-data/placement/region", ZONE, TYPE]).await;
    assert_eq!(statuses(&answers), [200, 404, 404]);
    assert_eq!(answers[0].1, "eu-central-1");
    assert_eq!(*world.instance.asked.lock().unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_no_right_to_it_makes_nobody_ask() {
    let all = format!("{RULE}paths = [\"availability-zone\", \"instance-type\"]\n");
    // Without a token.
    let world = world_of(&all);
    assert!(world.ask(&get(ZONE, "x")).await.starts_with("HTTP/1.1 401"));
    // Of another project.
    let mut stranger = facts();
    label(&mut stranger, "project.id", "21");
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(stranger));
    assert!(world.ask(&get(ZONE, "x")).await.starts_with("HTTP/1.1 403"));
    // Not the container any more that it was.
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(facts()));
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    *world.attestor.confirmations.lock().unwrap() = Some(0);
    client.send(&get(TYPE, &token)).await;
    assert_eq!(client.answer().await.0, 403);
    *world.attestor.confirmations.lock().unwrap() = None;
    *world.attestor.unattested.lock().unwrap() = Some(Unattested::NoSuchSocket);
    assert!(world.ask(&get(TYPE, &token)).await.starts_with("HTTP/1.1 403"));
    assert_eq!(*world.instance.asked.lock().unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_unavailable() {
    let world = world_of(&format!("{RULE}paths = [\"instance-id\"]\n"));
    *world.instance.answer.lock().unwrap() = Err(Unreadable::Failed);
    let answers = read(&world, &["/latest/meta-data/instance-id"]).await;
    assert!(
        matches!(&answers[..], [(503, text)] if text.contains("ServiceUnavailable")),
        "{answers:?}"
    );
}
