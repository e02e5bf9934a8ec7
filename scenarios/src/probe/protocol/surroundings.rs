//! Operations on what surrounds the process: addresses, names, environment. Pure data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `address`: change the addresses of an interface (needs `NET_ADMIN`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The address to add, with its prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<String>,
    /// The address to remove, with its prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub del: Option<String>,
    /// The interface.
    pub dev: String,
}

/// `interfaces`: no options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interfaces {}

/// The container's network as it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfacesAnswer {
    /// Every interface.
    pub interfaces: Vec<Interface>,
    /// The gateways of the default routes.
    pub gateways: Vec<String>,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: Option<String>,
    /// Its addresses with prefix lengths.
    pub addresses: Vec<String>,
}

/// `env`: no options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Env {}

/// The environment of the probe's own process, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvAnswer {
    /// Name and value; bytes that are not UTF-8 are replaced.
    pub env: Vec<(String, String)>,
    /// The host name.
    pub hostname: String,
}

impl EnvAnswer {
    /// The value of one name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The environment without its order.
    pub fn map(&self) -> BTreeMap<&str, &str> {
        self.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }
}

/// `resolve`: ask the container's resolver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// The name.
    pub name: String,
}

/// What the name resolves to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveAnswer {
    /// The addresses; empty where there are none.
    pub addresses: Vec<String>,
}

/// `ping`: no options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {}

/// Done, with nothing to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}
