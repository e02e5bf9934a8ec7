use super::*;

#[test]
fn what_is_missing_is_explained() {
    let error = SelfTestError::Unattested {
        reason: Unattested::NoCgroup,
    };
    insta::assert_snapshot!(error, @r#"
    the self-test's connection could not be attested (no-cgroup): the kernel gives no cgroup v2 id of the connection's owner. That needs Linux 5.8, cgroup v2 or hybrid cgroups with a runtime that uses both, and below Linux 5.15 no use of net_cls or net_prio; attestation.level = "netns" does without
    "#);
    let error = SelfTestError::NotArrived { exit_code: Some(1) };
    insta::assert_snapshot!(error, @r###"the self-test's container called the endpoint and its request did not arrive within 15 s (it ended with exit code 1): the redirect to the proxy's port is missing, or another firewall drops it"###);
}

#[test]
fn what_a_canary_met_is_explained() {
    let words = "error: 169.254.169.254:80 answered 200, and not 403, to a request for a token".to_owned();
    insta::assert_snapshot!(SelfTestError::Answered { words }, @"the self-test's container, for which there is no rule, was not answered as it should be: error: 169.254.169.254:80 answered 200, and not 403, to a request for a token");
    let words = "error: calling 169.254.169.254:80 for the proof".to_owned();
    insta::assert_snapshot!(SelfTestError::Lost { words }, @"the self-test's container called the endpoint, and its request did not come to this proxy (error: calling 169.254.169.254:80 for the proof): the redirect to the proxy's port is missing, another firewall drops it, or somebody else answers");
}

#[tokio::test(start_paused = true)]
async fn whoever_connects_and_says_nothing_does_not_hold_up_the_proof() {
    use std::sync::Arc;

    use crate::fixture::{FakeAttestor, facts};

    let attestor = Arc::new(FakeAttestor::default());
    *attestor.facts.lock().unwrap() = Some(Arc::new(facts()));
    let connection = Connection {
        client: "172.17.0.9:40000".parse().unwrap(),
        original_destination: "169.254.169.254:80".parse().unwrap(),
    };
    let mut clients = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let (near, far) = tokio::io::duplex(4096);
        clients.push(near);
        waiting.push(far);
    }
    let (mut probe, far) = tokio::io::duplex(4096);
    probe.write_all(b"GET /n0nce HTTP/1.1\r\n\r\n").await.unwrap();
    // Taken from the end: the probe comes last.
    waiting.insert(0, far);
    let mut accept = async || match waiting.pop() {
        Some(stream) => Ok((stream, connection)),
        None => std::future::pending().await,
    };
    let start = tokio::time::Instant::now();
    let container = facts().run.container_id;
    watch(&attestor, &mut accept, &container, "n0nce").await.unwrap();
    assert!(start.elapsed() < REQUEST, "{:?}", start.elapsed());
    let mut answer = Vec::new();
    probe.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, GRANTED);
}
