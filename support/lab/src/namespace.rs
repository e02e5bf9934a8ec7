//! The namespaces of an instance, and how a thread enters them.
//!
//! Responsible for entering on a thread made for that purpose, never on a runtime's worker, which would stay there. It must not know what
//! runs inside.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use nix::sched::{CloneFlags, setns, unshare};
use thiserror::Error;

/// Where in an instance a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// On the host: beside the engine, with the firewall and the routes that containers meet.
    Host,
    /// Behind the host's uplink, where the addresses that the caller named live. Same processes and files as the host, another network.
    Upstream,
}

/// Why the namespaces of an instance cannot be used.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// A namespace has no handle: its first process is gone.
    #[error("namespace {name} cannot be opened")]
    Open {
        /// As `/proc/PID/ns` names it.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused entry.
    #[error("namespace {name} cannot be entered")]
    Enter {
        /// As `/proc/PID/ns` names it.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// No thread could be had, or it panicked.
    #[error("no thread for the namespace")]
    Thread,
}

/// Handles of all namespaces of one instance. They keep the namespaces alive, so they are dropped with the instance.
#[derive(Debug)]
pub(crate) struct Namespaces {
    mount: OwnedFd,
    pid: OwnedFd,
    uts: OwnedFd,
    ipc: OwnedFd,
    host: OwnedFd,
    upstream: OwnedFd,
}

/// The namespaces of an instance, held so that the kernel gives their numbers to no others: how a test can tell that nobody is left in them.
#[derive(Debug, Default)]
pub struct HeldNamespaces(pub(crate) Vec<OwnedFd>);

impl HeldNamespaces {
    /// Holds those of a process as well.
    ///
    /// # Errors
    /// When it has ended.
    pub fn hold(&mut self, process: u32) -> io::Result<()> {
        for name in ["mnt", "pid", "net"] {
            let file = File::open(format!("/proc/{process}/ns/{name}"))?;
            self.0.push(file.into());
        }
        Ok(())
    }

    /// Whether none of them is one of the others.
    ///
    /// # Errors
    /// When the kernel does not say which they are.
    pub fn are_apart_from(&self, others: &Self) -> io::Result<bool> {
        let numbers = |held: &Self| -> io::Result<Vec<u64>> {
            held.0.iter().map(|fd| Ok(rustix::fs::fstat(fd)?.st_ino)).collect()
        };
        let others = numbers(others)?;
        Ok(numbers(self)?.iter().all(|number| !others.contains(number)))
    }
}

impl Namespaces {
    /// Opens the namespaces whose first process is `pid`, as this process numbers it.
    pub(crate) fn of(pid: u32, upstream: &Path) -> Result<Self, NamespaceError> {
        let open = |path: &Path, name: &str| {
            File::open(path)
                .map(OwnedFd::from)
                .map_err(|source| NamespaceError::Open {
                    name: name.to_owned(),
                    source,
                })
        };
        let own = |name: &str| open(Path::new(&format!("/proc/{pid}/ns/{name}")), name);
        let root = Path::new("/proc").join(pid.to_string()).join("root");
        let inside = upstream.strip_prefix("/").unwrap_or(upstream);
        Ok(Self {
            mount: own("mnt")?,
            pid: own("pid")?,
            uts: own("uts")?,
            ipc: own("ipc")?,
            host: own("net")?,
            upstream: open(&root.join(inside), "upstream")?,
        })
    }

    /// Runs `work` in the namespaces; processes that it starts are children of this process and live in the instance.
    pub(crate) fn inside<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        on_own_thread(|| {
            // A thread that shares its root directory with others may not change the mount namespace.
            unshare(CloneFlags::CLONE_FS).map_err(|errno| NamespaceError::Enter {
                name: "fs",
                source: errno.into(),
            })?;
            enter(&self.pid, CloneFlags::CLONE_NEWPID, "pid")?;
            enter(&self.uts, CloneFlags::CLONE_NEWUTS, "uts")?;
            enter(&self.ipc, CloneFlags::CLONE_NEWIPC, "ipc")?;
            enter(self.network(place), CloneFlags::CLONE_NEWNET, "net")?;
            enter(&self.mount, CloneFlags::CLONE_NEWNS, "mnt")?;
            Ok(work())
        })
    }

    /// Runs `work` in a network namespace of the instance only, with this process's files and processes.
    pub(crate) fn inside_network<T: Send>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NamespaceError> {
        inside_network(self.network(place), work)
    }

    /// Holds them beyond the end of the instance.
    pub(crate) fn held(&self) -> io::Result<HeldNamespaces> {
        let all = [&self.mount, &self.pid, &self.host, &self.upstream];
        all.into_iter()
            .map(OwnedFd::try_clone)
            .collect::<io::Result<_>>()
            .map(HeldNamespaces)
    }

    fn network(&self, place: Place) -> &OwnedFd {
        match place {
            Place::Host => &self.host,
            Place::Upstream => &self.upstream,
        }
    }
}

/// Runs `work` in any network namespace, on a thread of its own.
pub(crate) fn inside_network<T: Send>(network: &OwnedFd, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    on_own_thread(|| {
        enter(network, CloneFlags::CLONE_NEWNET, "net")?;
        Ok(work())
    })
}

/// Runs `work` on a thread that ends with it, so that whatever namespaces it enters are left behind.
pub(crate) fn on_own_thread<T: Send>(
    work: impl FnOnce() -> Result<T, NamespaceError> + Send,
) -> Result<T, NamespaceError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|_| NamespaceError::Thread)?
            .join()
            .map_err(|_| NamespaceError::Thread)?
    })
}

fn enter(namespace: impl AsFd, kind: CloneFlags, name: &'static str) -> Result<(), NamespaceError> {
    setns(namespace, kind).map_err(|errno| NamespaceError::Enter {
        name,
        source: errno.into(),
    })
}
