//! An instance in a box: a host with its own Docker engine, routes and firewall, and an upstream network beside it, made of namespaces.
//!
//! Responsible for making instances, running programs in them, watching their wires and removing every trace of them. It must not know what
//! those programs are or which addresses mean what: the caller names the addresses that the upstream side owns.

mod ambient;
mod capture;
mod cgroup;
mod cradle;
mod engine;
mod instance;
mod lab;
mod leftover;
mod link;
mod machine;
mod namespace;
mod output;
pub mod plan;
mod process;
mod program;
mod requirement;
mod rules;
mod run;
mod state;

pub use capture::{Capture, CaptureError, Conflict, Direction, Frame, Losses, Segment, Stream, reassemble};
pub use cgroup::CgroupError;
pub use cradle::CradleError;
pub use engine::{EngineError, EngineState};
pub use instance::{Instance, InstanceError, InstanceSpec};
pub use lab::{DEFAULT_STATE_ROOT, Lab, LabError, LabOptions};
pub use leftover::{Leftover, leftovers};
pub use link::{Link, LinkError};
pub use namespace::{HeldNamespaces, NamespaceError, Place};
pub use process::{Output, Process, ProcessError, Stopped};
pub use program::{Input, Program};
pub use requirement::{Feature, Lack, Machine, PROGRAMS, Requirements};
pub use rules::{RuleSnapshot, RulesError};
pub use run::{RunId, RunIdError};
pub use state::{StateError, Swept};
