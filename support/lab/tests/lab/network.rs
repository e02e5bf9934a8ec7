//! Containers reach the upstream side as what they are, and the wire tells what they said.

use std::collections::HashMap;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use lab::{Direction, Instance, Losses, Place, Process, Program, plan};
use libtest_mimic::{Failed, Trial};

use crate::{Outcome, SOON, close, ensure, image, open_lab, start_instance, trial, upstream_addresses};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(trial("the_host_appears_upstream_as_itself", host_appears_as_itself));
    trials.push(trial(
        "containers_of_every_bridge_appear_upstream_as_forwarded",
        containers_appear_as_forwarded,
    ));
    trials.push(trial(
        "nothing_leaves_an_instance_but_to_what_was_named",
        nothing_leaves,
    ));
    trials.push(trial("a_burst_is_captured_without_loss", burst_is_captured));
    trials.push(trial("rules_are_listed_changed_and_compared", rules_are_compared));
}

async fn host_appears_as_itself() -> Outcome {
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "host").await?;
    let _listener = listen_upstream(&instance).await?;
    for (address, own) in upstream_addresses()
        .into_iter()
        .zip([plan::HOST_V4.to_string(), plan::HOST_V6.to_string()])
    {
        let target = std::net::SocketAddr::new(address, 80).to_string();
        let output = instance
            .run(Place::Host, &probe(&["connect", &target, "marker"])?, SOON)
            .await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure(said.contains(&format!("you are {own}, marker")), || {
            format!("{target}: {said:?} {output:?}")
        })?;
    }
    instance.teardown().await?;
    close(lab).await
}

async fn containers_appear_as_forwarded() -> Outcome {
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "bridges").await?;
    let docker = instance.docker();
    image::import(&docker).await?;
    docker.create_network(network("user", "fd31::/64", None)).await?;
    docker
        .create_network(network("named", "fd32::/64", Some("ci-bridge")))
        .await?;
    let capture = instance.capture()?;
    let listener = listen_upstream(&instance).await?;
    for bridge in ["bridge", "user", "named"] {
        let (container, process) = image::start(&docker, bridge).await?;
        let interfaces = instance.interfaces_of(process)?;
        let [wire] = interfaces.as_slice() else {
            return Err(format!("{bridge}: wires {interfaces:?}").into());
        };
        for (address, own) in upstream_addresses()
            .into_iter()
            .zip([plan::FORWARDED_V4.to_string(), plan::FORWARDED_V6.to_string()])
        {
            let target = std::net::SocketAddr::new(address, 80);
            let marker = format!("marker-{bridge}-{}", if address.is_ipv4() { "4" } else { "6" });
            let said = image::probe(&docker, &container, &["connect", &target.to_string(), &marker]).await?;
            let answer = format!("you are {own}, {marker}");
            ensure(said.contains(&answer), || format!("{bridge} {target}: {said:?}"))?;
            let streams = capture.streams_of(*wire).await?;
            let carried = |direction, text: &str| {
                let of = streams
                    .iter()
                    .filter(|stream| stream.direction == direction && stream.gaps.is_empty());
                of.filter(|stream| stream.bytes == text.as_bytes()).count()
            };
            ensure(
                carried(Direction::Received, &marker) == 1 && carried(Direction::Sent, &answer) == 1,
                || format!("{bridge}: streams {streams:?}"),
            )?;
            for other in capture.interfaces().await?.into_iter().filter(|index| index != wire) {
                let name = name_of(&instance, other)?;
                let foreign = capture.frames_of(other).await?;
                let seen = foreign.iter().any(|frame| contains(&frame.bytes, marker.as_bytes()));
                // What is forwarded also crosses the bridge and the uplink, and no other container's wire.
                ensure(!seen || !name.starts_with("veth"), || format!("{marker} on {name}"))?;
            }
        }
        docker.remove_container(&container, Some(forced())).await?;
    }
    ensure(listener.stdout().matches("heard marker-").count() == 6, || {
        listener.stdout()
    })?;
    ensure(capture.stop().await? == Losses::default(), || {
        "frames were lost".to_owned()
    })?;
    instance.teardown().await?;
    close(lab).await
}

async fn burst_is_captured() -> Outcome {
    const BYTES: usize = 32 * 1024 * 1024;
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "burst").await?;
    let docker = instance.docker();
    image::import(&docker).await?;
    let capture = instance.capture()?;
    let _listener = listen_upstream(&instance).await?;
    let (container, process) = image::start(&docker, "bridge").await?;
    let said = image::probe(&docker, &container, &["pour", "198.51.100.1:80", &BYTES.to_string()]).await?;
    ensure(said.contains(&format!("{BYTES} bytes")), || said)?;
    let wire = *instance.interfaces_of(process)?.first().ok_or("no wire")?;
    let streams = capture.streams_of(wire).await?;
    let poured = streams
        .iter()
        .find(|stream| stream.bytes.len() == BYTES && stream.gaps.is_empty());
    let sizes = || {
        streams
            .iter()
            .map(|stream| (stream.bytes.len(), stream.gaps.len()))
            .collect::<Vec<_>>()
    };
    ensure(poured.is_some(), || {
        format!("streams {:?}, losses {:?}", sizes(), capture.losses())
    })?;
    capture.forget(wire);
    ensure(capture.frames_of(wire).await?.is_empty(), || {
        "frames are remembered".to_owned()
    })?;
    ensure(capture.stop().await? == Losses::default(), || {
        "frames were lost".to_owned()
    })?;
    instance.teardown().await?;
    close(lab).await
}

async fn nothing_leaves() -> Outcome {
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "closed").await?;
    for target in ["192.0.2.1:80", "[2001:db8::1]:80", "8.8.8.8:53"] {
        let output = instance
            .run(Place::Host, &probe(&["connect", target, ""])?, SOON)
            .await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(said.contains("unreachable"), || format!("{target}: {said}"))?;
    }
    instance.teardown().await?;
    close(lab).await
}

async fn rules_are_compared() -> Outcome {
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "rules").await?;
    let before = instance.rules(Place::Host).await?;
    ensure(
        before.difference(&instance.rules(Place::Host).await?).is_empty(),
        || "rules change by themselves".to_owned(),
    )?;
    instance
        .apply_rules(Place::Host, "table inet extra { chain c { tcp dport 80 drop; }; }")
        .await?;
    let difference = before.difference(&instance.rules(Place::Host).await?);
    let expected = [
        "+ table inet extra",
        "+ table inet extra / chain c",
        "+ table inet extra / chain c / tcp dport 80 drop",
    ];
    ensure(difference == expected, || format!("{difference:?}"))?;
    ensure(instance.apply_rules(Place::Host, "nonsense").await.is_err(), || {
        "nonsense was loaded".to_owned()
    })?;
    instance.teardown().await?;
    close(lab).await
}

/// A user network with IPv6, which needs an explicit subnet on engines before 27.
fn network(name: &str, subnet_v6: &str, bridge: Option<&str>) -> NetworkCreateRequest {
    let option = bridge.map(|bridge| HashMap::from([("com.docker.network.bridge.name".to_owned(), bridge.to_owned())]));
    NetworkCreateRequest {
        name: name.to_owned(),
        enable_ipv6: Some(true),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet_v6.to_owned()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        options: option,
        ..NetworkCreateRequest::default()
    }
}

fn forced() -> bollard::query_parameters::RemoveContainerOptions {
    bollard::query_parameters::RemoveContainerOptionsBuilder::default()
        .force(true)
        .build()
}

fn name_of(instance: &Instance, index: u32) -> Result<String, Failed> {
    let links = instance.links(Place::Host)?;
    Ok(links
        .into_iter()
        .find(|link| link.index == index)
        .map(|link| link.name)
        .unwrap_or_default())
}

/// Listens on all of the upstream side's own addresses.
pub(crate) async fn listen_upstream(instance: &Instance) -> Result<Process, Failed> {
    let addresses = upstream_addresses().map(|address| std::net::SocketAddr::new(address, 80).to_string());
    let words: Vec<&str> = ["listen"]
        .into_iter()
        .chain(addresses.iter().map(String::as_str))
        .collect();
    let listener = instance.spawn(Place::Upstream, &probe(&words)?)?;
    listener.wait_for_lines("listening on ", addresses.len(), SOON).await?;
    Ok(listener)
}

/// This program as the probe.
pub(crate) fn probe(words: &[&str]) -> Result<Program, Failed> {
    Ok(Program::new(std::env::current_exe()?)
        .arg("probe")
        .args(words)
        .label("probe"))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
