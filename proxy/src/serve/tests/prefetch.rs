//! Credentials that are asked for before their container asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::advance;

use super::{PUT, ROLE, get, world};
use crate::fixture::{facts, label};
use crate::serve::prepare;

#[tokio::test(start_paused = true)]
async fn the_first_request_of_a_prepared_container_waits_for_nobody() {
    let world = world();
    let (arrive, arrivals) = mpsc::channel(4);
    let preparing = tokio::spawn(prepare(Arc::clone(&world.service), arrivals, world.stop.clone()));
    let mut stranger = facts();
    label(&mut stranger, "project.id", "21");
    for facts in [stranger, facts()] {
        arrive.send(Arc::new(facts)).await.unwrap();
    }
    drop(arrive);
    preparing.await.unwrap();
    for step in [0, 200, 0] {
        advance(Duration::from_millis(step)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(world.sts.calls(), 1, "for the one that has a role");
    // Whoever asks now is answered even by an STS that is silent.
    *world.sts.delay.lock().unwrap() = Duration::from_hours(1);
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 200);
    assert_eq!(world.sts.calls(), 1);
    drop(client.stream);
    client.served.await.unwrap();
    let records = world.records();
    assert!(
        records.contains(r#""session":"20-302-Ab3dEf9_x","route":"prefetch","status":200"#),
        "{records}"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_prepares_for_a_container_whose_job_is_over() {
    let world = world();
    advance(Duration::from_hours(48)).await;
    assert!(!world.service.prefetch(&facts()));
    assert_eq!(world.sts.calls(), 0);
}
