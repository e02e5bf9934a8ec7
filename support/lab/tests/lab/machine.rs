//! The machine is as it was: its rules, routes, namespaces, mounts and containers.

use bollard::{Docker, query_parameters::ListContainersOptionsBuilder};
use lab::Place;
use libtest_mimic::{Failed, Trial};

use crate::{Outcome, close, ensure, image, open_lab, start_instance, trial};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(trial("the_machine_is_untouched", machine_is_untouched));
}

async fn machine_is_untouched() -> Outcome {
    let before = machine().await?;
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "busy").await?;
    let docker = instance.docker();
    image::import(&docker).await?;
    image::start(&docker, "bridge").await?;
    instance.apply_rules(Place::Host, "flush ruleset").await?;
    let during = machine().await?;
    ensure(before == during, || changes(&before, &during))?;
    instance.teardown().await?;
    close(lab).await?;
    let after = machine().await?;
    ensure(before == after, || changes(&before, &after))
}

fn changes(before: &[String], after: &[String]) -> String {
    let changed = before.iter().zip(after).filter(|(before, after)| before != after);
    changed
        .map(|(before, after)| format!("was {before}\nis {after}\n"))
        .collect()
}

async fn machine() -> Result<Vec<String>, Failed> {
    let mut known = Vec::new();
    for (program, args) in [
        ("nft", &["-s", "list", "ruleset"][..]),
        (
            "stat",
            &[
                "-c",
                "%n %z",
                "/etc",
                "/etc/docker",
                "/opt",
                "/opt/containerd",
                "/var/lib",
                "/run/netns",
            ],
        ),
        ("ip", &["netns"]),
        ("ip", &["-o", "link"]),
        ("ip", &["-4", "rule"]),
        ("ip", &["-6", "rule"]),
        ("ip", &["-4", "route", "show", "table", "all"]),
        ("ip", &["-6", "route", "show", "table", "all"]),
        (
            "cat",
            &[
                "/proc/sys/net/ipv4/ip_forward",
                "/proc/sys/net/ipv6/conf/all/forwarding",
                "/proc/self/mountinfo",
            ],
        ),
    ] {
        let output = tokio::process::Command::new(program).args(args).output().await?;
        known.push(format!(
            "{program} {args:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        ));
    }
    let socket = "/var/run/docker.sock";
    if std::path::Path::new(socket).exists() {
        let docker = Docker::connect_with_unix(socket, 10, bollard::API_DEFAULT_VERSION)?
            .negotiate_version()
            .await?;
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let mut containers: Vec<_> = docker
            .list_containers(Some(options))
            .await?
            .into_iter()
            .map(|container| container.id)
            .collect();
        containers.sort();
        known.push(format!("containers {containers:?}"));
        let mut networks: Vec<_> = docker
            .list_networks(None)
            .await?
            .into_iter()
            .map(|network| network.id)
            .collect();
        networks.sort();
        known.push(format!("networks {networks:?}"));
    }
    Ok(known)
}
