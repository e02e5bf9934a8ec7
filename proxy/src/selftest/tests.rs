use super::*;

#[test]
fn what_is_missing_is_explained() {
    let error = SelfTestError::Unattested {
        reason: Unattested::NoCgroup,
    };
    insta::assert_snapshot!(error, @"
    the self-test's connection could not be attested (no-cgroup): the kernel gives no cgroup v2 id of the connection's owner. That needs Linux 5.8, cgroup v2 or hybrid cgroups with a runtime that uses both, and below Linux 5.15 no use of net_cls or net_prio
    ");
    let error = SelfTestError::NotArrived { exit_code: Some(1) };
    insta::assert_snapshot!(error, @r###"the self-test's container called the endpoint and its request did not arrive within 15 s (it ended with exit code 1): the redirect to the proxy's port is missing, or another firewall drops it"###);
}

#[test]
fn the_probe_wants_an_endpoint_and_a_nonce() {
    assert!(matches!(call(&[]), Err(CallError::Usage)));
    assert!(matches!(call(&["endpoint".into(), "n".into()]), Err(CallError::Usage)));
}
