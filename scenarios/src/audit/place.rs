//! Whom the audit talks to: every address is here, and a test puts its own in their place. Pure.

use std::fmt;
use std::net::Ipv4Addr;

/// The endpoint and what stands beside it.
pub(super) const ENDPOINT: &str = "169.254.169.254";
const ENDPOINT_V6: &str = "[fd00:ec2::254]";
/// The endpoint's IPv4 address behind the well-known prefix of NAT64 (RFC 6052).
const NAT64: &str = "[64:ff9b::a9fe:a9fe]";
pub(super) const CONTAINERS: &str = "169.254.170.2";
pub(super) const PODS: &str = "169.254.170.23";
pub(super) const PODS_V6: &str = "[fd00:ec2::23]";

/// Somebody to ask.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    /// The instance metadata service over IPv4.
    Endpoint,
    /// And over IPv6.
    EndpointV6,
    /// And through a translator from IPv6.
    Nat64,
    /// The endpoint for containers (ECS).
    Containers,
    /// The endpoint for pods (EKS).
    Pods,
    /// And over IPv6.
    PodsV6,
    /// A port of the default gateway, which is the host.
    Gateway(Ipv4Addr, u16),
    /// `HOST[:PORT]` that the job's own environment names.
    Named(String),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The environment is the job's: it may hold a password.
            Self::Named(_) => f.write_str("named"),
            Self::Endpoint
            | Self::EndpointV6
            | Self::Nat64
            | Self::Containers
            | Self::Pods
            | Self::PodsV6
            | Self::Gateway(..) => f.write_str(&self.authority()),
        }
    }
}

impl Place {
    /// What stands between `http://` and the path.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Endpoint => ENDPOINT.to_owned(),
            Self::EndpointV6 => ENDPOINT_V6.to_owned(),
            Self::Nat64 => NAT64.to_owned(),
            Self::Containers => CONTAINERS.to_owned(),
            Self::Pods => PODS.to_owned(),
            Self::PodsV6 => PODS_V6.to_owned(),
            Self::Gateway(address, port) => format!("{address}:{port}"),
            Self::Named(authority) => authority.clone(),
        }
    }
}

type Redirect = dyn Fn(&str) -> String + Send + Sync;

/// Where each address is to be found.
pub struct Places(Option<Box<Redirect>>);

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "redirected" } else { "as they are" })
    }
}

impl Places {
    /// The addresses as they are.
    pub const fn real() -> Self {
        Self(None)
    }

    /// Whatever is asked, another is asked instead: `elsewhere` gives `HOST:PORT` for every `HOST[:PORT]`.
    pub fn redirected(elsewhere: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(elsewhere)))
    }

    /// What to connect to.
    pub(super) fn find(&self, place: &Place) -> String {
        let authority = place.authority();
        match &self.0 {
            Some(elsewhere) => elsewhere(&authority),
            None => authority,
        }
    }
}
