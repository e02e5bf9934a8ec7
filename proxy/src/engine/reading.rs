//! The engine's answers, reduced to what attestation and policy need. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use bollard::models::{
    ContainerInspectResponse, ContainerSummary, EndpointSettings, ImageInspect, Network, NetworkInspect,
};

/// One container, as the engine describes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Full id.
    pub id: String,
    /// The number of its first process; 0 if it does not run.
    pub pid: i32,
    /// Whether it runs.
    pub is_running: bool,
    /// `State.StartedAt`, as written.
    pub started_at: String,
    /// `Config.Labels`.
    pub labels: BTreeMap<String, String>,
    /// `Config.Env`, in order.
    pub env: Vec<String>,
    /// `Image`: the id of the image it was made from.
    pub image_id: String,
    /// Its addresses in all networks.
    pub addresses: Vec<IpAddr>,
    /// What each of its networks gave it.
    pub endpoints: Vec<Endpoint>,
}

/// Without the environment: it holds the job's secrets.
impl fmt::Debug for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected")
            .field("id", &self.id)
            .field("pid", &self.pid)
            .field("is_running", &self.is_running)
            .field("started_at", &self.started_at)
            .field("labels", &self.labels)
            .field("image_id", &self.image_id)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// What one network gave a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its MAC address.
    pub mac: Option<[u8; 6]>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The host's addresses in that network.
    pub gateways: Vec<IpAddr>,
}

impl Endpoint {
    fn read(settings: EndpointSettings) -> Self {
        let parse = |written: [Option<String>; 2]| written.into_iter().flatten().filter_map(|text| text.parse().ok());
        Self {
            mac: settings.mac_address.as_deref().and_then(parse_mac),
            addresses: parse([settings.ip_address, settings.global_ipv6_address]).collect(),
            gateways: parse([settings.gateway, settings.ipv6_gateway]).collect(),
        }
    }
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

impl Inspected {
    /// None if the answer lacks what no running container lacks.
    #[must_use]
    pub fn read(answer: ContainerInspectResponse) -> Option<Self> {
        let state = answer.state?;
        let config = answer.config?;
        let networks = answer
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let mut endpoints: Vec<Endpoint> = networks.into_values().map(Endpoint::read).collect();
        // The engine lists them in no order.
        endpoints.sort();
        Some(Self {
            id: answer.id?,
            pid: i32::try_from(state.pid.unwrap_or(0)).ok()?,
            is_running: state.running?,
            started_at: state.started_at?,
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            env: config.env.unwrap_or_default(),
            image_id: answer.image?,
            addresses: endpoints
                .iter()
                .flat_map(|endpoint| endpoint.addresses.clone())
                .collect(),
            endpoints,
        })
    }

    /// Whether both describe the same run of the same container.
    #[must_use]
    pub fn is_same_run(&self, other: &Self) -> bool {
        self.id == other.id && self.pid == other.pid && self.started_at == other.started_at && other.is_running
    }
}

/// One image, as the engine describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// `Config.Env`.
    pub env: Vec<String>,
    /// `Config.Labels`.
    pub labels: BTreeMap<String, String>,
    /// `RepoDigests`.
    pub repo_digests: Vec<String>,
}

impl Image {
    /// Reads the engine's answer.
    #[must_use]
    pub fn read(answer: ImageInspect) -> Self {
        let config = answer.config.unwrap_or_default();
        Self {
            env: config.env.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            repo_digests: answer.repo_digests.unwrap_or_default(),
        }
    }
}

/// One line of the list of running containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Full id.
    pub id: String,
    /// Whether it uses another container's network.
    pub shares_network: bool,
}

impl Listed {
    /// Reads one line of the engine's answer.
    #[must_use]
    pub fn read(answer: ContainerSummary) -> Option<Self> {
        let mode = answer.host_config.and_then(|config| config.network_mode);
        Some(Self {
            id: answer.id?,
            shares_network: mode.is_some_and(|mode| mode.starts_with("container:")),
        })
    }
}

/// Whether the address may belong to the network: it lies in one of its subnets, or the network does not tell them.
#[must_use]
pub(super) fn may_hold(network: &Network, address: IpAddr) -> bool {
    let configs = network
        .ipam
        .as_ref()
        .and_then(|ipam| ipam.config.as_deref())
        .unwrap_or_default();
    let mut subnets = configs.iter().filter_map(|config| config.subnet.as_deref()).peekable();
    subnets.peek().is_none() || subnets.any(|subnet| covers(subnet, address))
}

/// The ids of the containers to which the network gave the address.
#[must_use]
pub(super) fn owners(network: &NetworkInspect, address: IpAddr) -> Vec<String> {
    let containers = network.containers.iter().flatten();
    let has = |written: Option<&String>| {
        written
            .and_then(|text| text.split('/').next())
            .and_then(|text| text.parse::<IpAddr>().ok())
            == Some(address)
    };
    containers
        .filter(|(_, endpoint)| has(endpoint.ipv4_address.as_ref()) || has(endpoint.ipv6_address.as_ref()))
        .map(|(id, _)| id.clone())
        .collect()
}

/// Whether `subnet` (`address/prefix`) covers the address. A subnet that cannot be read covers everything: it costs one question more.
fn covers(subnet: &str, address: IpAddr) -> bool {
    let Some((network, prefix)) = subnet.split_once('/') else {
        return true;
    };
    let (Ok(network), Ok(prefix)) = (network.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return true;
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let differing = u32::from(network) ^ u32::from(address);
            prefix == 0
                || differing
                    .checked_shr(32_u32.saturating_sub(prefix))
                    .unwrap_or(differing)
                    == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let differing = u128::from(network) ^ u128::from(address);
            prefix == 0
                || differing
                    .checked_shr(128_u32.saturating_sub(prefix))
                    .unwrap_or(differing)
                    == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(value: &str) -> NetworkInspect {
        serde_json::from_str(value).unwrap()
    }

    #[test]
    fn a_network_names_the_owner_of_an_address_in_both_families() {
        let network = network(
            r#"{"Containers":{"aa":{"IPv4Address":"172.17.0.2/16","IPv6Address":"fd17::242:ac11:2/64"},
                "bb":{"IPv4Address":"172.17.0.22/16","IPv6Address":""}}}"#,
        );
        assert_eq!(owners(&network, "172.17.0.2".parse().unwrap()), ["aa"]);
        assert_eq!(owners(&network, "fd17::242:ac11:2".parse().unwrap()), ["aa"]);
        assert_eq!(owners(&network, "172.17.0.22".parse().unwrap()), ["bb"]);
        assert!(owners(&network, "172.17.0.3".parse().unwrap()).is_empty());
    }

    #[test]
    fn a_subnet_covers_its_own_addresses_only() {
        let covers = |subnet, address: &str| covers(subnet, address.parse().unwrap());
        assert!(covers("172.17.0.0/16", "172.17.255.1"));
        assert!(!covers("172.17.0.0/16", "172.18.0.1"));
        assert!(covers("fd17::/64", "fd17::1"));
        assert!(!covers("fd17::/64", "fd18::1"));
        assert!(!covers("fd17::/64", "172.17.0.1"));
        assert!(covers("0.0.0.0/0", "9.9.9.9"));
        assert!(covers("10.0.0.1/32", "10.0.0.1"));
        assert!(!covers("10.0.0.1/32", "10.0.0.2"));
    }

    #[test]
    fn an_inspection_without_a_state_is_no_inspection() {
        let answer = |text: &str| serde_json::from_str::<ContainerInspectResponse>(text).unwrap();
        assert_eq!(Inspected::read(answer(r#"{"Id":"aa","Config":{}}"#)), None);
        let whole = answer(
            r#"{"Id":"aa","Image":"sha256:1","State":{"Running":true,"Pid":7,"StartedAt":"2026-01-01T00:00:00.000000001Z"},
                "Config":{"Env":["B=1","A=2","B=3"],"Labels":{"x":"y"}},
                "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2","GlobalIPv6Address":""},
                "other":{"IPAddress":"","GlobalIPv6Address":"fd17::2"}}}}"#,
        );
        let mut read = Inspected::read(whole).unwrap();
        read.addresses.sort();
        assert_eq!(
            read.addresses,
            ["172.17.0.2".parse::<IpAddr>().unwrap(), "fd17::2".parse().unwrap()]
        );
        assert_eq!(read.env, ["B=1", "A=2", "B=3"]);
        assert_eq!(
            (read.pid, read.started_at.as_str()),
            (7, "2026-01-01T00:00:00.000000001Z")
        );
    }

    #[test]
    fn another_start_or_process_is_another_run() {
        let run = Inspected {
            id: "aa".into(),
            pid: 7,
            is_running: true,
            started_at: "t1".into(),
            labels: BTreeMap::new(),
            env: Vec::new(),
            image_id: String::new(),
            addresses: Vec::new(),
            endpoints: Vec::new(),
        };
        assert!(run.is_same_run(&run.clone()));
        assert!(!run.is_same_run(&Inspected { pid: 8, ..run.clone() }));
        assert!(!run.is_same_run(&Inspected {
            started_at: "t2".into(),
            ..run.clone()
        }));
        assert!(!run.is_same_run(&Inspected {
            is_running: false,
            ..run.clone()
        }));
    }

    proptest! {
        #[test]
        fn no_subnet_makes_the_reader_panic(subnet in "[0-9a-f:./]{0,20}", address in any::<u128>()) {
            let _ = covers(&subnet, IpAddr::from(address.to_be_bytes()));
        }
    }
}
