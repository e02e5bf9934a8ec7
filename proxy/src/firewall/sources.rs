//! The filter on bridges: an address that belongs to one container is used from that container's ports only (rule A10). It knows ports and
//! addresses. What belongs to nobody here passes, so that a container that is not known yet has its network at once.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::programs::{FirewallError, NFT};

/// The table's name, in the family `bridge`.
const TABLE: &str = "metadata_proxy";

/// One container's ports, and what may come from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Indices of devices on the host.
    pub ports: BTreeSet<u32>,
    /// MAC addresses.
    pub macs: BTreeSet<[u8; 6]>,
    /// Addresses of either version.
    pub addresses: BTreeSet<IpAddr>,
}

/// What belongs to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The containers.
    pub owners: BTreeSet<Owner>,
    /// Addresses of the host itself: no port may use them.
    pub gateways: BTreeSet<IpAddr>,
}

impl Sources {
    /// One transaction that replaces the table. Everything in it lapses after some seconds: without a proxy there are no answers to guard, and
    /// the addresses of containers that are gone belong to others. What names an owner lives longer than what is guarded, so that nothing
    /// is ever dropped for want of an owner.
    fn transaction(&self) -> String {
        let mut sets: [(&str, &str, u32, BTreeSet<String>); 8] = [
            ("macs", "type ether_addr", 15, BTreeSet::new()),
            ("v4", "type ipv4_addr", 15, BTreeSet::new()),
            ("v6", "type ipv6_addr", 15, BTreeSet::new()),
            ("targets", "typeof @th,64,128", 15, BTreeSet::new()),
            ("mac_ports", "type iface_index . ether_addr", 30, BTreeSet::new()),
            ("v4_ports", "type iface_index . ipv4_addr", 30, BTreeSet::new()),
            ("v6_ports", "type iface_index . ipv6_addr", 30, BTreeSet::new()),
            ("target_ports", "typeof iif . @th,64,128", 30, BTreeSet::new()),
        ];
        let nobody = Owner {
            addresses: self.gateways.clone(),
            ..Owner::default()
        };
        for owner in self.owners.iter().chain([&nobody]) {
            let mut add = |guarded: usize, text: String| {
                if let Some((_, _, _, elements)) = sets.get_mut(guarded + 4) {
                    elements.extend(owner.ports.iter().map(|port| format!("{port} . {text}")));
                }
                if let Some((_, _, _, elements)) = sets.get_mut(guarded) {
                    elements.insert(text);
                }
            };
            for [a, b, c, d, e, f] in &owner.macs {
                add(0, format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"));
            }
            for address in &owner.addresses {
                match address {
                    IpAddr::V4(address) => add(1, address.to_string()),
                    IpAddr::V6(address) => {
                        add(2, address.to_string());
                        add(3, format!("0x{:032x}", u128::from(*address)));
                    }
                }
            }
        }
        let mut text = format!("table bridge {TABLE}\ndelete table bridge {TABLE}\ntable bridge {TABLE} {{\n");
        for (name, kind, seconds, elements) in sets {
            let _infallible = write!(text, "set {name} {{ {kind}; flags timeout; timeout {seconds}s; ");
            if !elements.is_empty() {
                let elements: Vec<String> = elements.into_iter().collect();
                let _infallible = write!(text, "elements = {{ {} }}; ", elements.join(", "));
            }
            text.push_str("}\n");
        }
        text.push_str(RULES);
        text
    }
}

/// Before the bridge learns who is where (bridge prerouting comes before that). Routers live on the host, not on its ports.
const RULES: &str = "\
chain sources {
type filter hook prerouting priority -300; policy accept;
ether saddr @macs iif . ether saddr != @mac_ports drop
arp saddr ether @macs iif . arp saddr ether != @mac_ports drop
arp saddr ip @v4 iif . arp saddr ip != @v4_ports drop
ip saddr @v4 iif . ip saddr != @v4_ports drop
ip6 saddr @v6 iif . ip6 saddr != @v6_ports drop
icmpv6 type { nd-router-advert, nd-redirect } drop
icmpv6 type nd-neighbor-advert @th,64,128 @targets iif . @th,64,128 != @target_ports drop
}
}
";

/// Puts the filter in place, instead of the one before.
///
/// # Errors
/// `nft` is missing or refuses.
pub async fn filter_sources(sources: &Sources) -> Result<(), FirewallError> {
    NFT.run(&["-f".to_owned(), "-".to_owned()], &sources.transaction())
        .await
        .map(drop)
}

/// Removes the filter.
///
/// # Errors
/// `nft` is missing or refuses.
pub async fn remove_sources() -> Result<(), FirewallError> {
    let transaction = format!("table bridge {TABLE}\ndelete table bridge {TABLE}\n");
    NFT.run(&["-f".to_owned(), "-".to_owned()], &transaction)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_bound_to_its_owners_ports_and_a_gateways_to_none() {
        let sources = Sources {
            owners: [Owner {
                ports: [5, 6].into(),
                macs: [[2, 0x42, 0xac, 0x11, 0, 2]].into(),
                addresses: ["172.17.0.2".parse().unwrap(), "fd17::2".parse().unwrap()].into(),
            }]
            .into(),
            gateways: ["172.17.0.1".parse().unwrap()].into(),
        };
        insta::assert_snapshot!(sources.transaction(), @r"
        table bridge metadata_proxy
        delete table bridge metadata_proxy
        table bridge metadata_proxy {
        set macs { type ether_addr; flags timeout; timeout 15s; elements = { 02:42:ac:11:00:02 }; }
        set v4 { type ipv4_addr; flags timeout; timeout 15s; elements = { 172.17.0.1, 172.17.0.2 }; }
        set v6 { type ipv6_addr; flags timeout; timeout 15s; elements = { fd17::2 }; }
        set targets { typeof @th,64,128; flags timeout; timeout 15s; elements = { 0xfd170000000000000000000000000002 }; }
        set mac_ports { type iface_index . ether_addr; flags timeout; timeout 30s; elements = { 5 . 02:42:ac:11:00:02, 6 . 02:42:ac:11:00:02 }; }
        set v4_ports { type iface_index . ipv4_addr; flags timeout; timeout 30s; elements = { 5 . 172.17.0.2, 6 . 172.17.0.2 }; }
        set v6_ports { type iface_index . ipv6_addr; flags timeout; timeout 30s; elements = { 5 . fd17::2, 6 . fd17::2 }; }
        set target_ports { typeof iif . @th,64,128; flags timeout; timeout 30s; elements = { 5 . 0xfd170000000000000000000000000002, 6 . 0xfd170000000000000000000000000002 }; }
        chain sources {
        type filter hook prerouting priority -300; policy accept;
        ether saddr @macs iif . ether saddr != @mac_ports drop
        arp saddr ether @macs iif . arp saddr ether != @mac_ports drop
        arp saddr ip @v4 iif . arp saddr ip != @v4_ports drop
        ip saddr @v4 iif . ip saddr != @v4_ports drop
        ip6 saddr @v6 iif . ip6 saddr != @v6_ports drop
        icmpv6 type { nd-router-advert, nd-redirect } drop
        icmpv6 type nd-neighbor-advert @th,64,128 @targets iif . @th,64,128 != @target_ports drop
        }
        }
        ");
    }
}
