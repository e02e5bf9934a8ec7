//! Reads what surrounds the job's process: files of `/proc`, the SDKs' files, sockets. Reads and connects, writes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::surroundings::{Mount, OF_DISKS, Surroundings};

/// The most that is read of a file; the kernel's own are shorter.
const FILE_AT_MOST: u64 = 1 << 20;
/// Where engines and runtimes listen.
const ENGINES: [&str; 6] = [
    "run/docker.sock",
    "var/run/docker.sock",
    "run/containerd/containerd.sock",
    "run/podman/podman.sock",
    "run/crio/crio.sock",
    "run/buildkit/buildkitd.sock",
];
/// Where Kubernetes on AWS puts a pod's token.
const POD_TOKENS: [&str; 2] = [
    "var/run/secrets/eks.amazonaws.com/serviceaccount/token",
    "var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token",
];
/// What in the SDKs' files leads to credentials.
const SETTINGS: [&str; 8] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "credential_process",
    "credential_source",
    "role_arn",
    "web_identity_token_file",
    "sso_session",
];

/// Looks around, with this environment and this root of all paths.
pub fn look(environment: Vec<(String, String)>, root: &Path) -> Surroundings {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let text = |path: &str| read(&below(path)).unwrap_or_default();
    let named = |name: &str| environment.get(name).map(|path| below(path));
    let home = environment.get("HOME").map_or("/root", String::as_str);
    let in_home = |file: &str| below(home).join(".aws").join(file);
    let sdk_files = [
        named("AWS_SHARED_CREDENTIALS_FILE").unwrap_or_else(|| in_home("credentials")),
        named("AWS_CONFIG_FILE").unwrap_or_else(|| in_home("config")),
    ];
    let mut sdk_settings: Vec<String> = sdk_files
        .iter()
        .filter_map(read)
        .flat_map(|text| settings(&text))
        .collect();
    if ["cli/cache", "sso/cache"]
        .into_iter()
        .any(|cache| holds_something(&in_home(cache)))
    {
        sdk_settings.push("cached sessions".to_owned());
    }
    sdk_settings.sort();
    sdk_settings.dedup();
    let mounts = text("proc/self/mountinfo");
    Surroundings {
        engine_marks: below(".dockerenv").exists() || below("run/.containerenv").exists(),
        status: text("proc/self/status"),
        host_roots: roots(&mounts)
            .filter(|at| below(&format!("{at}/etc/passwd")).exists())
            .count(),
        mounts,
        user_map: text("proc/self/uid_map"),
        routes: text("proc/net/route"),
        unix_sockets: text("proc/net/unix"),
        second_process: text("proc/2/comm"),
        interfaces: entries(&below("sys/class/net")),
        sdk_settings,
        engine_sockets: ENGINES
            .iter()
            .filter(|path| listens(&below(path)))
            .map(|path| format!("/{path}"))
            .collect(),
        web_identity_token: named("AWS_WEB_IDENTITY_TOKEN_FILE")
            .is_some_and(|path| read(&path).is_some_and(|token| !token.is_empty())),
        pod_token: POD_TOKENS.iter().any(|path| below(path).exists()),
        authorization_file: named("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").and_then(|path| read(&path)),
        environment,
    }
}

/// Whether somebody listens there. Nothing is waited for: a listener with a full queue is one too.
fn listens(path: &Path) -> bool {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// A file's beginning as text. Pipes and devices are left alone: opening one may wait for ever.
fn read(path: &PathBuf) -> Option<String> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_AT_MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where the root of a disk's file system is mounted, but for this container's own. It may be a volume of its own; a whole system in it is the host's.
fn roots(mounts: &str) -> impl Iterator<Item = &str> {
    mounts
        .lines()
        .filter_map(Mount::read)
        .filter(|mount| mount.root == "/" && mount.at != "/" && OF_DISKS.contains(&mount.kind))
        .map(|mount| mount.at)
}

/// The names of what leads to credentials, never its values.
fn settings(text: &str) -> Vec<String> {
    let names = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim());
    names
        .filter(|name| SETTINGS.contains(name))
        .map(str::to_owned)
        .collect()
}

fn entries(directory: &Path) -> Vec<String> {
    let listed = std::fs::read_dir(directory).into_iter().flatten().take(1000);
    let mut names: Vec<String> = listed
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn holds_something(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_the_names_of_their_settings() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "home/u/.aws/credentials",
            "[default]\naws_access_key_id = ASIA\naws_secret_access_key=secret\n",
        );
        write(
            "home/u/.aws/config",
            "[profile x]\ncredential_source = Ec2InstanceMetadata\nregion = eu-central-1\n",
        );
        write("proc/self/status", "CapEff:\t00000000a80425fb\n");
        write("token", "t");
        write(".dockerenv", "");
        std::fs::create_dir_all(root.path().join("run")).unwrap();
        let _engine = std::os::unix::net::UnixListener::bind(root.path().join("run/docker.sock")).unwrap();
        let environment = [("HOME", "/home/u"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")];
        let environment = environment.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        let around = look(environment, root.path());
        assert_eq!(
            around.sdk_settings,
            ["aws_access_key_id", "aws_secret_access_key", "credential_source"]
        );
        assert_eq!(around.engine_sockets, ["/run/docker.sock"]);
        assert_eq!(around.capabilities(), 0xa804_25fb);
        assert!(around.web_identity_token && around.engine_marks && !around.pod_token);
    }

    #[test]
    fn an_empty_place_is_looked_at_without_complaint() {
        let root = tempfile::tempdir().unwrap();
        let around = look(Vec::new(), root.path());
        assert!(around.sdk_settings.is_empty() && around.mounts.is_empty() && around.gateway().is_none());
    }
}
