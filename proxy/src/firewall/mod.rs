//! What stands between jobs and the real endpoint: an nftables table of our own, which also redirects the endpoint to the proxy, and
//! policy routing behind it that survives `nft flush ruleset`. It knows addresses and ports, and no container.
//!
//! Nothing here is ever removed because the proxy stops: what is closed stays closed.

mod difference;
mod document;
mod host;
mod live;
mod programs;
mod routing;
mod rules;
mod sources;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

pub use difference::Difference;
pub use host::{HostPlan, close_host, open_host, verify_host};
pub use live::{apply, remove, verify};
pub use programs::FirewallError;
pub use rules::Rules;
pub use sources::{Owner, Sources, change_sources, filter_sources, remove_sources};

/// The endpoint's IPv4 address.
pub const ENDPOINT_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The endpoint's IPv6 address.
pub const ENDPOINT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// The endpoint's port.
pub const ENDPOINT_PORT: u16 = 80;
/// Where a job wants to go when it wants the endpoint.
pub const ENDPOINTS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(ENDPOINT_V4), ENDPOINT_PORT),
    SocketAddr::new(IpAddr::V6(ENDPOINT_V6), ENDPOINT_PORT),
];

/// Where SDKs look for the credentials of a container, as ECS gives them.
pub const CONTAINER_ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)), ENDPOINT_PORT);

/// Everything that is to be in place, for one listen port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    port: NonZeroU16,
    has_container_endpoint: bool,
}

impl Plan {
    /// Plans for a proxy that listens on this port.
    #[must_use]
    pub const fn new(port: NonZeroU16) -> Self {
        Self {
            port,
            has_container_endpoint: false,
        }
    }

    /// Has the proxy answer at [`CONTAINER_ENDPOINT`] too, or not. Else that address is closed like every other.
    #[must_use]
    pub const fn with_container_endpoint(mut self, is_answered: bool) -> Self {
        self.has_container_endpoint = is_answered;
        self
    }
}

impl fmt::Display for Plan {
    /// The document and the commands, exactly as they are applied.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in routing::rules() {
            writeln!(f, "ip {}", rule.command("add").join(" "))?;
        }
        writeln!(f, "nft -j -f - <<'END'")?;
        writeln!(f, "{{\"nftables\":[")?;
        let commands = document::commands(*self);
        for (index, command) in commands.iter().enumerate() {
            let comma = if index + 1 < commands.len() { "," } else { "" };
            writeln!(f, "{command}{comma}")?;
        }
        writeln!(f, "]}}")?;
        writeln!(f, "END")
    }
}

#[cfg(test)]
mod tests;
