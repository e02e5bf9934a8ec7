//! The engine requests of one job, as values. Pure.

use std::net::IpAddr;

use bollard::models::{ContainerCreateBody, NetworkCreateRequest, VolumeCreateRequest};
use serde::Serialize;

/// What a container is for: the label `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Runs the author's script.
    Build,
    /// Runs the runner's own steps, and hooks of the author.
    Predefined,
    /// Runs beside the job.
    Service,
    /// Waits until a service's port answers.
    Wait,
    /// Opens a new cache volume to every user, before anything else runs.
    #[serde(rename = "cache-init")]
    CacheInit,
}

impl Kind {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Predefined => "predefined",
            Self::Service => "service",
            Self::Wait => "wait",
            Self::CacheInit => "cache-init",
        }
    }
}

/// `POST /containers/create?name=…`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerRequest {
    /// The container's name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// The names under which a job reaches it, for services.
    pub aliases: Vec<String>,
    /// The ports that its image exposes, for services.
    pub ports: Vec<u16>,
    /// The request's body.
    pub body: ContainerCreateBody,
}

/// `POST /networks/create`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkRequest {
    /// The network's name.
    pub name: String,
    /// The request's body.
    pub body: NetworkCreateRequest,
}

/// `POST /volumes/create`, and the container that runs to its end right after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VolumeRequest {
    /// The volume's name.
    pub name: String,
    /// Where the job's containers have it.
    pub destination: String,
    /// Whether it goes with the job.
    pub is_temporary: bool,
    /// The request's body.
    pub body: VolumeCreateRequest,
    /// The cache-init container.
    pub init: ContainerRequest,
}

/// A running service, as later containers must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    /// The container's name.
    pub name: String,
    /// The container's id.
    pub id: String,
    /// Its address on the job's network; none with `host` or `none`.
    pub ip: Option<IpAddr>,
    /// The names under which a job reaches it.
    pub aliases: Vec<String>,
    /// The ports that its image exposes.
    pub ports: Vec<u16>,
}

impl ServiceAddress {
    /// The first twelve digits of the id: the service's own host name.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}
