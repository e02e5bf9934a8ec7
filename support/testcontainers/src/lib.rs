//! The fakes as images for testcontainers, made here from the programs' own files: no registry, no base image.
//!
//! ```ignore
//! metadata_testcontainers::install(Path::new("target/debug")).await?;      // into the engine that testcontainers uses
//! let sts = FakeSts::default().with_network("bridge").start().await?;
//! let control = format!("http://{}:{CONTROL_PORT}", sts.get_bridge_ip_address().await?);
//! let imds = FakeImds::default().with_world(WORLD).with_sts_control(control).with_network("bridge").start().await?;
//! let endpoint = format!("http://{}:{DATA_PORT}", imds.get_bridge_ip_address().await?);
//! ```
//!
//! testcontainers takes its engine from `DOCKER_HOST` and keeps one client per process. A test that brings an engine of its own starts a child
//! process with that variable set; setting it in one's own process is not thread-safe.
//!
//! `get_bridge_ip_address` knows an address only on a network that was named, hence `with_network`; where ports are mapped,
//! `get_host_port_ipv4(DATA_PORT)` does as well.
//!
//! It must not know what the programs answer. The proxy is no image here: it attests callers by the kernel of its host and cannot do so from
//! inside a container.

mod ambient;
mod archive;
mod elf;
mod fake_imds;
mod fake_sts;
mod load;

pub use archive::{File, LocalImage};
pub use fake_imds::FakeImds;
pub use fake_sts::FakeSts;
pub use load::{ImageError, install};

/// Where a fake serves, inside its container.
pub const DATA_PORT: u16 = 80;

/// Where a fake is controlled, inside its container. Whatever reaches the container reaches it too, so keep what is under test off its network
/// where that matters.
pub const CONTROL_PORT: u16 = 1339;

/// The tag of every image of this version.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// A fake says this when it serves; its control listener is told last.
const READY: &str = "listening on http://0.0.0.0:1339";
