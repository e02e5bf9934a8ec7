//! One network interface of an instance.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its hardware address, under which it is listed.
    pub mac: String,
    /// Its number on the instance.
    pub device_number: u16,
    /// Its number on the network card, where there is more than one card.
    pub network_card: Option<u8>,
    /// Its id.
    pub id: String,
    /// Its private addresses, the primary one first.
    pub ipv4: Vec<String>,
    /// Prefixes delegated to it.
    pub ipv4_prefixes: Vec<String>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<String>,
    /// IPv6 prefixes delegated to it.
    pub ipv6_prefixes: Vec<String>,
    /// Public addresses, and the private one that each belongs to.
    pub public: BTreeMap<String, String>,
    /// The public name.
    pub public_hostname: Option<String>,
    /// The account that owns it; without it, the instance's.
    pub owner: Option<String>,
    /// The names of its security groups; without them, the instance's.
    pub security_groups: Vec<String>,
    /// Their ids.
    pub security_group_ids: Vec<String>,
    /// The subnet.
    pub subnet: String,
    /// The subnet's addresses.
    pub subnet_ipv4: Option<String>,
    /// The subnet's IPv6 addresses.
    pub subnet_ipv6: Vec<String>,
    /// The VPC.
    pub vpc: String,
    /// The VPC's addresses, the primary range first.
    pub vpc_ipv4: Vec<String>,
    /// The VPC's IPv6 addresses.
    pub vpc_ipv6: Vec<String>,
}

impl Default for Interface {
    fn default() -> Self {
        let one = |text: &str| vec![text.to_owned()];
        Self {
            mac: "06:1d:9a:5b:3c:7e".to_owned(),
            device_number: 0,
            network_card: None,
            id: "eni-0a1b2c3d4e5f60718".to_owned(),
            ipv4: one("172.31.22.10"),
            ipv4_prefixes: Vec::new(),
            ipv6: Vec::new(),
            ipv6_prefixes: Vec::new(),
            public: BTreeMap::new(),
            public_hostname: None,
            owner: None,
            security_groups: Vec::new(),
            security_group_ids: one("sg-0123456789abcdef0"),
            subnet: "subnet-0fedcba9876543210".to_owned(),
            subnet_ipv4: Some("172.31.16.0/20".to_owned()),
            subnet_ipv6: Vec::new(),
            vpc: "vpc-00112233445566778".to_owned(),
            vpc_ipv4: one("172.31.0.0/16"),
            vpc_ipv6: Vec::new(),
        }
    }
}
