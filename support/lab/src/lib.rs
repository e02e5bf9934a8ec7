//! An instance in a box: a host with its own Docker engine, routes and firewall, and an upstream network beside it, made of namespaces.
//!
//! Responsible for making instances, running programs in them, watching their wires and removing every trace of them. It must not know what
//! those programs are or which addresses mean what: the caller names the addresses that the upstream side owns.

mod ambient;
mod cgroup;
mod cradle;
mod engine;
mod instance;
mod lab;
mod namespace;
mod output;
pub mod plan;
mod process;
mod run;
mod state;

pub use cgroup::CgroupError;
pub use cradle::CradleError;
pub use engine::{EngineError, EngineState};
pub use instance::{Instance, InstanceError, InstanceSpec};
pub use lab::{DEFAULT_STATE_ROOT, Lab, LabError, LabOptions};
pub use namespace::{NamespaceError, NamespaceIds, Place};
pub use process::{Input, Output, Process, ProcessError, Program, Stopped};
pub use run::{RunId, RunIdError};
pub use state::{StateError, Swept};
