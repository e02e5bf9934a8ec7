//! The network interfaces of an instance.

use super::Growing;
use crate::world::Interface;

impl Growing<'_> {
    pub(super) fn network(&mut self) {
        let interfaces = self.world.instance.interfaces();
        if let Some(first) = interfaces.first() {
            self.text("2011-01-01", "mac", first.mac.as_str());
            if let Some(address) = first.ipv4.first() {
                self.text("1.0", "local-ipv4", address.as_str());
            }
            if let Some(address) = first.ipv6.first() {
                self.text("2021-01-03", "ipv6", address.as_str());
            }
            if let Some(address) = first.public.keys().next() {
                self.text("2007-01-19", "public-ipv4", address.as_str());
            }
            if let Some(name) = &first.public_hostname {
                self.text("2007-01-19", "public-hostname", name.as_str());
            }
        }
        for interface in &interfaces {
            self.interface(interface);
        }
    }

    fn interface(&mut self, interface: &Interface) {
        let (world, mac) = (self.world, interface.mac.as_str());
        let path = |name: &str| format!("network/interfaces/macs/{mac}/{name}");
        if !world.instance.switches.mac_slash {
            self.tree.show(format!("meta-data/network/interfaces/macs/{mac}"), mac);
        }
        let primary = interface.ipv4.first().map(|address| world.private_name(address));
        let owner = interface.owner.as_ref().unwrap_or(&world.account.id);
        let card = if world.instance.switches.network_card {
            "network-card"
        } else {
            "network-card-index"
        };
        for (since, name, value) in [
            ("2011-01-01", "device-number", Some(interface.device_number.to_string())),
            (
                "2020-11-01",
                card,
                interface.network_card.map(|number| number.to_string()),
            ),
            ("2011-01-01", "interface-id", Some(interface.id.clone())),
            ("2007-01-19", "local-hostname", primary),
            ("2011-01-01", "mac", Some(mac.to_owned())),
            ("2011-01-01", "owner-id", Some(owner.clone())),
            ("2011-01-01", "public-hostname", interface.public_hostname.clone()),
            ("2011-01-01", "subnet-id", Some(interface.subnet.clone())),
            ("2011-01-01", "subnet-ipv4-cidr-block", interface.subnet_ipv4.clone()),
            ("2011-01-01", "vpc-id", Some(interface.vpc.clone())),
            ("2011-01-01", "vpc-ipv4-cidr-block", interface.vpc_ipv4.first().cloned()),
        ] {
            if let Some(value) = value {
                self.text(since, &path(name), value);
            }
        }
        let groups = if interface.security_groups.is_empty() {
            &world.instance.security_groups
        } else {
            &interface.security_groups
        };
        let public: Vec<String> = interface.public.keys().cloned().collect();
        for (since, name, values) in [
            ("2011-01-01", "local-ipv4s", &interface.ipv4),
            ("2011-01-01", "ipv4-prefix", &interface.ipv4_prefixes),
            ("2016-06-30", "ipv6s", &interface.ipv6),
            ("2016-06-30", "ipv6-prefix", &interface.ipv6_prefixes),
            ("2011-01-01", "public-ipv4s", &public),
            ("2011-01-01", "security-groups", groups),
            ("2011-01-01", "security-group-ids", &interface.security_group_ids),
            ("2016-06-30", "subnet-ipv6-cidr-blocks", &interface.subnet_ipv6),
            ("2016-06-30", "vpc-ipv4-cidr-blocks", &interface.vpc_ipv4),
            ("2016-06-30", "vpc-ipv6-cidr-blocks", &interface.vpc_ipv6),
        ] {
            self.lines(since, &path(name), values);
        }
        for (address, private) in &interface.public {
            self.text(
                "2011-01-01",
                &path(&format!("ipv4-associations/{address}")),
                private.as_str(),
            );
        }
    }
}
