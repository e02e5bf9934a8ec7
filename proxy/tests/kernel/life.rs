//! Containers come, share, go and come again; the engine goes away.

use std::time::{Duration, Instant};

use bollard::models::HostConfig;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use libtest_mimic::Failed;
use metadata_proxy::caller::Unattested;

use crate::Test;
use crate::world::{ENDPOINT, World};

pub(crate) const TESTS: &[Test] = &[
    ("a_request_that_comes_before_the_start_event_is_attested", first_request),
    (
        "an_address_that_moves_to_another_container_is_attested_as_that_one",
        address_reuse,
    ),
    ("containers_that_share_a_network_are_told_apart", sharers),
    ("both_networks_of_a_container_lead_to_it", two_networks),
    ("a_direct_connection_is_refused_even_if_the_firewall_lets_it_in", direct),
    ("nothing_is_attested_while_the_engine_is_away", engine_away),
];

fn first_request(world: &World) -> Result<(), Failed> {
    for _ in 0..8 {
        let container = world.container_with(HostConfig::default(), &["call-now", ENDPOINT]);
        let (_stream, connection) = world.accept();
        container.assert_is(&world.attest(&connection)?.0);
    }
    Ok(())
}

fn address_reuse(world: &World) -> Result<(), Failed> {
    let mut last = None;
    for _ in 0..4 {
        let container = world.container(HostConfig::default());
        let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
        let (facts, pin) = world.attest(&connection)?;
        container.assert_is(&facts);
        assert!(
            last.is_none_or(|address| address == container.address()),
            "the engine gives the lowest free address"
        );
        last = Some(container.address());
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        world
            .runtime
            .block_on(world.docker.remove_container(&container.id, Some(options)))?;
        world.wait_for_end(&pin);
        assert!(world.confirm(&pin).is_err());
    }
    Ok(())
}

fn sharers(world: &World) -> Result<(), Failed> {
    let owner = world.container(HostConfig::default());
    let host = HostConfig {
        network_mode: Some(format!("container:{}", owner.id)),
        ..HostConfig::default()
    };
    let guest = world.container(host);
    for container in [&owner, &guest] {
        let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
        let (facts, pin) = world.attest(&connection)?;
        container.assert_is(&facts);
        world.confirm(&pin)?;
    }
    Ok(())
}

fn two_networks(world: &World) -> Result<(), Failed> {
    let container = world.container(HostConfig::default());
    world.runtime.block_on(async {
        let request = bollard::models::NetworkCreateRequest {
            name: "second".to_owned(),
            ..Default::default()
        };
        world.docker.create_network(request).await?;
        let request = bollard::models::NetworkConnectRequest {
            container: container.id.clone(),
            ..Default::default()
        };
        world.docker.connect_network("second", request).await
    })?;
    let text = crate::instance::printed(&format!(
        "nsenter --net=/proc/{}/ns/net ip -4 -br addr show eth1",
        container.pid()
    ));
    let second = text
        .split_whitespace()
        .find_map(|word| word.split_once('/'))
        .ok_or("no second address")?
        .0
        .to_owned();
    let first = container.address().to_string();
    for address in [first, second] {
        let (_stream, connection) = container.connect("c", &format!("{address}:0"), ENDPOINT, "");
        container.assert_is(&world.attest(&connection)?.0);
    }
    drop(container);
    world.runtime.block_on(world.docker.remove_network("second"))?;
    Ok(())
}

fn direct(world: &World) -> Result<(), Failed> {
    let container = world.container(HostConfig::default());
    let (_stream, mut connection) = container.connect("c", "-", ENDPOINT, "");
    connection.original_destination = "172.17.0.1:8000".parse()?;
    assert_eq!(world.attest(&connection).err(), Some(Unattested::DirectConnection));
    Ok(())
}

fn engine_away(world: &World) -> Result<(), Failed> {
    let container = world.container(HostConfig::default());
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
    let (_, pin) = world.attest(&connection)?;
    world.confirm(&pin)?;
    world.kill_engine();
    // The stream breaks when the process dies; until then and from then on, nothing that was true is relied upon.
    let deadline = Instant::now() + Duration::from_secs(5);
    while world.confirm(&pin).is_ok() {
        assert!(Instant::now() < deadline, "the engine is not missed");
        std::thread::yield_now();
    }
    assert_eq!(world.attest(&connection).err(), Some(Unattested::EngineUnavailable));
    world.start_engine();
    let container = world.container(HostConfig::default());
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
    let deadline = Instant::now() + Duration::from_secs(10);
    let (facts, pin) = loop {
        match world.attest(&connection) {
            Err(Unattested::EngineUnavailable) if Instant::now() < deadline => std::thread::yield_now(),
            attested => break attested?,
        }
    };
    container.assert_is(&facts);
    world.confirm(&pin)?;
    Ok(())
}
