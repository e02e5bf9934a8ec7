//! A policy that is replaced while the proxy serves (ROLE-37): what of the one before still counts.

use std::time::Duration;

use super::{LIST, PUT, ROLE, World, get, status, world, world_of};
use crate::fixture::{RULE, config};
use crate::serve::Replaced;

const OTHER: &str = r#"
[[rule]]
name = "other"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 21
role = "other"
"#;

fn replace(world: &World, rules: &str) -> Replaced {
    world.service.replace_policy(&config(rules))
}

async fn token(world: &World) -> String {
    world.ask(PUT).await.rsplit("\r\n").next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_removed_rule_is_refused_on_a_connection_that_was_served_before() {
    let world = world_of(&format!("{RULE}{OTHER}"));
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 200);
    let replaced = replace(&world, OTHER);
    assert_eq!(
        replaced,
        Replaced {
            rules: 1,
            withdrawn: vec!["deploy".to_owned()],
            forgotten: 1
        }
    );
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 403);
    for request in [PUT, &get(LIST, &token), &get(ROLE, &token)] {
        assert_eq!(status(&world.ask(request).await), 403);
    }
    assert_eq!(world.sts.calls(), 1);
    drop(client.stream);
    client.served.await.unwrap();
    let records = world.records();
    assert!(
        records
            .lines()
            .last()
            .unwrap()
            .contains("\"reason\":\"no-rule-for-project\""),
        "{records}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_sts_is_judged_by_the_policy_that_came_meanwhile() {
    let world = world();
    let token = token(&world).await;
    let mut client = world.connect();
    client.send(&get(ROLE, &token)).await;
    // STS takes 100 ms.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.sts.calls(), 1);
    replace(&world, "");
    assert_eq!(client.answer().await.0, 403);
    // What STS gave all the same is kept for nobody.
    replace(&world, RULE);
    let token = self::token(&world).await;
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 200);
    assert_eq!(world.sts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_changed_rule_gives_new_credentials_for_new_tokens() {
    let world = world();
    let before = token(&world).await;
    let first = world.ask(&get(ROLE, &before)).await;
    replace(&world, &format!("{RULE}session_policy = '{{\"Statement\":[]}}'\n"));
    assert_eq!(status(&world.ask(&get(ROLE, &before)).await), 401);
    let after = token(&world).await;
    let second = world.ask(&get(ROLE, &after)).await;
    assert!(second.contains("ASIA1") && first.contains("ASIA0"), "{second}");
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_comes_back_brings_nothing_back() {
    let world = world();
    let before = token(&world).await;
    world.ask(&get(ROLE, &before)).await;
    replace(&world, "");
    replace(&world, RULE);
    assert_eq!(status(&world.ask(&get(LIST, &before)).await), 401);
    let after = token(&world).await;
    assert!(world.ask(&get(ROLE, &after)).await.contains("ASIA1"));
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_stays_keeps_its_tokens_and_credentials() {
    let world = world();
    let token = token(&world).await;
    world.ask(&get(ROLE, &token)).await;
    let replaced = replace(&world, &format!("{OTHER}{RULE}"));
    assert_eq!(
        (replaced.rules, replaced.withdrawn.len(), replaced.forgotten),
        (2, 0, 0)
    );
    assert!(world.ask(&get(ROLE, &token)).await.contains("ASIA0"));
    assert_eq!(world.sts.calls(), 1);
}
