//! Each way in which the kernel's answer can be wrong, made to happen (rules A1 to A8).

use std::net::SocketAddr;

use bollard::models::HostConfig;
use bollard::query_parameters::{KillContainerOptionsBuilder, RestartContainerOptionsBuilder};
use libtest_mimic::Failed;
use metadata_proxy::attest::judge::{FIN_WAIT1, judge};
use metadata_proxy::attest::sock_diag::{Diag, Query};
use metadata_proxy::caller::{Level, Unattested};
use nix::sched::{CloneFlags, setns};

use crate::Test;
use crate::instance::run;
use crate::world::{Container, ENDPOINT, ENDPOINT_V6, World};

pub(crate) const TESTS: &[Test] = &[
    ("a_container_is_attested_as_itself", a_container_is_attested_as_itself),
    ("a_container_is_attested_over_ipv6", a_container_is_attested_over_ipv6),
    (
        "a1_a_port_on_which_the_victim_listens_proves_nothing",
        a1_listening_port,
    ),
    (
        "a1_a_borrowed_address_without_a_socket_proves_nothing",
        a1_borrowed_address,
    ),
    ("a2_a_killed_containers_socket_in_fin_wait1_is_an_orphan", a2_orphan),
    ("a3_a_reopened_tuple_is_not_the_pinned_socket", a3_reopened_tuple),
    ("a4_losing_the_network_ends_the_connection_at_once", a4_disconnect),
    ("a4_losing_the_address_is_noticed_without_the_engine", a4_address_gone),
    ("a5_a_restarted_container_is_another_run", a5_restart),
    ("a6_a_nested_cgroup_belongs_to_the_outermost_container", a6_nested),
    ("a8_a_v4_mapped_socket_is_found", a8_mapped),
    ("a8_a_device_bound_socket_is_found_beside_a_listener", a8_device),
    ("a_half_closed_connection_still_has_its_owner", half_closed),
];

fn plain(world: &World) -> Container<'_> {
    world.container(HostConfig::default())
}

/// Opens a raw query in the container's network namespace, as a careless proxy would keep one.
fn raw(container: &Container<'_>) -> Diag {
    let path = format!("/proc/{}/ns/net", container.pid());
    let opened = std::thread::spawn(move || {
        let namespace = std::fs::File::open(path).expect("the process lives");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may");
        Diag::open().expect("the kernel answers")
    });
    opened.join().expect("it does not panic")
}

fn query(local: SocketAddr) -> Query {
    Query {
        local,
        remote: ENDPOINT.parse().expect("an address"),
        interface: 0,
        cookie: None,
    }
}

fn a_container_is_attested_as_itself(world: &World) -> Result<(), Failed> {
    let (one, other) = (plain(world), plain(world));
    for container in [&one, &other, &one] {
        let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
        let (facts, pin) = world.attest(&connection)?;
        container.assert_is(&facts);
        world.confirm(&pin)?;
    }
    Ok(())
}

fn a_container_is_attested_over_ipv6(world: &World) -> Result<(), Failed> {
    let container = plain(world);
    let (_stream, connection) = container.connect("c", "-", ENDPOINT_V6, "");
    assert_eq!(connection.client.ip(), container.address_v6());
    let (facts, pin) = world.attest(&connection)?;
    container.assert_is(&facts);
    world.confirm(&pin)?;
    Ok(())
}

/// A neighbour that may change its interface takes the victim's address, and the host believes it.
fn borrow_address<'a>(world: &'a World, victim: &Container<'_>) -> Container<'a> {
    let host = HostConfig {
        cap_add: Some(vec!["NET_ADMIN".to_owned()]),
        ..HostConfig::default()
    };
    let thief = world.container(host);
    let address = victim.address();
    thief.in_network(&format!("ip addr add {address}/32 dev eth0"));
    run(&format!(
        "ip neigh replace {address} lladdr {} dev docker0 nud permanent",
        thief.mac()
    ));
    thief
}

fn give_back(victim: &Container<'_>) {
    run(&format!("ip neigh del {} dev docker0", victim.address()));
}

fn a1_listening_port(world: &World) -> Result<(), Failed> {
    let victim = plain(world);
    victim.order("listen 0.0.0.0:7001")?;
    victim.order("listen [::]:7002")?;
    let thief = borrow_address(world, &victim);
    for port in [7001, 7002] {
        let local = SocketAddr::new(victim.address(), port);
        let (_stream, connection) = thief.connect("c", &local.to_string(), ENDPOINT, "");
        // The kernel does answer, with the victim's listening socket and the victim's cgroup: that is the trap.
        let record = raw(&victim)
            .ask(&query(local))?
            .ok_or("the listening socket is not found")?;
        assert_eq!((record.state, record.cgroup_id.is_some()), (10, true));
        assert_eq!(world.attest(&connection).err(), Some(Unattested::NotEstablished));
        thief.order("reset c")?;
    }
    give_back(&victim);
    Ok(())
}

fn a1_borrowed_address(world: &World) -> Result<(), Failed> {
    let victim = plain(world);
    let thief = borrow_address(world, &victim);
    let (_stream, connection) = thief.connect("c", &format!("{}:7003", victim.address()), ENDPOINT, "");
    assert_eq!(world.attest(&connection).err(), Some(Unattested::NoSuchSocket));
    thief.order("reset c")?;
    give_back(&victim);
    Ok(())
}

fn a2_orphan(world: &World) -> Result<(), Failed> {
    let container = plain(world);
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
    let (facts, pin) = world.attest(&connection)?;
    let careless = raw(&container);
    // As GitLab Runner does it: the network goes first, so that the last FIN is never acknowledged.
    world.runtime.block_on(disconnect(world, &container))?;
    let options = KillContainerOptionsBuilder::default().signal("KILL").build();
    world
        .runtime
        .block_on(world.docker.kill_container(&container.id, Some(options)))?;
    world.wait_for_end(&pin);
    let query = query(connection.client);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let record = loop {
        let record = careless.ask(&query)?.ok_or("the dead container's socket is gone")?;
        if record.state == FIN_WAIT1 && record.inode == 0 {
            break record;
        }
        assert!(std::time::Instant::now() < deadline, "{record:?}");
        std::thread::yield_now();
    };
    assert_eq!(record.cgroup_id, Some(facts.run.cgroup_id));
    assert_eq!(judge(&query, Some(&record), Level::Netns), Err(Unattested::Orphaned));
    assert!(world.confirm(&pin).is_err());
    assert!(world.attest(&connection).is_err());
    Ok(())
}

async fn disconnect(world: &World, container: &Container<'_>) -> Result<(), bollard::errors::Error> {
    let request = bollard::models::NetworkDisconnectRequest {
        container: container.id.clone(),
        force: Some(true),
    };
    world.docker.disconnect_network("bridge", request).await
}

fn a3_reopened_tuple(world: &World) -> Result<(), Failed> {
    let first = plain(world);
    let host = HostConfig {
        network_mode: Some(format!("container:{}", first.id)),
        ..HostConfig::default()
    };
    let second = world.container(host);
    let bind = format!("{}:7004", first.address());
    let (stream, connection) = first.connect("c", &bind, ENDPOINT, "");
    let (facts, pin) = world.attest(&connection)?;
    first.assert_is(&facts);
    first.order("reset c")?;
    assert!(world.confirm(&pin).is_err());
    drop(stream);
    let (_stream, again) = second.connect("c", &bind, ENDPOINT, "");
    assert_eq!(again, connection);
    // Without the cookie the same tuple is the other container's, rightly; with it, it is not what was pinned.
    second.assert_is(&world.attest(&again)?.0);
    assert_eq!(world.confirm(&pin), Err(Unattested::AnotherSocket));
    Ok(())
}

fn a4_disconnect(world: &World) -> Result<(), Failed> {
    let container = plain(world);
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
    let (_, pin) = world.attest(&connection)?;
    world.confirm(&pin)?;
    world.runtime.block_on(disconnect(world, &container))?;
    // The process lives and its socket is established; only its network is gone.
    assert_eq!(world.confirm(&pin), Err(Unattested::NotRunning));
    world.wait_for_end(&pin);
    Ok(())
}

fn a4_address_gone(world: &World) -> Result<(), Failed> {
    let container = plain(world);
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
    let (_, pin) = world.attest(&connection)?;
    container.in_network(&format!("ip addr del {}/16 dev eth0", container.address()));
    assert_eq!(world.confirm(&pin), Err(Unattested::NotRunning));
    world.wait_for_end(&pin);
    Ok(())
}

fn a5_restart(world: &World) -> Result<(), Failed> {
    let container = plain(world);
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
    let (before, pin) = world.attest(&connection)?;
    std::fs::remove_file(format!("/run/jobs/{}/socket", container.number))?;
    let options = RestartContainerOptionsBuilder::default().t(0).build();
    world
        .runtime
        .block_on(world.docker.restart_container(&container.id, Some(options)))?;
    world.wait_for_end(&pin);
    assert!(world.confirm(&pin).is_err());
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
    let (after, _pin) = world.attest(&connection)?;
    container.assert_is(&after);
    assert_eq!(before.run.container_id, after.run.container_id);
    assert!(before.run.cgroup_id != after.run.cgroup_id && before.run.started_at != after.run.started_at);
    Ok(())
}

fn a6_nested(world: &World) -> Result<(), Failed> {
    let (victim, attacker) = (plain(world), plain(world));
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", attacker.pid()))?;
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or("no cgroup v2")?;
    let mount = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|mount| std::path::Path::new(&format!("{mount}{path}")).exists());
    // What a job with a writable hierarchy does: a directory below its own, named as the victim's.
    let nested = format!("{}{path}/deep/docker-{}.scope", mount.ok_or("no cgroup v2")?, victim.id);
    std::fs::create_dir_all(&nested)?;
    std::fs::write(format!("{nested}/cgroup.procs"), attacker.pid().to_string())?;
    let (_stream, connection) = attacker.connect("c", "-", ENDPOINT, "");
    let record = raw(&attacker)
        .ask(&query(connection.client))?
        .ok_or("the socket is not found")?;
    let (facts, pin) = world.attest(&connection)?;
    attacker.assert_is(&facts);
    assert_ne!(record.cgroup_id, Some(facts.run.cgroup_id));
    world.confirm(&pin)?;
    Ok(())
}

fn a8_mapped(world: &World) -> Result<(), Failed> {
    let container = plain(world);
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "mapped");
    let record = raw(&container)
        .ask(&query(connection.client))?
        .ok_or("the socket is not found")?;
    assert_eq!(record.family, 10);
    let (facts, pin) = world.attest(&connection)?;
    container.assert_is(&facts);
    world.confirm(&pin)?;
    Ok(())
}

fn a8_device(world: &World) -> Result<(), Failed> {
    let container = plain(world);
    for (name, bind) in [("c", "-".to_owned()), ("d", format!("{}:7005", container.address()))] {
        let (_stream, connection) = container.connect(name, &bind, ENDPOINT, "device=eth0");
        if name == "d" {
            // Without the device's index the kernel now answers with this listener.
            container.order("listen 0.0.0.0:7005").ok();
        }
        let (facts, pin) = world.attest(&connection)?;
        container.assert_is(&facts);
        world.confirm(&pin)?;
    }
    Ok(())
}

fn half_closed(world: &World) -> Result<(), Failed> {
    let container = plain(world);
    let (_stream, connection) = container.connect("c", "-", ENDPOINT, "");
    let (facts, pin) = world.attest(&connection)?;
    container.assert_is(&facts);
    container.order("half-close c")?;
    world.confirm(&pin)?;
    container.assert_is(&world.attest(&connection)?.0);
    Ok(())
}
