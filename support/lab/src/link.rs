//! Network interfaces of an instance: which is which, and which one leads to a container.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    Capture, CaptureError, Instance, Place, ambient, capture,
    namespace::{NamespaceError, inside_network},
};

/// Why interfaces could not be listed.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The process has no network namespace: it is gone.
    #[error("process {process} of the instance has no network")]
    NoProcess {
        /// As the instance numbers it.
        process: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// `ip` failed.
    #[error("interfaces cannot be listed")]
    Listing(#[source] io::Error),
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Link {
    /// The kernel's index of it.
    #[serde(rename = "ifindex")]
    pub index: u32,
    /// Its name.
    #[serde(rename = "ifname")]
    pub name: String,
    /// Index of the other end, where that is in another namespace.
    #[serde(rename = "link_index")]
    pub peer: Option<u32>,
    /// The bridge it is a port of.
    pub master: Option<String>,
}

impl Instance {
    /// The interfaces of the host or of the upstream side.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn links(&self, place: Place) -> Result<Vec<Link>, LinkError> {
        self.namespace_handles().inside_network(place, list)?
    }

    /// The host's ends of the wires of a container: the indexes of its interfaces on the host. `process` is the container's first process as
    /// the engine states it. A container without a network of its own has none.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn interfaces_of(&self, process: u32) -> Result<Vec<u32>, LinkError> {
        let namespace = self.network_of(process)?;
        let links = inside_network(&namespace, list)??;
        Ok(links.into_iter().filter_map(|link| link.peer).collect())
    }

    /// Begins to capture every frame on every interface of the host.
    ///
    /// # Errors
    /// When the kernel gives no packet socket.
    pub fn capture(&self) -> Result<Capture, CaptureError> {
        let opened = self.namespace_handles().inside_network(Place::Host, capture::open);
        Capture::start(
            opened
                .map_err(io::Error::other)
                .and_then(|socket| socket)
                .map_err(CaptureError::Socket)?,
        )
    }

    /// The network namespace of a process that the engine numbers `process`, through the instance's own view of processes.
    fn network_of(&self, process: u32) -> Result<OwnedFd, LinkError> {
        let root = PathBuf::from(format!("/proc/{}/root", self.first_process()));
        let path = root.join(format!("proc/{process}/ns/net"));
        File::open(path)
            .map(OwnedFd::from)
            .map_err(|source| LinkError::NoProcess { process, source })
    }
}

/// Interfaces in the network namespace of the calling thread.
fn list() -> Result<Vec<Link>, LinkError> {
    let output = ambient::command(Path::new("ip"))
        .args(["-j", "link", "show"])
        .output()
        .map_err(LinkError::Listing)?;
    serde_json::from_slice(&output.stdout).map_err(|error| LinkError::Listing(error.into()))
}
