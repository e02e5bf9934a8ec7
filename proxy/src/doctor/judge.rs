//! Judges what was seen of a host. Pure.

use super::{Advice, Finding, Findings, Host, Level, Manager};
use crate::caller::Level as AttestationLevel;
use crate::config::{Config, HostAccess};
use crate::engine::Setting;
use crate::paragraph::show;

/// `pidfd_open` came with this one.
const PIDFD: (u32, u32) = (5, 3);
/// `INET_DIAG_CGROUP_ID` came with this one.
const CGROUP_IDS: (u32, u32) = (5, 8);
/// Until here net_cls and net_prio took the place of a socket's cgroup v2.
const OLD_CONTROLLERS: (u32, u32) = (5, 15);

/// Judges a host. The worst comes first.
#[must_use]
pub fn judge(host: &Host, config: &Config) -> Findings {
    let mut findings = Vec::new();
    if config.is_observing() {
        findings.push(bad(
            Level::Danger,
            "NOTHING IS ENFORCED: compat.mode is \"observe\"",
            "what the rules refuse is given, as an earlier proxy gave it, if the role is one of compat.observed_roles",
            &["write rules for what the audit log calls observed, and then compat.mode = \"enforce\""],
        ));
    }
    judge_kernel(host, config.attestation.level, &mut findings);
    judge_rules(host, config, &mut findings);
    judge_engine(host, config, &mut findings);
    judge_containers(host, config, &mut findings);
    judge_managers(host, config, &mut findings);
    findings.push(unseen());
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Findings(findings)
}

fn ok(what: impl Into<String>) -> Finding {
    Finding {
        level: Level::Ok,
        what: what.into(),
        advice: None,
    }
}

fn bad(level: Level, what: impl Into<String>, why: &str, fix: &[&str]) -> Finding {
    Finding {
        level,
        what: what.into(),
        advice: Some(Advice {
            why: why.to_owned(),
            fix: fix.iter().map(|line| (*line).to_owned()).collect(),
        }),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn judge_kernel(host: &Host, level: AttestationLevel, findings: &mut Vec<Finding>) {
    match level {
        AttestationLevel::Cgroup => judge_cgroups(host, findings),
        AttestationLevel::Netns => judge_namespaces(host, findings),
    }
}

fn is_at_least(host: &Host, wanted: (u32, u32)) -> bool {
    version(&host.kernel).is_some_and(|version| version >= wanted)
}

fn are_old_controllers_in_the_way(host: &Host) -> bool {
    !host.old_controllers.is_empty() && !is_at_least(host, OLD_CONTROLLERS)
}

/// What stands in the way of the kernel's naming cgroups.
fn judge_cgroups(host: &Host, findings: &mut Vec<Finding>) {
    let release = show(&host.kernel);
    let is_servable = is_at_least(host, PIDFD) && (host.has_cgroup2 || host.has_cgroup1);
    let weaker = is_servable.then_some("or write attestation.level = \"netns\"; `check` says what that gives up");
    let mut danger = |what: String, why: &str, fix: &str| {
        let fixes: Vec<&str> = [fix].into_iter().chain(weaker).collect();
        findings.push(bad(Level::Danger, what, why, &fixes));
    };
    let is_new = is_at_least(host, CGROUP_IDS);
    if !is_new {
        danger(
            format!("kernel {release}"),
            "only Linux 5.8 and later say which container opened a connection",
            "run a newer kernel; the proxy refuses to start until then",
        );
    }
    if !host.has_cgroup2 {
        danger(
            "no cgroup v2 hierarchy is mounted".to_owned(),
            "the kernel then cannot say which container opened a connection",
            "boot with systemd.unified_cgroup_hierarchy=1",
        );
    }
    if are_old_controllers_in_the_way(host) {
        danger(
            format!("cgroup v1 controllers in use: {}", host.old_controllers.join(", ")),
            "below Linux 5.15 a socket that one of them has touched loses its cgroup v2 id",
            "unmount them, boot with cgroup_no_v1=net_cls,net_prio, or run a newer kernel",
        );
    }
    if is_new {
        findings.push(ok(format!("kernel {release}")));
    }
    if host.has_cgroup2 {
        findings.push(ok("cgroup v2 is mounted"));
    }
}

/// What stands in the way of the weaker level, and that it is weaker.
fn judge_namespaces(host: &Host, findings: &mut Vec<Finding>) {
    let release = show(&host.kernel);
    if is_at_least(host, PIDFD) {
        findings.push(ok(format!("kernel {release}")));
    } else {
        findings.push(bad(
            Level::Danger,
            format!("kernel {release}"),
            "only Linux 5.3 and later hold a process so that its number cannot come to mean another one",
            &["run a newer kernel; the proxy attests nobody until then"],
        ));
    }
    if host.has_cgroup2 || host.has_cgroup1 {
        findings.push(ok("a cgroup hierarchy is mounted that shows whose a process is"));
    } else {
        findings.push(bad(
            Level::Danger,
            "no cgroup hierarchy is mounted",
            "nothing then shows which processes are a container's",
            &["boot with systemd.unified_cgroup_hierarchy=1"],
        ));
    }
    let can_do_better = is_at_least(host, CGROUP_IDS) && host.has_cgroup2 && !are_old_controllers_in_the_way(host);
    findings.push(bad(
        Level::Note,
        "attestation.level is \"netns\"",
        "a connection is taken to be its network namespace's only container's: nothing says which process opened it, and containers that \
         share a network namespace are all refused",
        &[if can_do_better {
            "remove it: as far as can be seen from here, this host can do with the default"
        } else {
            "run Linux 5.8 or newer with cgroup v2, and remove it then"
        }],
    ));
}

fn judge_rules(host: &Host, config: &Config, findings: &mut Vec<Finding>) {
    match &host.rules {
        Ok(differences) if differences.is_empty() => findings.push(ok("every firewall and routing rule is in place")),
        Ok(differences) => findings.push(bad(
            Level::Danger,
            format!("the firewall is not as planned: {}", differences.join("; ")),
            "jobs may reach the real endpoint, and with it the instance's own role",
            &["metadata-proxy firewall apply --config FILE"],
        )),
        Err(why) => findings.push(bad(
            Level::Danger,
            format!("the firewall cannot be verified: {}", show(why)),
            "nothing says that jobs are kept from the real endpoint",
            &["run this as root, with nft and ip installed"],
        )),
    }
    if config.firewall.host == HostAccess::Open {
        findings.push(bad(
            Level::Note,
            "firewall.host is \"open\"",
            "containers in the host's network, and those of rootless engines, reach the real endpoint",
            &["write firewall.host = \"closed\", and name in host_cgroups who needs it"],
        ));
    }
}

/// What reaches the endpoint only past the host's own rules.
fn through_output(config: &Config) -> (Level, &'static str) {
    match config.firewall.host {
        HostAccess::Open => (
            Level::Danger,
            "what leaves through the host itself meets no redirect, and firewall.host is \"open\": it gets the instance's own role",
        ),
        HostAccess::Closed { .. } => (
            Level::Note,
            "what leaves through the host itself meets no redirect; firewall.host = \"closed\" rejects it, so that it gets nothing",
        ),
    }
}

fn judge_engine(host: &Host, config: &Config, findings: &mut Vec<Finding>) {
    if host.is_socket_open {
        findings.push(bad(
            Level::Danger,
            format!("everybody on this host may open {}", config.engine.socket),
            "whoever does makes containers with any label",
            &["chmod 0660 the socket"],
        ));
    }
    for engine in &host.engines {
        let (level, why) = through_output(config);
        findings.push(bad(
            level,
            format!("another engine: {}", show(engine)),
            why,
            &["stop it, or run jobs with the configured engine only: the proxy serves no other"],
        ));
    }
}

fn judge_containers(host: &Host, config: &Config, findings: &mut Vec<Finding>) {
    let containers = match &host.containers {
        Ok(containers) => containers,
        Err(why) => {
            findings.push(bad(
                Level::Danger,
                format!("the engine cannot be asked: {}", show(why)),
                "the proxy attests nobody without it",
                &["start the engine, and see that engine.socket is its socket"],
            ));
            return;
        }
    };
    let before = findings.len();
    let others = containers
        .iter()
        .filter(|one| Some(&one.id) != host.own_container.as_ref());
    for container in others.clone() {
        judge_container(container, config, findings);
    }
    let stranger = |driver: &str| matches!(driver, "macvlan" | "ipvlan");
    for network in host.networks.iter().filter(|network| stranger(&network.driver)) {
        let inhabited = others.clone().any(|container| container.networks.contains(&network.id));
        if inhabited {
            findings.push(bad(
                Level::Danger,
                format!("containers on network {} of driver {}", show(&network.name), show(&network.driver)),
                "they are on the host's own link, past every rule on the host: they reach the endpoint as the instance does",
                &["put jobs on bridge networks; a hop limit of 1 does not stop these"],
            ));
        }
    }
    if findings.len() == before {
        findings.push(ok(format!(
            "nothing odd about the containers that run: {}",
            containers.len()
        )));
    }
}

fn judge_container(container: &Setting, config: &Config, findings: &mut Vec<Finding>) {
    // What the operator trusts with the host is his to know; a job must not have it.
    let (who, level) = match &container.job {
        Some(_) => ("a job's container", Level::Danger),
        None => ("container", Level::Note),
    };
    let name = show(&container.name);
    if container.is_privileged {
        findings.push(bad(
            level,
            format!("{who} {name} is privileged"),
            "it can take the host, and every role with it",
            &["privileged = false in the runner's config.toml, or machines of their own for such jobs"],
        ));
    }
    if let Some(socket) = container.mounts.iter().find(|mount| is_engine(mount)) {
        findings.push(bad(
            level,
            format!("{who} {name} has {} of the host", show(socket)),
            "an engine's socket makes containers with any label, so that rules mean nothing",
            &["remove the volume from the runner's config.toml"],
        ));
    }
    if let Some(cgroup) = container
        .mounts
        .iter()
        .find(|mount| mount.starts_with("/sys/fs/cgroup") || *mount == "/sys")
    {
        findings.push(bad(
            level,
            format!("{who} {name} has {} of the host", show(cgroup)),
            "it can move processes to another container's cgroup, and be taken for it",
            &["remove the volume; a container has a cgroup file system of its own"],
        ));
    }
    if container.shares_processes {
        findings.push(bad(
            level,
            format!("{who} {name} sees the host's processes"),
            "with rights over them it enters other containers, and asks from there",
            &["remove pid = \"host\""],
        ));
    }
    if container.network_mode == "host" {
        let (level, why) = through_output(config);
        findings.push(bad(
            level,
            format!("{who} {name} is in the host's network"),
            why,
            &["remove network_mode = \"host\""],
        ));
    }
}

fn is_engine(mount: &str) -> bool {
    let is_socket =
        mount.ends_with("docker.sock") || mount.ends_with("podman.sock") || mount.ends_with("containerd.sock");
    is_socket
        || matches!(
            mount,
            "/" | "/run" | "/var/run" | "/var" | "/run/containerd" | "/run/podman"
        )
}

fn judge_managers(host: &Host, config: &Config, findings: &mut Vec<Finding>) {
    let port = config.listen.port;
    let why = "a job's request arrives at the proxy's port after the redirect, and what drops it there leaves jobs without credentials; who \
               connects to the port without the redirect is dropped by the proxy's own rules";
    for manager in &host.managers {
        let (name, fix) = match manager {
            Manager::Firewalld => (
                "firewalld is active",
                vec![
                    format!("firewall-cmd --permanent --zone=docker --add-port={port}/tcp && firewall-cmd --reload"),
                    "the same for the zone of any other bridge; then metadata-proxy firewall verify".to_owned(),
                ],
            ),
            Manager::Ufw => (
                "ufw is active",
                vec![
                    format!("ufw allow proto tcp from 172.16.0.0/12 to any port {port}"),
                    "the same for every other range of the engine's networks".to_owned(),
                ],
            ),
        };
        let fix: Vec<&str> = fix.iter().map(String::as_str).collect();
        findings.push(bad(Level::Note, name, why, &fix));
    }
    if !host.legacy_tables.is_empty() {
        findings.push(bad(
            Level::Note,
            format!("iptables-legacy has tables: {}", host.legacy_tables.join(", ")),
            "both backends see every packet, and what one drops the other cannot save; its rules do not show in nft",
            &["iptables-legacy-save shows them; move them to nftables, and let the engine use iptables-nft"],
        ));
    }
}

/// What only AWS can say.
fn unseen() -> Finding {
    bad(
        Level::Note,
        "the hop limit, IMDSv2 and the instance profile are not looked at: that would take a request to the real endpoint",
        "a hop limit of 2 lets containers on a bridge reach the endpoint whenever the rules are missing; a rich profile makes that worth it",
        &[
            "aws ec2 modify-instance-metadata-options --instance-id ID --http-tokens required --http-put-response-hop-limit 1",
            "give the instance profile sts:AssumeRole on the jobs' roles, and nothing else",
        ],
    )
}
