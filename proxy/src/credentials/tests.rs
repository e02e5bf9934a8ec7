//! The cache under paused time, with a scripted STS.

mod issued;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::advance;

use super::{Cache, CacheEvent, Failure, Key, Rates, Scope, Turn};
use crate::config::{Account, ExternalId, Home, Partition, PolicyArn, Role, SessionPolicy};
use crate::fixture::{Events, PausedClock, ScriptedSts};
use crate::policy::Edition;

/// So many that nothing here meets them unless it wants to.
const RATES: Rates = Rates {
    overall: 1000,
    role: 1000,
};

struct World {
    sts: Arc<ScriptedSts>,
    events: Arc<Events>,
    cache: Cache<Arc<ScriptedSts>>,
}

fn world() -> World {
    let clock = PausedClock::start();
    let sts = ScriptedSts::new(clock.clone());
    let events = Arc::new(Events::default());
    let cache = Cache::new(Arc::clone(&sts), clock, 1, RATES, events.clone());
    World { sts, events, cache }
}

fn home() -> Home {
    Home {
        partition: Partition::default(),
        account: Account::parse("123456789012").unwrap(),
        others: BTreeSet::new(),
    }
}

fn key(role: &str, session: &str) -> Arc<Key> {
    Arc::new(Key {
        role: Role::parse(role, &home()).unwrap(),
        external_id: None,
        session_name: session.to_owned(),
        policy: None,
        policy_arns: BTreeSet::new(),
        tags: Vec::new(),
        transitive: BTreeSet::new(),
        source_identity: None,
        duration_seconds: 3600,
        edition: Edition::FIRST,
    })
}

fn deploy() -> Arc<Key> {
    key("deploy", "20-302-Ab3dEf9_x")
}

/// Lets a flight land.
async fn settle() {
    for step in [0, 200, 0] {
        advance(Duration::from_millis(step)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_first_requests_are_one_call() {
    let World { sts, cache, .. } = world();
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get(&deploy()).await })
        })
        .collect();
    let mut documents = Vec::new();
    for task in tasks {
        documents.push(task.await.unwrap().unwrap().reveal_document().to_owned());
    }
    documents.dedup();
    assert_eq!((sts.calls(), documents.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_first_may_go_away() {
    let World { sts, cache, .. } = world();
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&deploy()).await }
    });
    tokio::task::yield_now().await;
    let second = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&deploy()).await }
    });
    tokio::task::yield_now().await;
    first.abort();
    assert!(second.await.unwrap().is_ok());
    assert_eq!(sts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_does_not_wedge_its_key() {
    let World { sts, cache, .. } = world();
    sts.panics.store(true, Ordering::SeqCst);
    assert_eq!(cache.get(&deploy()).await, Err(Failure::Broken));
    sts.panics.store(false, Ordering::SeqCst);
    assert!(cache.get(&deploy()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whatever_differs_in_the_key_differs_in_the_credentials() {
    let World { sts, cache, .. } = world();
    let base = deploy();
    let variants = [
        Key::clone(&base),
        Key {
            external_id: Some(ExternalId::parse("x1").unwrap()),
            ..Key::clone(&base)
        },
        Key {
            external_id: Some(ExternalId::parse("x2").unwrap()),
            ..Key::clone(&base)
        },
        Key {
            session_name: "20-303-Ab3dEf9_x".to_owned(),
            ..Key::clone(&base)
        },
        Key {
            policy: Some(SessionPolicy::parse(r#"{"Statement":[]}"#).unwrap()),
            ..Key::clone(&base)
        },
        Key {
            policy: Some(SessionPolicy::parse(r#"{"Statement": []}"#).unwrap()),
            ..Key::clone(&base)
        },
        Key {
            policy_arns: BTreeSet::from([PolicyArn::parse("arn:aws:iam::aws:policy/ReadOnlyAccess", &home()).unwrap()]),
            ..Key::clone(&base)
        },
        Key {
            tags: vec![("a".to_owned(), "b".to_owned())],
            ..Key::clone(&base)
        },
        Key {
            tags: vec![("a".to_owned(), "b".to_owned())],
            transitive: BTreeSet::from(["a".to_owned()]),
            ..Key::clone(&base)
        },
        Key {
            source_identity: Some("20-302".to_owned()),
            ..Key::clone(&base)
        },
        Key {
            duration_seconds: 900,
            ..Key::clone(&base)
        },
        Key::clone(&key("/team/deploy", "20-302-Ab3dEf9_x")),
    ];
    for variant in &variants {
        cache.get(&Arc::new(variant.clone())).await.unwrap();
        cache.get(&Arc::new(variant.clone())).await.unwrap();
    }
    assert_eq!(sts.calls(), variants.len());
}

#[tokio::test(start_paused = true)]
async fn refresh_comes_ahead_and_nobody_waits_for_it() {
    let World { sts, cache, .. } = world();
    let first = cache.get(&deploy()).await.unwrap();
    advance(Duration::from_mins(29)).await;
    assert_eq!(cache.get(&deploy()).await.unwrap(), first);
    assert_eq!(sts.calls(), 1);
    // 19 minutes are left: between 20 and 25 before its end at the latest, refresh has begun.
    advance(Duration::from_mins(12)).await;
    assert_eq!(cache.get(&deploy()).await.unwrap(), first);
    settle().await;
    let second = cache.get(&deploy()).await.unwrap();
    assert!(second.expires() > first.expires());
    assert_eq!(sts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn less_than_a_quarter_of_an_hour_is_served_only_while_sts_fails() {
    let World { sts, cache, events } = world();
    let first = cache.get(&deploy()).await.unwrap();
    advance(Duration::from_mins(50)).await;
    sts.fail(Some(Failure::Throttled));
    assert_eq!(cache.get(&deploy()).await.unwrap(), first);
    assert!(events.0.lock().unwrap().contains(&CacheEvent::Old));
    sts.fail(None);
    advance(Duration::from_secs(8)).await;
    let second = cache.get(&deploy()).await.unwrap();
    assert!(second.expires() > first.expires());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_past_its_end() {
    let World { sts, cache, .. } = world();
    cache.get(&deploy()).await.unwrap();
    sts.fail(Some(Failure::Unreachable));
    advance(Duration::from_hours(1)).await;
    assert_eq!(cache.get(&deploy()).await, Err(Failure::Unreachable));
    advance(Duration::from_hours(24)).await;
    assert_eq!(cache.get(&deploy()).await, Err(Failure::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn a_short_session_is_renewed_and_never_kept_for_ever() {
    let World { sts, cache, .. } = world();
    *sts.lifetime.lock().unwrap() = Duration::from_secs(5);
    let mut ends = Vec::new();
    for _ in 0..4 {
        ends.push(cache.get(&deploy()).await.unwrap().expires());
        advance(Duration::from_secs(6)).await;
    }
    ends.dedup();
    assert_eq!(ends.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_remembered_shortly_and_for_its_key_alone() {
    let World { sts, cache, .. } = world();
    sts.fail(Some(Failure::Denied));
    for _ in 0..10 {
        assert_eq!(cache.get(&deploy()).await, Err(Failure::Denied));
    }
    assert_eq!(sts.calls(), 1);
    sts.fail(None);
    assert!(cache.get(&key("deploy", "20-303-Ab3dEf9_x")).await.is_ok());
    assert_eq!(cache.get(&deploy()).await, Err(Failure::Denied));
    advance(Duration::from_secs(6)).await;
    assert!(cache.get(&deploy()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_role_that_sts_denies_now_is_not_served_from_memory() {
    let World { sts, cache, .. } = world();
    cache.get(&deploy()).await.unwrap();
    advance(Duration::from_mins(41)).await;
    sts.fail(Some(Failure::Denied));
    cache.get(&deploy()).await.unwrap();
    settle().await;
    assert_eq!(cache.get(&deploy()).await, Err(Failure::Denied));
}

#[tokio::test(start_paused = true)]
async fn a_role_without_the_permissions_for_tags_is_not_served_from_memory_either() {
    for failure in [Failure::TagsDenied, Failure::SourceIdentityDenied] {
        let World { sts, cache, .. } = world();
        cache.get(&deploy()).await.unwrap();
        advance(Duration::from_mins(50)).await;
        sts.fail(Some(failure));
        assert_eq!(cache.get(&deploy()).await, Err(failure));
        assert_eq!(cache.get(&deploy()).await, Err(failure));
        assert_eq!(sts.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_sts_is_given_up_and_asked_again() {
    let World { sts, cache, .. } = world();
    *sts.delay.lock().unwrap() = Duration::from_hours(1);
    assert_eq!(cache.get(&deploy()).await, Err(Failure::TimedOut));
    *sts.delay.lock().unwrap() = Duration::from_millis(100);
    advance(Duration::from_secs(10)).await;
    settle().await;
    // The failure itself is remembered for a second.
    advance(Duration::from_secs(2)).await;
    assert!(cache.get(&deploy()).await.is_ok());
    assert_eq!(sts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_role_is_not_passed_on() {
    let World { sts, cache, .. } = world();
    sts.other_role.store(true, Ordering::SeqCst);
    assert_eq!(cache.get(&deploy()).await, Err(Failure::WrongAnswer));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_keys_is_bounded_by_forgetting_the_oldest() {
    let World { sts, cache, .. } = world();
    *sts.delay.lock().unwrap() = Duration::ZERO;
    for job in 0..5000 {
        cache.get(&key("deploy", &format!("20-{job}-x"))).await.unwrap();
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(sts.calls(), 5000);
    cache.get(&key("deploy", "20-4999-x")).await.unwrap();
    assert_eq!(sts.calls(), 5000);
    cache.get(&key("deploy", "20-0-x")).await.unwrap();
    assert_eq!(sts.calls(), 5001);
}

#[tokio::test(start_paused = true)]
async fn what_a_withdrawn_rule_gave_is_gone_and_not_asked_for_again() {
    let World { sts, cache, .. } = world();
    cache.get(&deploy()).await.unwrap();
    assert_eq!(cache.keep_only(std::iter::once(Edition::FIRST)), 0);
    assert!(cache.ready(&deploy()).is_some());
    assert_eq!(cache.keep_only(std::iter::empty()), 1);
    assert_eq!(cache.ready(&deploy()), None);
    assert_eq!(cache.get(&deploy()).await, Err(Failure::Withdrawn));
    assert_eq!(sts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_a_withdrawn_rule_is_not_kept() {
    let World { sts, cache, .. } = world();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&deploy()).await }
    });
    tokio::task::yield_now().await;
    cache.keep_only(std::iter::empty());
    drop(waiting.await.unwrap());
    cache.keep_only(std::iter::once(Edition::FIRST));
    assert_eq!(cache.ready(&deploy()), None);
    assert_eq!(sts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_sts_that_keeps_failing_is_left_alone_and_old_credentials_are_served_meanwhile() {
    let World { sts, cache, events } = world();
    let old = cache.get(&deploy()).await.unwrap();
    advance(Duration::from_mins(50)).await;
    sts.fail(Some(Failure::Broken));
    for _ in 0..4 {
        assert_eq!(cache.get(&deploy()).await.unwrap(), old);
        advance(Duration::from_secs(3)).await;
    }
    assert!(
        events
            .0
            .lock()
            .unwrap()
            .contains(&CacheEvent::Turn(Turn::Suspended(Scope::Role)))
    );
    // From here on it is tried after 1, 2, 4, 8, 16 and then every 30 seconds, half as long again at most, whoever asks.
    let before = sts.calls();
    for second in 0..240 {
        assert_eq!(cache.get(&deploy()).await.unwrap(), old);
        drop(cache.get(&key("deploy", &format!("20-{second}-x"))).await);
        advance(Duration::from_secs(1)).await;
    }
    let calls = sts.calls() - before;
    assert!((8..=12).contains(&calls), "{calls}");
    assert!(!cache.is_suspended(), "one role is not all");
    sts.fail(None);
    advance(Duration::from_secs(45)).await;
    assert!(cache.get(&deploy()).await.unwrap().expires() > old.expires());
    assert!(
        events
            .0
            .lock()
            .unwrap()
            .contains(&CacheEvent::Turn(Turn::Resumed(Scope::Role)))
    );
}

#[tokio::test(start_paused = true)]
async fn new_sessions_beyond_the_rate_wait_a_little_or_are_told_to_come_again() {
    let clock = PausedClock::start();
    let sts = ScriptedSts::new(clock.clone());
    let rates = Rates { overall: 50, role: 1 };
    let events = Arc::new(Events::default());
    let cache = Cache::new(Arc::clone(&sts), clock, 1, rates, events.clone());
    let tasks: Vec<_> = (0..30)
        .map(|job| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get(&key("deploy", &format!("20-{job}-x"))).await })
        })
        .collect();
    let mut limited = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => {}
            Err(failure) => {
                assert_eq!(failure, Failure::Limited);
                limited += 1;
            }
        }
    }
    // Ten seconds' worth at once, and two more within two seconds.
    assert_eq!((sts.calls(), limited), (12, 18));
    assert!(
        events
            .0
            .lock()
            .unwrap()
            .contains(&CacheEvent::Withheld(Failure::Limited))
    );
    assert!(
        cache.get(&key("other", "20-1-x")).await.is_ok(),
        "another role has its own rate"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_ahead_is_there_for_the_first_request() {
    let World { sts, cache, events } = world();
    assert!(cache.prefetch(&deploy()));
    assert!(!cache.prefetch(&deploy()), "once is enough");
    settle().await;
    assert!(cache.ready(&deploy()).unwrap().is_ok());
    assert!(cache.get(&deploy()).await.is_ok());
    assert_eq!(
        *events.0.lock().unwrap(),
        [CacheEvent::Call(Ok(())), CacheEvent::Hit, CacheEvent::Hit]
    );
    assert_eq!(sts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_joins_the_call_that_is_ahead_of_it() {
    let World { sts, cache, .. } = world();
    assert!(cache.prefetch(&deploy()));
    assert!(cache.get(&deploy()).await.is_ok());
    assert_eq!(sts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_ahead_are_few_and_none_for_withdrawn_rules_or_a_failing_sts() {
    let World { sts, cache, .. } = world();
    let ahead = (0..20)
        .filter(|job| cache.prefetch(&key("deploy", &format!("20-{job}-x"))))
        .count();
    assert_eq!(ahead, 4);
    settle().await;
    assert!(cache.prefetch(&key("deploy", "20-99-x")));
    settle().await;
    sts.fail(Some(Failure::Broken));
    for job in 200..204 {
        assert_eq!(
            cache.get(&key("deploy", &format!("20-{job}-x"))).await,
            Err(Failure::Broken)
        );
    }
    assert!(!cache.prefetch(&key("deploy", "20-300-x")));
    cache.keep_only(std::iter::empty());
    assert!(!cache.prefetch(&key("other", "20-301-x")));
    assert_eq!(sts.calls(), 9);
}
