//! What the kernel shows of a container at this moment, for the operator's tools: attestation itself proves it anew for each connection.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::level::hierarchies;
use super::process::Process;
use super::run::Body;
use crate::caller::{Level, Unattested};

/// What the kernel shows of a container's first process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// The container's own cgroup directory.
    pub directory: PathBuf,
    /// Its id.
    pub cgroup_id: u64,
    /// The number of its network namespace.
    pub network: u64,
}

/// Looks at the container's first process, as attestation does when it takes the container in.
///
/// # Errors
/// What keeps its connections from being attested.
pub fn survey(container: &str, pid: i32, level: Level) -> Result<Surveyed, Unattested> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|_| Unattested::NoCgroup)?;
    let body = Body::open(&hierarchies(&mounts, level), container, pid)?;
    Ok(Surveyed {
        directory: body.directory,
        cgroup_id: body.cgroup_id,
        network: body.network,
    })
}

/// The number of the network namespace of a process.
///
/// # Errors
/// It has ended, or may not be looked at.
pub fn network_of(pid: i32) -> io::Result<u64> {
    Process::open(pid)?.network().map(|(_, number)| number)
}

/// The number of our own network namespace: the host's, where the engine and the firewall are.
///
/// # Errors
/// There is no `/proc`.
pub fn own_network() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/net")?.ino())
}
