//! The firewall and the routing behind it, on a live kernel.

use bollard::models::HostConfig;
use libtest_mimic::Failed;
use metadata_proxy::firewall::{self, Difference};

use crate::Test;
use crate::instance::{CANARY, printed, run};
use crate::world::{ENDPOINT, ENDPOINT_V6, World};

const OTHER: &str = "169.254.170.2:80";

pub(crate) const TESTS: &[Test] = &[
    ("the_rules_are_applied_twice_and_verified", applied_twice),
    ("the_verification_names_what_was_changed", changed),
    ("no_container_reaches_anything_else_of_the_instance", closed),
    ("a_connection_to_the_proxys_own_port_is_dropped", guarded),
    ("a_flushed_ruleset_leaves_jobs_blocked_and_the_host_not", flushed),
    ("a_connection_from_before_the_rules_is_cut", cut),
    ("applying_again_leaves_redirected_connections_alone", left_alone),
    ("removing_leaves_the_rules_of_others", removed),
];

fn apply(world: &World) -> Result<(), Failed> {
    world.runtime.block_on(firewall::apply(world.plan))?;
    Ok(())
}

fn differences(world: &World) -> Result<Vec<Difference>, Failed> {
    Ok(world.runtime.block_on(firewall::verify(world.plan))?)
}

/// What the host itself gets from the real endpoint.
fn asked_by_host(endpoint: &str) -> String {
    use std::io::{Read, Write};
    let endpoint = endpoint.parse().expect("an address");
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect_timeout(&endpoint, std::time::Duration::from_secs(2))?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
        stream.write_all(b"x")?;
        let mut buffer = [0; 64];
        let length = stream.read(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    ask().unwrap_or_else(|error| error.to_string())
}

fn applied_twice(world: &World) -> Result<(), Failed> {
    for _ in 0..2 {
        apply(world)?;
        assert_eq!(differences(world)?, []);
    }
    assert_eq!(
        printed("ip rule show").lines().count(),
        8,
        "{}",
        printed("ip rule show")
    );
    Ok(())
}

fn changed(world: &World) -> Result<(), Failed> {
    run("nft insert rule inet metadata_proxy link_local_forward accept");
    run("ip -6 rule del pref 89");
    let found = differences(world)?;
    assert!(
        found.iter().any(|one| matches!(
            one,
            Difference::RuleChanged {
                chain: "link_local_forward",
                place: 1,
                ..
            }
        )),
        "{found:?}"
    );
    assert!(
        found.iter().any(|one| matches!(one, Difference::RoutingMissing { .. })),
        "{found:?}"
    );
    run("nft delete table inet metadata_proxy");
    assert!(differences(world)?.contains(&Difference::TableMissing));
    apply(world)?;
    assert_eq!(differences(world)?, []);
    Ok(())
}

fn closed(world: &World) -> Result<(), Failed> {
    let container = world.container(HostConfig::default());
    assert!(container.order(&format!("open o - {OTHER}")).is_err());
    // The control: without rules the same request arrives.
    world.runtime.block_on(firewall::remove())?;
    for endpoint in [OTHER, ENDPOINT, ENDPOINT_V6] {
        container.order(&format!("open o - {endpoint}"))?;
        container.order("send o x")?;
        assert_eq!(container.order("receive o")?, CANARY);
    }
    apply(world)?;
    assert!(container.order(&format!("open o - {OTHER}")).is_err());
    assert_eq!(asked_by_host(ENDPOINT), CANARY);
    assert_eq!(asked_by_host(ENDPOINT_V6), CANARY);
    Ok(())
}

fn guarded(world: &World) -> Result<(), Failed> {
    let container = world.container(HostConfig::default());
    let port = world.listeners[0].local_addr()?.port();
    for address in [
        format!("172.17.0.1:{port}"),
        format!("10.200.0.2:{port}"),
        format!("[fd17::1]:{port}"),
    ] {
        assert!(container.order(&format!("open d - {address}")).is_err(), "{address}");
    }
    assert!(world.is_quiet());
    let (_stream, _) = container.connect("c", "-", ENDPOINT, "");
    Ok(())
}

fn flushed(world: &World) -> Result<(), Failed> {
    let container = world.container(HostConfig::default());
    let kept = printed("nft list ruleset");
    run("nft flush ruleset");
    for endpoint in [ENDPOINT, ENDPOINT_V6, OTHER] {
        assert!(container.order(&format!("open o - {endpoint}")).is_err(), "{endpoint}");
    }
    assert_eq!(asked_by_host(ENDPOINT), CANARY);
    std::fs::write("/run/kept.nft", kept)?;
    run("nft -f /run/kept.nft");
    apply(world)?;
    assert_eq!(differences(world)?, []);
    let (_stream, _) = container.connect("c", "-", ENDPOINT, "");
    Ok(())
}

fn cut(world: &World) -> Result<(), Failed> {
    world.runtime.block_on(firewall::remove())?;
    let container = world.container(HostConfig::default());
    for (name, endpoint) in [("four", ENDPOINT), ("six", ENDPOINT_V6)] {
        container.order(&format!("open {name} - {endpoint}"))?;
        container.order(&format!("send {name} x"))?;
        assert_eq!(container.order(&format!("receive {name}"))?, CANARY);
    }
    apply(world)?;
    for name in ["four", "six"] {
        // Whether it is reset or silent does not matter; nothing of the real endpoint arrives any more.
        let _ = container.order(&format!("send {name} x"));
        assert_ne!(container.order(&format!("receive {name}")), Ok(CANARY.to_owned()));
    }
    Ok(())
}

fn left_alone(world: &World) -> Result<(), Failed> {
    use std::io::{Read, Write};
    let container = world.container(HostConfig::default());
    for (name, endpoint) in [("four", ENDPOINT), ("six", ENDPOINT_V6)] {
        let (mut stream, _) = container.connect(name, "-", endpoint, "");
        apply(world)?;
        stream.write_all(b"ours")?;
        assert_eq!(container.order(&format!("receive {name}"))?, "ours");
        container.order(&format!("send {name} thanks"))?;
        let mut buffer = [0; 6];
        stream.read_exact(&mut buffer)?;
    }
    Ok(())
}

fn removed(world: &World) -> Result<(), Failed> {
    run("nft add table inet somebody_else; ip rule add pref 70 to 192.0.2.0/24 lookup main");
    world.runtime.block_on(firewall::remove())?;
    world.runtime.block_on(firewall::remove())?;
    assert!(printed("nft list tables").contains("somebody_else"));
    assert!(!printed("nft list tables").contains("metadata_proxy"));
    assert_eq!(
        printed("ip rule show").lines().count(),
        4,
        "{}",
        printed("ip rule show")
    );
    run("nft delete table inet somebody_else; ip rule del pref 70");
    apply(world)
}
