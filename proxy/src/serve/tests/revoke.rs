//! What an operator takes away while the proxy serves.

use std::time::Duration;

use super::{PUT, ROLE, get, status, world};
use crate::control::{Order, Reply};
use crate::fixture::facts;
use crate::policy::{Edition, Target};

fn done(reply: &Reply) -> (bool, usize, usize) {
    match reply {
        Reply::Done {
            is_change,
            forgotten,
            revoked,
        } => (*is_change, *forgotten, revoked.len()),
        Reply::Refused { why } => panic!("{why}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_served_before_gets_nothing_more_and_what_was_cached_is_gone() {
    let world = world();
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 200);
    assert_eq!(
        done(&world.service.obey(&Order::Revoke(Target::Job(302)))),
        (true, 1, 1)
    );
    assert_eq!(
        done(&world.service.obey(&Order::Revoke(Target::Job(302)))),
        (false, 0, 1)
    );
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await, (403, String::new()));
    assert_eq!(status(&world.ask(PUT).await), 403);
    assert_eq!(world.sts.calls(), 1);
    assert_eq!(done(&world.service.obey(&Order::Lift(Target::Job(302)))), (true, 0, 0));
    assert!(world.ask(&get(ROLE, &token)).await.contains("ASIA1"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_sts_is_not_given_and_not_kept() {
    let world = world();
    let token = world
        .service
        .terms
        .tokens
        .mint(&facts().run, Edition::FIRST, 600, 1_800_000_000, [0; 8]);
    let mut client = world.connect();
    client.send(&get(ROLE, &token)).await;
    // STS takes 100 ms.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let role = Target::Role("arn:aws:iam::123456789012:role/deploy".to_owned());
    assert_eq!(done(&world.service.obey(&Order::Revoke(role.clone()))), (true, 1, 1));
    assert_eq!(client.answer().await, (403, String::new()));
    world.service.obey(&Order::Lift(role));
    assert!(world.ask(&get(ROLE, &token)).await.contains("ASIA1"));
}

#[tokio::test(start_paused = true)]
async fn nobody_else_loses_anything() {
    let world = world();
    let token = world
        .service
        .terms
        .tokens
        .mint(&facts().run, Edition::FIRST, 600, 1_800_000_000, [0; 8]);
    for other in [
        Target::Job(303),
        Target::Project(21),
        Target::Role("arn:aws:iam::123456789012:role/deploy-eu".to_owned()),
        Target::Container("b".repeat(12)),
    ] {
        world.service.obey(&Order::Revoke(other));
        assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 200);
    }
    let listed = done(&world.service.obey(&Order::List));
    assert_eq!(listed, (false, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_means_everybody_is_no_subject() {
    let world = world();
    for id in ["", "aaaa", "not-an-id-at-all"] {
        let reply = world.service.obey(&Order::Revoke(Target::Container(id.to_owned())));
        assert!(matches!(reply, Reply::Refused { .. }), "{id}");
    }
    assert_eq!(status(&world.ask(PUT).await), 200);
}
