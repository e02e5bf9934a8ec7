//! Who asks: the words that attestation and engine inspection give to policy. No socket, no engine, no AWS here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// One TCP connection as the proxy accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The peer's address and port, as accepted (a v4-mapped address is given as IPv4).
    pub client: SocketAddr,
    /// Where the client wanted to go (SO_ORIGINAL_DST): the endpoint, or the proxy's own address for a direct connection.
    pub original_destination: SocketAddr,
}

/// By what callers are told apart. Each level keeps every refusal of the weaker one before it; there is none by address alone, because a
/// request arrives before any event or list says who has its address (`attest`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// The connection's socket exists in the network namespace of one container, and no other container is in it.
    Netns,
    /// The kernel names the cgroup of the process that opened the connection.
    #[default]
    Cgroup,
}

impl Level {
    /// As the configuration, audit records and the metric have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Netns => "netns",
            Self::Cgroup => "cgroup",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One run of one container: what tokens, facts and caches are bound to. A restarted container is another run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    /// Full container id, 64 lowercase hex digits.
    pub container_id: String,
    /// `State.StartedAt`, exactly as the engine writes it.
    pub started_at: String,
    /// The cgroup v2 id (inode number of the container's own cgroup directory). Where the engine keeps none, which [`Level::Netns`] alone
    /// does with: that of its directory in a hierarchy of cgroup v1, with the highest bit set.
    pub cgroup_id: u64,
}

/// What the engine says of a run; only things that cannot change while it lives (rule A11).
#[derive(Clone, PartialEq, Eq)]
pub struct Facts {
    /// The run these facts belong to.
    pub run: Run,
    /// `Config.Labels`: the runner's, and whatever the image added.
    pub labels: BTreeMap<String, String>,
    /// `Config.Env`, entry by entry, in the engine's order, duplicates kept.
    pub env: Vec<String>,
    /// `Config.Env` of the image the container was made from.
    pub image_env: Vec<String>,
    /// `Config.Labels` of the image: labels of the container that equal these may not be the runner's.
    pub image_labels: BTreeMap<String, String>,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// The image's `RepoDigests` (`name@sha256:…`).
    pub repo_digests: Vec<String>,
}

/// Without the environment: it holds the job's secrets.
impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("run", &self.run)
            .field("labels", &self.labels)
            .field("image_labels", &self.image_labels)
            .field("image_id", &self.image_id)
            .field("repo_digests", &self.repo_digests)
            .finish_non_exhaustive()
    }
}

/// The runner's label that names a job with its server, project and number.
pub(crate) const JOB_URL: &str = "com.gitlab.gitlab-runner.job.url";

impl Facts {
    /// Whether both containers are of one job, which the runner's label tells with server, project and number.
    #[must_use]
    pub fn is_of_job_of(&self, other: &Self) -> bool {
        let job = |facts: &Self| facts.labels.get(JOB_URL).cloned();
        job(self).is_some_and(|own| job(other) == Some(own))
    }
}

/// Why a connection could not be tied to a container. `as_str` is the metric label and the audit reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unattested {
    /// The connection was made to the proxy itself, not to the endpoint.
    DirectConnection,
    /// No running container owns the peer's address now.
    UnknownAddress,
    /// The kernel knows no such socket in that container's network namespace.
    NoSuchSocket,
    /// The kernel's answer is a listening socket or another tuple (rule A1).
    NotEstablished,
    /// The socket has no owner any more: inode 0 (rule A2).
    Orphaned,
    /// The answer carries no usable cgroup id (rule A1).
    NoCgroup,
    /// The socket is not the one that was pinned when the connection was accepted (rule A3).
    AnotherSocket,
    /// The cgroup belongs to no container that the engine runs, or to one that has ended (rules A2, A5).
    NotRunning,
    /// Two containers hold a socket of these addresses and ports: neither is believed (overlapping networks).
    Ambiguous,
    /// The owning container's network namespace or pid changed while we looked (rule A5).
    Raced,
    /// A container of another job is in the same network namespace, and sees every answer (rule A10). With [`Level::Netns`]: any other
    /// container, since nothing tells the two apart.
    SharedNetwork,
    /// Others on the same bridge could take its address: no filter keeps them from it (rule A10).
    Unfiltered,
    /// The engine did not answer, or not in time.
    EngineUnavailable,
}

impl Unattested {
    /// A short fixed word for logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DirectConnection => "direct-connection",
            Self::UnknownAddress => "unknown-address",
            Self::NoSuchSocket => "no-such-socket",
            Self::NotEstablished => "not-established",
            Self::Orphaned => "orphaned",
            Self::NoCgroup => "no-cgroup",
            Self::AnotherSocket => "another-socket",
            Self::NotRunning => "not-running",
            Self::Ambiguous => "ambiguous",
            Self::Raced => "raced",
            Self::SharedNetwork => "shared-network",
            Self::Unfiltered => "unfiltered",
            Self::EngineUnavailable => "engine-unavailable",
        }
    }
}

impl fmt::Display for Unattested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Unattested {}

/// Ties connections to runs. The kernel's implementation is `attest::KernelAttestor`; tests use their own.
pub trait Attestor: Send + Sync + 'static {
    /// What was pinned at accept: enough to ask the kernel again about this very socket.
    type Pin: Send + Sync;

    /// Finds the run that opened the connection, and pins the socket.
    ///
    /// # Errors
    /// Every doubt is an [`Unattested`].
    fn attest(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<(Arc<Facts>, Self::Pin), Unattested>> + Send;

    /// Asks the kernel again: the same socket, alive, of the same running container. Called for every request and
    /// immediately before a secret is written (rules A3, A4). Takes microseconds and does not wait.
    ///
    /// # Errors
    /// Every doubt is an [`Unattested`].
    fn confirm(&self, pin: &Self::Pin) -> Result<(), Unattested>;

    /// Completes when the run behind the pin ends or loses its network: the connection must then be reset, not closed (rule A4).
    fn ended(&self, pin: &Self::Pin) -> impl Future<Output = ()> + Send;
}

#[cfg(test)]
mod tests {
    use crate::fixture::{facts, label};

    #[test]
    fn containers_are_of_one_job_if_the_runner_says_so() {
        let mut other = facts();
        assert!(facts().is_of_job_of(&other));
        label(&mut other, "job.url", "https://gitlab.example.com/g/p/-/jobs/303");
        assert!(!facts().is_of_job_of(&other));
        other.labels.clear();
        assert!(!facts().is_of_job_of(&other));
        assert!(!other.is_of_job_of(&other.clone()), "nobody says so of either");
    }
}
