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

/// The sets: name, type, and after how many seconds an element lapses. Everything lapses: without a proxy there are no answers to guard, and the
/// addresses of containers that are gone belong to others. What names an owner lives longer than what is guarded, so that nothing is ever
/// dropped for want of an owner.
const SETS: [(&str, &str, u32); 8] = [
    ("macs", "type ether_addr", 15),
    ("v4", "type ipv4_addr", 15),
    ("v6", "type ipv6_addr", 15),
    ("targets", "typeof @th,64,128", 15),
    ("mac_ports", "type iface_index . ether_addr", 30),
    ("v4_ports", "type iface_index . ipv4_addr", 30),
    ("v6_ports", "type iface_index . ipv6_addr", 30),
    ("target_ports", "typeof iif . @th,64,128", 30),
];
/// The first of those that name owners.
const PORTS: usize = 4;

/// What is in each of [`SETS`].
type Elements = [BTreeSet<String>; SETS.len()];

impl Sources {
    fn elements(&self) -> Elements {
        let mut sets = Elements::default();
        let nobody = Owner {
            addresses: self.gateways.clone(),
            ..Owner::default()
        };
        for owner in self.owners.iter().chain([&nobody]) {
            let mut add = |guarded: usize, text: String| {
                if let Some(elements) = sets.get_mut(guarded + PORTS) {
                    elements.extend(owner.ports.iter().map(|port| format!("{port} . {text}")));
                }
                if let Some(elements) = sets.get_mut(guarded) {
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
        sets
    }

    /// One transaction that replaces the table.
    fn whole(&self) -> String {
        let mut text = format!("table bridge {TABLE}\ndelete table bridge {TABLE}\ntable bridge {TABLE} {{\n");
        for ((name, kind, seconds), elements) in SETS.iter().zip(self.elements()) {
            let _infallible = write!(text, "set {name} {{ {kind}; flags timeout; timeout {seconds}s; ");
            if !elements.is_empty() {
                let _infallible = write!(text, "elements = {}; ", list(elements));
            }
            text.push_str("}\n");
        }
        text.push_str(RULES);
        text
    }

    /// One transaction that changes what `before` left in the table, so that a container's start costs no more where there are a thousand others.
    fn change(&self, before: &Self) -> String {
        let mut text = String::new();
        for (((name, ..), now), then) in SETS.iter().zip(self.elements()).zip(before.elements()) {
            for (verb, elements) in [("delete", &then - &now), ("add", &now - &then)] {
                if !elements.is_empty() {
                    let _infallible = writeln!(text, "{verb} element bridge {TABLE} {name} {}", list(elements));
                }
            }
        }
        text
    }
}

fn list(elements: BTreeSet<String>) -> String {
    let elements: Vec<String> = elements.into_iter().collect();
    format!("{{ {} }}", elements.join(", "))
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
    commit(&sources.whole()).await
}

/// Changes the filter that [`filter_sources`] put in place for `before`, or the last change of it. What stays in it lapses when it would have.
///
/// # Errors
/// `nft` is missing or refuses; so it does if something else changed the table. Nothing has changed then.
pub async fn change_sources(before: &Sources, sources: &Sources) -> Result<(), FirewallError> {
    let transaction = sources.change(before);
    if transaction.is_empty() {
        return Ok(());
    }
    commit(&transaction).await
}

/// Removes the filter.
///
/// # Errors
/// `nft` is missing or refuses.
pub async fn remove_sources() -> Result<(), FirewallError> {
    commit(&format!("table bridge {TABLE}\ndelete table bridge {TABLE}\n")).await
}

async fn commit(transaction: &str) -> Result<(), FirewallError> {
    NFT.run(&["-f".to_owned(), "-".to_owned()], transaction).await.map(drop)
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
        insta::assert_snapshot!(sources.whole(), @r"
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

    fn owner(port: u32, address: &str) -> Owner {
        Owner {
            ports: [port].into(),
            macs: [[2, 0x42, 0, 0, 0, u8::try_from(port).unwrap()]].into(),
            addresses: [address.parse().unwrap()].into(),
        }
    }

    #[test]
    fn a_change_names_what_came_and_what_went() {
        let gateways: BTreeSet<IpAddr> = ["172.17.0.1".parse().unwrap()].into();
        let before = Sources {
            owners: [owner(5, "172.17.0.2"), owner(6, "172.17.0.3")].into(),
            gateways: gateways.clone(),
        };
        // The one on port 5 is gone, and its address has another owner.
        let after = Sources {
            owners: [owner(6, "172.17.0.3"), owner(7, "172.17.0.2")].into(),
            gateways,
        };
        insta::assert_snapshot!(after.change(&before), @r"
        delete element bridge metadata_proxy macs { 02:42:00:00:00:05 }
        add element bridge metadata_proxy macs { 02:42:00:00:00:07 }
        delete element bridge metadata_proxy mac_ports { 5 . 02:42:00:00:00:05 }
        add element bridge metadata_proxy mac_ports { 7 . 02:42:00:00:00:07 }
        delete element bridge metadata_proxy v4_ports { 5 . 172.17.0.2 }
        add element bridge metadata_proxy v4_ports { 7 . 172.17.0.2 }
        ");
        assert_eq!(after.change(&after), "");
    }
}
