//! Which container's process opened a connection, proven by the kernel at this moment. It knows no role and no request: what it gives
//! to the rest is in `caller`.
//!
//! An address, an event or a listing tells where to look. What counts is the answer of `NETLINK_SOCK_DIAG` in the container's network
//! namespace (`sock_diag`), judged (`judge`), tied to the cgroup of a container that lives (`cgroup`, `process`, `run`). Where the kernel
//! names no cgroup, an operator may choose to do with the namespace (`level`).

mod accepted;
mod addresses;
pub mod cgroup;
pub(crate) mod conntrack;
mod index;
pub mod judge;
mod kernel;
mod level;
mod namespace;
mod netlink;
mod patience;
mod ports;
pub mod process;
pub(crate) mod readiness;
mod registry;
mod run;
pub mod sock_diag;
mod sources;
mod strangers;
mod survey;

pub use accepted::connection;
pub use kernel::{KernelAttestor, Pin, StartError};
pub use level::Unservable;
pub use survey::{Surveyed, network_of, own_network, survey};
