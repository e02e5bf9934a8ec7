//! What an operator takes away while the proxy serves.

use std::time::Duration;

use super::{PUT, ROLE, get, status, world};
use crate::control::{Order, Peer, Reply};
use crate::fixture::facts;
use crate::policy::Target;

fn done(reply: &Reply) -> (bool, usize, usize) {
    match reply {
        Reply::Done {
            is_change,
            forgotten,
            revoked,
            unkept: _,
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
    assert_eq!(client.answer().await.0, 403);
    assert_eq!(status(&world.ask(PUT).await), 403);
    assert_eq!(world.sts.calls(), 1);
    assert_eq!(done(&world.service.obey(&Order::Lift(Target::Job(302)))), (true, 0, 0));
    assert!(world.ask(&get(ROLE, &token)).await.contains("ASIA1"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_sts_is_not_given_and_not_kept() {
    let world = world();
    let token = world.token(&facts().run, 600);
    let mut client = world.connect();
    client.send(&get(ROLE, &token)).await;
    // STS takes 100 ms.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let role = Target::Role("arn:aws:iam::123456789012:role/deploy".to_owned());
    assert_eq!(done(&world.service.obey(&Order::Revoke(role.clone()))), (true, 1, 1));
    assert_eq!(client.answer().await.0, 403);
    world.service.obey(&Order::Lift(role));
    assert!(world.ask(&get(ROLE, &token)).await.contains("ASIA1"));
}

#[tokio::test(start_paused = true)]
async fn nobody_else_loses_anything() {
    let world = world();
    let token = world.token(&facts().run, 600);
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
async fn an_id_that_means_everybody_is_no_subject_and_neither_is_a_role_that_is_none() {
    let world = world();
    for id in ["", "aaaa", "not-an-id-at-all"] {
        let reply = world.service.obey(&Order::Revoke(Target::Container(id.to_owned())));
        assert!(matches!(reply, Reply::Refused { .. }), "{id}");
    }
    let reply = world.service.obey(&Order::Revoke(Target::Role("deploy".to_owned())));
    assert!(matches!(reply, Reply::Refused { .. }));
    assert_eq!(status(&world.ask(PUT).await), 200);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_in_force_all_the_same_and_that_is_said() {
    let world = world();
    let peer = Peer { user: 0, process: None };
    let reply = world.service.obey_and_record(&Order::Revoke(Target::Job(302)), peer);
    assert_eq!(done(&reply), (true, 0, 1));
    assert_eq!(status(&world.ask(PUT).await), 403);
    let records = world.records();
    assert!(
        records.contains(r#""unkept":"revocations.file does not say where to keep it""#),
        "{records}"
    );
}
