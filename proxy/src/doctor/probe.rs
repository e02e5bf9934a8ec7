//! Looks at the host: files of /proc and /sys, the engine, and nft by way of `firewall`. Sends no packet.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Host, Manager};
use crate::attest::cgroup::Hierarchy;
use crate::config;
use crate::engine::{Engine, EngineError, NetworkSetting, Setting};

/// Containers looked at; a host has room for fewer.
const CONTAINERS: usize = 2048;
/// Processes looked at, whatever /proc holds.
const PROCESSES: usize = 65_536;
/// A text of /proc or /etc that matters is shorter.
const TEXT: u64 = 256 * 1024;

/// Looks at everything. `configured` is the engine that jobs use, and `rules` how the live rules differ from the plan.
pub async fn probe(configured: &config::Engine, rules: Result<Vec<String>, String>) -> Host {
    let mounts = read("/proc/self/mountinfo");
    let (containers, networks) = match ask(configured).await {
        Ok((containers, networks)) => (Ok(containers), networks),
        Err(error) => (Err(error.to_string()), Vec::new()),
    };
    let names = processes();
    let path = configured.socket.strip_prefix("unix://").unwrap_or_default();
    Host {
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        has_cgroup2: Hierarchy::find(&mounts).is_some(),
        has_cgroup1: Hierarchy::find_old(&mounts).is_some(),
        old_controllers: old_controllers(&mounts),
        containers,
        networks,
        is_socket_open: fs::metadata(path).is_ok_and(|file| file.mode() & 0o002 != 0),
        engines: engines(&names, path),
        legacy_tables: ["ip", "ip6"].iter().flat_map(|family| legacy_tables(family)).collect(),
        managers: managers(&names),
        rules,
        own_container: own_container(&read("/proc/self/cgroup")),
    }
}

async fn ask(configured: &config::Engine) -> Result<(Vec<Setting>, Vec<NetworkSetting>), EngineError> {
    let engine = Engine::connect(&configured.socket, configured.tls.as_ref()).await?;
    Ok((engine.settings(CONTAINERS).await?, engine.networks().await?))
}

fn read(path: impl AsRef<Path>) -> String {
    use std::io::Read as _;
    let mut text = String::new();
    if let Ok(file) = fs::File::open(path) {
        // What cannot be read is as if it were not there.
        drop(file.take(TEXT).read_to_string(&mut text));
    }
    text
}

/// Controllers that are mounted and have a group below their root.
fn old_controllers(mounts: &str) -> Vec<&'static str> {
    let mounted = |name: &str| {
        mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - cgroup cgroup ")?;
            let has_it = after.split([' ', ',']).any(|option| option == name);
            has_it.then(|| before.split(' ').nth(4).map(str::to_owned)).flatten()
        })
    };
    let is_used = |place: String| {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        entries
            .take(PROCESSES)
            .any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    };
    let all = ["net_cls", "net_prio"].into_iter();
    all.filter(|name| mounted(name).is_some_and(is_used)).collect()
}

/// The names of the processes that run.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    numbers
        .take(PROCESSES)
        .map(|entry| read(entry.path().join("comm")).trim().to_owned())
        .collect()
}

/// Rootless engines and podman, by their processes and sockets.
fn engines(names: &[String], own_socket: &str) -> Vec<String> {
    let mut found = Vec::new();
    if names.iter().any(|name| name == "rootlesskit") {
        found.push("a rootless one (rootlesskit runs)".to_owned());
    }
    if names.iter().any(|name| name == "conmon") {
        found.push("podman (conmon runs)".to_owned());
    }
    let dockers = names.iter().filter(|name| *name == "dockerd").count();
    if dockers > 1 {
        found.push(format!("{dockers} processes called dockerd run"));
    }
    let users = fs::read_dir("/run/user")
        .into_iter()
        .flatten()
        .flatten()
        .take(CONTAINERS);
    let of_users = users.flat_map(|user| ["docker.sock", "podman/podman.sock"].map(|name| user.path().join(name)));
    let sockets = of_users.chain(["/run/podman/podman.sock".into()]);
    let sockets = sockets.filter(|socket| socket.exists() && socket != Path::new(own_socket));
    found.extend(sockets.map(|socket| format!("a socket at {}", socket.display())));
    found
}

fn legacy_tables(family: &str) -> Vec<String> {
    let names = read(format!("/proc/net/{family}_tables_names"));
    names.lines().map(|name| format!("{family} {name}")).collect()
}

fn managers(names: &[String]) -> Vec<Manager> {
    let mut found = Vec::new();
    if names.iter().any(|name| name == "firewalld") {
        found.push(Manager::Firewalld);
    }
    // ufw leaves no process behind.
    if read("/etc/ufw/ufw.conf")
        .lines()
        .any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))
    {
        found.push(Manager::Ufw);
    }
    found
}

/// The id of the container that this program runs in, as the path of its cgroup names it.
fn own_container(cgroup: &str) -> Option<String> {
    let words = cgroup.split(|c: char| !c.is_ascii_hexdigit());
    words.filter(|word| word.len() == 64).map(str::to_owned).next_back()
}

#[cfg(test)]
mod tests {
    use super::{engines, own_container};

    #[test]
    fn the_container_that_a_program_runs_in_is_named_by_its_cgroup() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(
            own_container(&format!("0::/system.slice/docker-{id}.scope\n")),
            Some(id.clone())
        );
        assert_eq!(
            own_container(&format!("12:memory:/docker/{id}\n0::/docker/{id}\n")),
            Some(id)
        );
        assert_eq!(own_container("0::/user.slice\n"), None);
    }

    #[test]
    fn engines_are_known_by_their_processes() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let count = |running: &[&str]| engines(&names(running), "/x").len();
        let none = count(&["dockerd", "containerd"]);
        assert_eq!(count(&["dockerd", "rootlesskit"]), none + 1);
        assert_eq!(count(&["dockerd", "dockerd"]), none + 1);
        assert_eq!(count(&["conmon"]), none + 1);
    }
}
