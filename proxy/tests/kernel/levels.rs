//! What the weaker level gives up, and what it refuses for that: nobody is told apart who shares a network namespace.

use std::time::{Duration, Instant};

use bollard::models::HostConfig;
use libtest_mimic::Failed;
use metadata_proxy::caller::Unattested;

use crate::Test;
use crate::world::{Container, ENDPOINT, World};

/// Tests of the stricter level that tell containers apart which share a network namespace.
pub(crate) const GIVEN_UP: &[&str] = &[
    "a3_a_reopened_tuple_is_not_the_pinned_socket",
    "containers_that_share_a_network_are_told_apart",
];

pub(crate) const TESTS: &[Test] = &[
    ("containers_that_share_a_network_are_all_refused", sharers),
    ("a_guest_that_asks_at_once_is_never_taken_for_its_host", early_guest),
    ("a_reopened_socket_is_not_the_pinned_one", reopened),
];

fn guest_of(host: &Container<'_>) -> HostConfig {
    HostConfig {
        network_mode: Some(format!("container:{}", host.id)),
        ..HostConfig::default()
    }
}

fn sharers(world: &World) -> Result<(), Failed> {
    let owner = world.container(HostConfig::default());
    let (_kept, connection) = owner.connect("kept", "-", ENDPOINT, "");
    let (facts, pin) = world.attest(&connection)?;
    owner.assert_is(&facts);
    world.confirm(&pin)?;
    let guest = world.container(guest_of(&owner));
    for container in [&owner, &guest] {
        let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
        assert_eq!(world.attest(&connection).err(), Some(Unattested::SharedNetwork));
    }
    // What was attested before is refused as soon as the engine has told of the guest.
    let deadline = Instant::now() + Duration::from_secs(5);
    while world.confirm(&pin).is_ok() {
        assert!(Instant::now() < deadline, "the guest is not noticed");
        std::thread::yield_now();
    }
    assert_eq!(world.confirm(&pin), Err(Unattested::SharedNetwork));
    // Alone again, it is served again.
    drop(guest);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (_stream, connection) = owner.connect("c", "-", ENDPOINT, "");
        match world.attest(&connection) {
            Ok((facts, pin)) => {
                owner.assert_is(&facts);
                world.confirm(&pin)?;
                return Ok(());
            }
            Err(refusal) => assert!(Instant::now() < deadline, "{refusal}"),
        }
    }
}

/// Its request is there before the engine's event, and before its list shows that it runs.
fn early_guest(world: &World) -> Result<(), Failed> {
    for _ in 0..8 {
        let owner = world.container(HostConfig::default());
        let (_stream, connection) = owner.connect("c", "-", ENDPOINT, "");
        owner.assert_is(&world.attest(&connection)?.0);
        let _guest = world.container_with(guest_of(&owner), &["call-now", ENDPOINT]);
        let (_stream, connection) = world.accept();
        assert_eq!(connection.client.ip(), owner.address());
        let attested = world
            .attest(&connection)
            .map(|(facts, _)| facts.run.container_id.clone());
        assert_eq!(attested, Err(Unattested::SharedNetwork));
    }
    Ok(())
}

fn reopened(world: &World) -> Result<(), Failed> {
    let container = world.container(HostConfig::default());
    let bind = format!("{}:7104", container.address());
    let (stream, connection) = container.connect("c", &bind, ENDPOINT, "");
    let (_, pin) = world.attest(&connection)?;
    container.order("reset c")?;
    assert!(world.confirm(&pin).is_err());
    drop(stream);
    let (_stream, again) = container.connect("c", &bind, ENDPOINT, "");
    assert_eq!(again, connection);
    container.assert_is(&world.attest(&again)?.0);
    assert_eq!(world.confirm(&pin), Err(Unattested::AnotherSocket));
    Ok(())
}
