//! Values under paused time, with a scripted service; and that no path of a container leads to anything else.

use std::sync::Arc;
use std::time::Duration;

use fake_imds::canonical::{Place, Profile};
use proptest::prelude::*;
use tokio::time::advance;

use super::{Instance, Leaf, PAUSE, Unreadable};
use crate::fixture::ScriptedInstance;
use crate::routes::{Route, route};

fn world() -> (Arc<ScriptedInstance>, Arc<Instance>) {
    let upstream = ScriptedInstance::new();
    let instance = Arc::new(Instance::new(Arc::clone(&upstream)));
    (upstream, instance)
}

fn asked(upstream: &ScriptedInstance) -> usize {
    upstream.asked.lock().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_value_is_asked_for_once_however_many_want_it() {
    let (upstream, instance) = world();
    assert_eq!(instance.known(Leaf::InstanceType), None);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let instance = Arc::clone(&instance);
            tokio::spawn(async move { instance.read(Leaf::InstanceType).await.map(str::to_owned) })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok("value".to_owned()));
    }
    advance(Duration::from_hours(24)).await;
    assert_eq!(instance.read(Leaf::InstanceType).await, Ok("value"));
    assert_eq!(instance.known(Leaf::InstanceType), Some("value"));
    assert_eq!(*upstream.asked.lock().unwrap(), [Leaf::InstanceType]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_for_a_moment() {
    let (upstream, instance) = world();
    *upstream.answer.lock().unwrap() = Err(Unreadable::Failed);
    for _ in 0..10 {
        assert_eq!(instance.read(Leaf::Domain).await, Err(Unreadable::Failed));
    }
    assert_eq!(asked(&upstream), 1);
    *upstream.answer.lock().unwrap() = Ok("amazonaws.com".to_owned());
    assert_eq!(instance.read(Leaf::Domain).await, Err(Unreadable::Failed));
    advance(PAUSE).await;
    assert_eq!(instance.read(Leaf::Domain).await, Ok("amazonaws.com"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_service_is_given_up_by_all_who_wait() {
    let (upstream, instance) = world();
    *upstream.delay.lock().unwrap() = Duration::from_hours(1);
    let (one, two) = tokio::join!(instance.read(Leaf::Partition), instance.read(Leaf::Partition));
    assert_eq!((one, two), (Err(Unreadable::TimedOut), Err(Unreadable::TimedOut)));
    assert_eq!(asked(&upstream), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_value_is_not_passed_on() {
    let (upstream, instance) = world();
    for odd in [
        "",
        "{\n  \"Code\" : \"Success\"\n}",
        "eu-central-1a\nx",
        "<html>",
        &"a".repeat(129),
    ] {
        *upstream.answer.lock().unwrap() = Ok(odd.to_owned());
        assert_eq!(
            instance.read(Leaf::AvailabilityZone).await,
            Err(Unreadable::Odd),
            "{odd:?}"
        );
        advance(PAUSE).await;
    }
}

/// Paths of catalogue section HTTP, whole and in pieces: doubled slashes, dot segments, encodings, other categories.
fn paths() -> impl Strategy<Value = String> {
    let pieces = proptest::sample::select(vec![
        "/",
        "//",
        "latest",
        "2021-07-15",
        "2009-04-04",
        "1.0",
        "meta-data",
        "placement",
        "region",
        "availability-zone",
        "availability-zone-id",
        "services",
        "domain",
        "partition",
        "instance-type",
        "instance-id",
        "iam",
        "security-credentials",
        "info",
        "lab-host",
        "identity-credentials/ec2/security-credentials/ec2-instance",
        "user-data",
        "dynamic/instance-identity/document",
        "tags/instance/Name",
        "public-keys/0/openssh-key",
        "..",
        ".",
        "%2e%2e",
        "%2F",
        "%252f",
        "\\",
        ";a=b",
        "?",
        "#",
        "%00",
        "LATEST",
    ]);
    let made = proptest::collection::vec(pieces, 0..9).prop_map(|pieces| pieces.join("/"));
    let leaf = proptest::sample::select(Leaf::ALL.to_vec());
    let changed = (leaf, 0_usize..60, ".{0,2}").prop_map(|(leaf, at, text)| {
        let mut path = format!("/latest/meta-data/{}", leaf.path());
        let at = at.min(path.len());
        path.insert_str(at, &text);
        path
    });
    prop_oneof![
        Just(String::new()),
        made.clone().prop_map(|path| format!("/{path}")),
        made,
        changed,
        ".*"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_the_path_only_what_it_names_is_fetched_even_from_the_most_lenient_service(path in paths()) {
        if let Route::Leaf(leaf) = route(&path) {
            // What the service would take the container's own path for is the leaf and nothing else.
            let Place::Under { path: understood, .. } = Place::of(Profile::Lenient, &path) else {
                return Err(TestCaseError::fail(path));
            };
            prop_assert_eq!(understood, format!("meta-data/{}", leaf.path()));
            // And what is asked for does not depend on the container's path at all.
            let fetched = format!("/latest/meta-data/{}", leaf.path());
            prop_assert_eq!(route(&fetched), Route::Leaf(leaf));
        }
    }
}
