//! The self-test (rule A9): it proves what works, and says why when it does not.

use std::net::TcpListener;

use libtest_mimic::Failed;
use metadata_proxy::attest;
use metadata_proxy::caller::{Attestor, Connection, Facts, Unattested};
use metadata_proxy::selftest::{SelfTestError, prove};
use std::sync::Arc;

use crate::Test;
use crate::world::{ENDPOINT, World};

pub(crate) const TESTS: &[Test] = &[
    ("the_self_test_proves_attestation_and_leaves_nothing_behind", proves),
    ("the_self_test_refuses_a_machine_that_gives_no_cgroup", refuses),
];

/// An attestor for a kernel that is too old.
struct Blind;

impl Attestor for Blind {
    type Pin = ();

    async fn attest(&self, _: &Connection) -> Result<(Arc<Facts>, ()), Unattested> {
        Err(Unattested::NoCgroup)
    }

    fn confirm(&self, (): &()) -> Result<(), Unattested> {
        Err(Unattested::NoCgroup)
    }

    async fn ended(&self, (): &()) {}
}

fn run<A: Attestor>(world: &World, attestor: &A, nonce: &str) -> Result<(), SelfTestError> {
    let listener: TcpListener = world.listeners[0].try_clone().expect("a socket can be cloned");
    listener.set_nonblocking(true).expect("it may");
    world.runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is there");
        let accept = async || {
            let (stream, _) = listener.accept().await?;
            let connection = attest::connection(&stream)?;
            Ok((stream, connection))
        };
        prove(
            &world.engine,
            attestor,
            accept,
            ENDPOINT.parse().expect("an address"),
            nonce,
        )
        .await
    })
}

fn proves(world: &World) -> Result<(), Failed> {
    run(world, &world.attestor, "0123456789abcdef")?;
    let listed = crate::instance::printed(
        "docker -H unix:///run/docker.sock ps -aq; docker -H unix:///run/docker.sock images -q",
    );
    assert_eq!(listed.lines().count(), 1, "only the tests' own image remains: {listed}");
    Ok(())
}

fn refuses(world: &World) -> Result<(), Failed> {
    let refused = run(world, &Blind, "fedcba9876543210");
    assert!(
        matches!(
            refused,
            Err(SelfTestError::Unattested {
                reason: Unattested::NoCgroup
            })
        ),
        "{refused:?}"
    );
    Ok(())
}
