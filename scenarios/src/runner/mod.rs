//! Containers as GitLab Runner's Docker executor makes them: the same names, labels, environment, networks and order of calls as version 19.4.
//!
//! `plan` turns a runner's configuration and a job into exact engine requests and is pure; `launch`, `running` and `cleanup` carry them out.
//! It must not know roles, proxies, fakes or verdicts. Where no other source is named, comments cite files of gitlab-runner 19.4.0.

mod bodies;
mod cleanup;
mod config;
mod environment;
mod expansion;
mod feature_flags;
mod job;
mod labels;
mod launch;
mod names;
mod network;
mod plan;
mod requests;
mod running;
mod volumes;

pub use cleanup::CleanupError;
pub use config::{ConfigError, ConfigFault, DockerConfig, RunnerConfig, RunnerService};
pub use job::{Job, Service, Variable};
pub use labels::PREFIX as LABEL_PREFIX;
pub use launch::{LaunchError, Setting, launch};
pub use network::{NetworkSpec, create_network, remove_network};
pub use plan::{Circumstances, HELPER_IMAGE, JobPlan, Placement, PlanError, ResolvedImage, plan};
pub use requests::{ContainerRequest, Kind, NetworkRequest, ServiceAddress, VolumeRequest};
pub use running::{Member, RunningError, RunningJob};

#[cfg(test)]
mod tests;
