//! The address plan of an instance. Every instance has the same one: they live in namespaces of their own and never meet.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The interface of the host that leads upstream.
pub const UPLINK: &str = "up0";
/// The interface of the upstream side that leads to the host.
pub const DOWNLINK: &str = "instance0";
/// The host's own IPv4 address: what its own programs appear as upstream.
pub const HOST_V4: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);
/// What forwarded traffic, that of containers, appears as upstream.
pub const FORWARDED_V4: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 3);
/// The upstream side's own IPv4 address.
pub const UPSTREAM_V4: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
/// The host's own IPv6 address.
pub const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// What forwarded IPv6 traffic appears as upstream.
pub const FORWARDED_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 3);
/// The upstream side's own IPv6 address.
pub const UPSTREAM_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// The gateway of the default bridge, with its prefix.
pub const DEFAULT_BRIDGE_V4: &str = "172.17.0.1/16";
/// The subnet of the default bridge where it has IPv6.
pub const DEFAULT_BRIDGE_V6: &str = "fd17::/64";
