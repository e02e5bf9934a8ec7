//! One run of one container, held so that it cannot be mistaken: its first process, its own cgroup, its facts, and the sockets into
//! its network namespace while it lives.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use super::cgroup::{self, Hierarchy};
use super::namespace::{Entrance, Namespace};
use super::ports;
use super::process::Process;
use super::readiness;
use crate::caller::{Facts, Unattested};
use crate::engine::Endpoint;

/// Nested cgroups remembered for one run; beyond that they are searched for again.
const MOST_NESTED: usize = 256;

/// The kernel's view of a container's first process, taken while it was alive.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) process: Process,
    pub(crate) directory: PathBuf,
    pub(crate) cgroup_id: u64,
    pub(crate) ancestors: Vec<u64>,
    pub(crate) network: u64,
    /// Of cgroup v2 alone.
    events: Option<File>,
}

impl Body {
    /// Takes hold of the process that the engine named, and makes sure that it is in a cgroup of this container (rule A5), in the first
    /// hierarchy that says so.
    pub(crate) fn open(hierarchies: &[Hierarchy], container: &str, pid: i32) -> Result<Self, Unattested> {
        let gone = |_: io::Error| Unattested::Raced;
        let process = Process::open(pid).map_err(gone)?;
        let text = process.cgroup().map_err(gone)?;
        // None: the number was used again, by something that is not in this container; or the engine keeps no cgroups that we can see.
        let own = |hierarchy: &Hierarchy| hierarchy.directory(cgroup::own_path(hierarchy.path(&text)?, container)?);
        let found = hierarchies.iter().find_map(|one| Some((one, own(one)?)));
        let (hierarchy, directory) = found.ok_or(Unattested::NoCgroup)?;
        let events = if hierarchy.is_unified() {
            Some(File::open(directory.join("cgroup.events")).map_err(gone)?)
        } else {
            None
        };
        let cgroup_id = hierarchy.number(&directory).map_err(gone)?;
        let ancestors = cgroup::ancestors(hierarchy, &directory);
        let (_, network) = process.network().map_err(gone)?;
        Ok(Self {
            process,
            directory,
            cgroup_id,
            ancestors,
            network,
            events,
        })
    }

    /// Of a process that stands for a container's first, in the test's own namespace.
    #[cfg(test)]
    pub(crate) fn of(process: Process, cgroup_id: u64) -> Self {
        let (_, network) = process.network().unwrap();
        Self {
            process,
            directory: PathBuf::new(),
            cgroup_id,
            ancestors: Vec::new(),
            network,
            events: None,
        }
    }

    fn is_populated(&self) -> bool {
        // Without such a file the first process stands for all: the engine ends a container with it.
        let Some(events) = &self.events else { return true };
        let mut text = [0_u8; 64];
        // Fails with ENODEV once the directory is removed.
        let length = events.read_at(&mut text, 0).unwrap_or(0);
        cgroup::is_populated(text.get(..length).unwrap_or_default())
    }
}

/// A run that was proven once. Proof is asked for again at every use.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) facts: Arc<Facts>,
    body: Body,
    ended: CancellationToken,
    namespace: Mutex<Option<Arc<Namespace>>>,
    opening: tokio::sync::Mutex<()>,
    nested: Mutex<HashSet<u64>>,
    endpoints: Mutex<Vec<Endpoint>>,
    number: OnceLock<u32>,
}

impl Run {
    pub(crate) fn new(facts: Arc<Facts>, body: Body, endpoints: Vec<Endpoint>) -> Self {
        Self {
            facts,
            body,
            ended: CancellationToken::new(),
            namespace: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            nested: Mutex::default(),
            endpoints: Mutex::new(endpoints),
            number: OnceLock::new(),
        }
    }

    /// Cancelled when the run has ended.
    pub(crate) const fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// The container's first process.
    pub(crate) const fn process(&self) -> &Process {
        &self.body.process
    }

    pub(crate) const fn network(&self) -> u64 {
        self.body.network
    }

    /// What the engine gave it in each of its networks.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces what the engine gave it; says whether that is a change.
    pub(crate) fn set_endpoints(&self, endpoints: Vec<Endpoint>) -> bool {
        let mut current = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let is_change = *current != endpoints;
        *current = endpoints;
        is_change
    }

    /// The number that the host gives to its network namespace, once a device joins the two. Only for a thread in the host's.
    pub(crate) fn namespace_number(&self) -> Option<u32> {
        if let Some(number) = self.number.get() {
            return Some(*number);
        }
        let (namespace, inode) = self.body.process.network().ok()?;
        let number = ports::number(&namespace).ok()??;
        (inode == self.body.network).then(|| *self.number.get_or_init(|| number))
    }

    /// Whether the run lives at this moment (rule A2).
    pub(crate) fn check(&self) -> Result<(), Unattested> {
        if self.ended.is_cancelled() || !self.body.process.is_alive() || !self.body.is_populated() {
            return Err(Unattested::NotRunning);
        }
        Ok(())
    }

    /// The sockets into its network namespace, opened at the first use.
    pub(crate) async fn namespace(&self, entrance: &Entrance) -> Result<Arc<Namespace>, Unattested> {
        let known = || self.lock().clone();
        if let Some(namespace) = known() {
            return Ok(namespace);
        }
        // A new container's first connections come together: one of them opens, and the others find it.
        let _turn = self.opening.lock().await;
        if let Some(namespace) = known() {
            return Ok(namespace);
        }
        let (file, number) = self.body.process.network().map_err(|_| Unattested::NotRunning)?;
        if number != self.body.network {
            return Err(Unattested::Raced);
        }
        let opened = entrance.open(file, number).await.map_err(|_| Unattested::Raced)?;
        // Not kept for a run that ended meanwhile: nobody would drop it.
        let mut kept = self.lock();
        self.check()?;
        Ok(Arc::clone(kept.get_or_insert(opened)))
    }

    /// Drops the sockets, and ends what relies on the addresses of the namespace.
    pub(crate) fn forget_namespace(&self) {
        let namespace = self.lock().take();
        if let Some(namespace) = namespace {
            namespace.withdraw();
        }
    }

    /// The run is over: everything that is bound to it ends.
    pub(crate) fn end(&self) {
        self.ended.cancel();
        self.forget_namespace();
    }

    /// Whether a cgroup is one that the container made below its own. Reads directories: not for the usual path.
    pub(crate) fn contains(&self, cgroup_id: u64) -> bool {
        if self.nested().contains(&cgroup_id) {
            return true;
        }
        let found = cgroup::contains(&self.body.directory, cgroup_id);
        let mut nested = self.nested();
        if found && nested.len() < MOST_NESTED {
            nested.insert(cgroup_id);
        }
        found
    }

    /// Completes when the container's first process has ended.
    pub(crate) fn watch(&self) -> io::Result<impl Future<Output = ()> + use<>> {
        let pidfd = readiness::watch(self.body.process.as_fd().try_clone_to_owned()?)?;
        Ok(async move {
            let _ = pidfd.readable().await;
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Namespace>>> {
        self.namespace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nested(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.nested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
