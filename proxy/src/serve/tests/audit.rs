//! What is recorded of what is served, and what a job can do about it.

use std::sync::Arc;
use std::time::Duration;

use super::{LIST, PUT, ROLE, get, world};
use crate::caller::Unattested;
use crate::fixture::facts;

#[tokio::test(start_paused = true)]
async fn every_decision_and_every_key_leaves_one_record_without_secrets() {
    let world = world();
    let put = world.ask(PUT).await;
    let token = put.rsplit("\r\n").next().unwrap().to_owned();
    world.ask(&get(ROLE, &token)).await;
    world.ask(&get("/latest/user-data\u{1b}", &token)).await;
    world.ask(&get("/latest/user-data", &token)).await;
    *world.attestor.unattested.lock().unwrap() = Some(Unattested::NoCgroup);
    world.ask(PUT).await;
    let records = world.records().replace(&"a".repeat(64), "ID");
    assert!(!records.contains(&token) && !records.contains("secret0") && !records.contains("IQoJ"));
    insta::assert_snapshot!(records, @r###"
        {"time":"2027-01-15T08:00:00Z","client":"172.17.0.2:40000","container":"ID","attestation":"cgroup","kind":"build","gitlab":"gitlab.example.com","runner":"Ab3dEf9_x","project":20,"pipeline":574,"job":302,"rule":"deploy","role":"arn:aws:iam::123456789012:role/deploy","session":"20-302-Ab3dEf9_x","route":"token","status":200,"reason":"granted"}
        {"time":"2027-01-15T08:00:00Z","issued":"ASIA0","role":"arn:aws:iam::123456789012:role/deploy","session":"20-302-Ab3dEf9_x","expires":"2027-01-15T09:00:00Z"}
        {"time":"2027-01-15T08:00:00Z","client":"172.17.0.2:40000","container":"ID","attestation":"cgroup","kind":"build","gitlab":"gitlab.example.com","runner":"Ab3dEf9_x","project":20,"pipeline":574,"job":302,"rule":"deploy","role":"arn:aws:iam::123456789012:role/deploy","session":"20-302-Ab3dEf9_x","access_key":"ASIA0","first":true,"route":"credentials","status":200,"reason":"granted"}
        {"time":"2027-01-15T08:00:00Z","client":"172.17.0.2:40000","container":"ID","attestation":"cgroup","kind":"build","gitlab":"gitlab.example.com","runner":"Ab3dEf9_x","project":20,"pipeline":574,"job":302,"rule":"deploy","role":"arn:aws:iam::123456789012:role/deploy","session":"20-302-Ab3dEf9_x","status":400,"reason":"malformed","detail":"forbidden byte"}
        {"time":"2027-01-15T08:00:00Z","client":"172.17.0.2:40000","container":"ID","attestation":"cgroup","kind":"build","gitlab":"gitlab.example.com","runner":"Ab3dEf9_x","project":20,"pipeline":574,"job":302,"rule":"deploy","role":"arn:aws:iam::123456789012:role/deploy","session":"20-302-Ab3dEf9_x","route":"unknown","status":404,"reason":"unknown-path"}
        {"time":"2027-01-15T08:00:00Z","client":"172.17.0.2:40000","attestation":"cgroup","status":403,"reason":"no-cgroup"}
        "###);
}

/// The records that hold this.
fn holding<'r>(records: &'r str, text: &str) -> Vec<&'r str> {
    records.lines().filter(|line| line.contains(text)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_job_that_floods_cannot_make_a_key_vanish() {
    let world = world();
    // No time passes, in which more records might be caused.
    *world.sts.delay.lock().unwrap() = Duration::ZERO;
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    for key in ["ASIA0", "ASIA1"] {
        for _ in 0..500 {
            client.send(&get(LIST, &token)).await;
            assert_eq!(client.answer().await.0, 200);
        }
        for _ in 0..500 {
            client.send(&get(ROLE, &token)).await;
            assert!(client.answer().await.1.contains(key));
        }
        // The next ones come from another key.
        world.service.credentials.forget(|_| true);
    }
    drop(client.stream);
    client.served.await.unwrap();
    let records = world.records();
    assert!(records.lines().count() < 250, "{}", records.lines().count());
    for key in ["ASIA0", "ASIA1"] {
        // STS took 100 ms, which allows another one.
        let given = holding(&records, &format!("\"access_key\":\"{key}\""));
        assert!((1..=2).contains(&given.len()), "{given:?}");
        let first: Vec<&str> = given
            .into_iter()
            .filter(|line| line.contains("\"first\":true"))
            .collect();
        assert_eq!(first.len(), 1, "{first:?}");
        for part in [
            "\"first\":true",
            "\"job\":302",
            "\"attestation\":\"cgroup\"",
            "role/deploy",
            &"a".repeat(64),
            "\"suppressed\":",
        ] {
            assert!(first[0].contains(part), "{part}: {}", first[0]);
        }
        assert_eq!(holding(&records, &format!("\"issued\":\"{key}\"")).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_new_to_every_container_and_after_every_restart() {
    let world = world();
    let mut restarted = facts();
    restarted.run.started_at = "2027-01-15T07:59:30Z".to_owned();
    let mut other = facts();
    other.run.container_id = "b".repeat(64);
    for facts in [facts(), restarted, other] {
        let token = world.token(&facts.run, 60);
        *world.attestor.facts.lock().unwrap() = Some(Arc::new(facts));
        for _ in 0..2 {
            assert!(world.ask(&get(ROLE, &token)).await.contains("ASIA0"));
        }
    }
    assert_eq!(world.sts.calls(), 1, "they share it");
    let records = world.records();
    assert_eq!(holding(&records, "\"access_key\":\"ASIA0\"").len(), 6);
    assert_eq!(holding(&records, "\"first\":true").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_of_a_job_that_is_gone_is_told() {
    let world = world();
    for _ in 0..300 {
        world.ask("GET / HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n").await;
    }
    world.service.audit.settle("now", false);
    tokio::time::advance(Duration::from_secs(20)).await;
    world.service.audit.settle("then", false);
    world.service.audit.settle("the end", true);
    let records = world.records().replace(&"a".repeat(64), "ID");
    let told = holding(&records, "\"suppressed\":");
    assert_eq!(told, [r#"{"time":"then","caller":"ID","suppressed":100}"#]);
}
