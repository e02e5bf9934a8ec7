//! Network interfaces of an instance: which is which, and which one leads to a container.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use crate::{Capture, CaptureError, Instance, Place, ambient, capture, namespace::NamespaceError};

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
        // The container's own /sys shows its network namespace, and reading it takes no process: a run asks this for each of its containers.
        let first = PathBuf::from(format!("/proc/{}", self.first_process()));
        let container = first.join(format!("root/proc/{process}"));
        let gone = |source| LinkError::NoProcess { process, source };
        // In the host's own network every other container's wire would look like this one's.
        let network = |process: &Path| fs::metadata(process.join("ns/net")).map(|network| network.ino());
        if network(&container).map_err(gone)? == network(&first).map_err(gone)? {
            return Ok(Vec::new());
        }
        let mut ends = Vec::new();
        for interface in fs::read_dir(container.join("root/sys/class/net")).map_err(gone)? {
            let path = interface.map_err(gone)?.path();
            let (own, other) = (index(&path.join("ifindex")), index(&path.join("iflink")));
            // An interface that ends nowhere else names itself.
            if let (Ok(own), Ok(other)) = (own, other)
                && own != other
            {
                ends.push(other);
            }
        }
        Ok(ends)
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
}

/// The number in one of sysfs's files.
fn index(file: &Path) -> io::Result<u32> {
    fs::read_to_string(file)?.trim().parse().map_err(io::Error::other)
}

/// Interfaces in the network namespace of the calling thread.
fn list() -> Result<Vec<Link>, LinkError> {
    let output = ambient::command(Path::new("ip"))
        .args(["-j", "link", "show"])
        .output()
        .map_err(LinkError::Listing)?;
    serde_json::from_slice(&output.stdout).map_err(|error| LinkError::Listing(error.into()))
}
