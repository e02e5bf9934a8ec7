//! What is answered and recorded while nothing is enforced.

use super::{LIST, PUT, ROLE, get, world_of};
use crate::caller::Unattested;
use crate::control::Order;
use crate::fixture::{RULE, facts, label};
use crate::policy::Target;

const OBSERVE: &str = "[compat]\nprofile = \"go-metadataproxy\"\nmode = \"observe\"\nobserved_roles = \"legacy\"\n";
const LEGACY: &str = "/latest/meta-data/iam/security-credentials/legacy";

fn observing(change: impl FnOnce(&mut crate::caller::Facts)) -> super::World {
    let world = world_of(&format!("{OBSERVE}{RULE}"));
    let mut facts = facts();
    change(&mut facts);
    *world.attestor.facts.lock().unwrap() = Some(facts.into());
    world
}

#[tokio::test(start_paused = true)]
async fn what_the_rules_refuse_is_answered_and_recorded_with_the_reason() {
    let world = observing(|facts| {
        label(facts, "project.id", "21");
        facts.env.push("IAM_ROLE=legacy".to_owned());
    });
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    client.send(&get(LIST, &token)).await;
    assert_eq!(client.answer().await, (200, "legacy".to_owned()));
    client.send(&get(LEGACY, &token)).await;
    assert!(client.answer().await.1.contains("secret0oflegacy"));
    // What is no path, and no role of the container's, is refused as ever.
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 404);
    client.send(&get("/latest/user-data", &token)).await;
    assert_eq!(client.answer().await.0, 404);
    client.send(&get(LEGACY, "x")).await;
    assert_eq!(client.answer().await.0, 401);
    drop(client.stream);
    client.served.await.unwrap();
    let metrics = world
        .service
        .metrics
        .text(&crate::health::Health::new(true, true).verdict());
    assert!(
        metrics.contains("metadata_proxy_observed_total{reason=\"no-rule-for-project\"} 3"),
        "{metrics}"
    );
    assert!(metrics.contains("metadata_proxy_enforced 0"), "{metrics}");
    let records = world.records();
    let decisions = || records.lines().filter(|line| !line.contains("\"issued\""));
    let third = decisions().nth(2).unwrap();
    insta::assert_snapshot!(third, @r###"{"time":"2027-01-15T08:00:00Z","client":"172.17.0.2:40000","container":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","attestation":"cgroup","kind":"build","gitlab":"gitlab.example.com","runner":"Ab3dEf9_x","project":21,"pipeline":574,"job":302,"role":"arn:aws:iam::123456789012:role/legacy","session":"21-302-Ab3dEf9_x","access_key":"ASIA0","first":true,"route":"credentials","status":200,"reason":"observed","would_be":"no-rule-for-project","detail":"no rule of this runner names the project"}"###);
    let reasons: Vec<&str> = decisions()
        .map(|line| line.split("\"reason\":\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "observed",
            "observed",
            "observed",
            "other-role",
            "unknown-path",
            "token-invalid"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_a_rule_is_granted_its_role_and_nothing_is_observed() {
    let world = observing(|_| ());
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 200);
    drop(client.stream);
    client.served.await.unwrap();
    assert!(!world.records().contains("observed"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_observed_who_is_not_attested_or_is_revoked_or_whose_role_is_not_listed() {
    let legacy = |facts: &mut crate::caller::Facts| {
        label(facts, "project.id", "21");
        facts.env.push("IAM_ROLE=legacy".to_owned());
    };
    let world = observing(legacy);
    *world.attestor.unattested.lock().unwrap() = Some(Unattested::SharedNetwork);
    assert!(world.ask(PUT).await.starts_with("HTTP/1.1 403 "));
    *world.attestor.unattested.lock().unwrap() = None;
    assert!(world.ask(PUT).await.starts_with("HTTP/1.1 200 "));
    world.service.obey(&Order::Revoke(Target::Project(21)));
    assert!(world.ask(PUT).await.starts_with("HTTP/1.1 403 "));
    let world = observing(|facts| {
        label(facts, "project.id", "21");
        facts.env.push("IAM_ROLE=deploy".to_owned());
    });
    assert!(world.ask(PUT).await.starts_with("HTTP/1.1 403 "));
}
