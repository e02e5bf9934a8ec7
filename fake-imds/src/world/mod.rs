//! The worlds that the fake shows: an account and one instance in each. It must not know how a world file is written; [`read`] does.

mod clash;
mod fields;
mod instance;
mod interface;
mod judge;
mod moment;
mod read;
mod rule;
mod schema;
mod shape;
mod switches;
mod table;
#[cfg(test)]
mod tests;

use serde::Deserialize;

pub use instance::{Connect, Container, Devices, Instance, Key, Placement, ProfileState, Signing, Throttle};
pub use interface::Interface;
pub use moment::{Event, EventState, Moment, SpotAction};
pub use read::{BrokenWorld, Tolerance, parse};
pub use schema::schema;
pub use switches::{BadToken, ErrorBody, ListingAlone, Notices, Overload, Switches, TagsOff};
pub use table::Fault;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// The region.
    pub region: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            id: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
            partition: "aws".to_owned(),
        }
    }
}

/// Whether a profile or role can have this name; an instance without one has an empty name.
pub(crate) fn is_name_or_none(text: &str) -> bool {
    (rule::NAME_OR_NONE.fits)(text)
}

/// An account and one instance in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    /// The account.
    pub account: Account,
    /// The instance.
    pub instance: Instance,
}

impl World {
    /// The ARN of a role of the account.
    pub fn role_arn(&self, role: &str) -> String {
        format!("arn:{}:iam::{}:role/{role}", self.account.partition, self.account.id)
    }

    /// The domain of the partition's endpoints.
    pub fn domain(&self) -> &'static str {
        if self.account.partition == "aws-cn" {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        }
    }

    /// The availability zone.
    pub fn zone(&self) -> String {
        let first = || format!("{}a", self.account.region);
        self.instance.zone.clone().unwrap_or_else(first)
    }

    /// The id of the availability zone; `eu-central-1` is `euc1` in it, `ap-southeast-2` is `apse2`.
    pub fn zone_id(&self) -> String {
        let short = || {
            let region = self.account.region.replace("north", "n").replace("south", "s");
            let region = region.replace("east", "e").replace("west", "w");
            format!("{}-az1", region.replace("central", "c").replace('-', ""))
        };
        self.instance.zone_id.clone().unwrap_or_else(short)
    }

    /// The first private address of the first interface; none on an instance with IPv6 alone.
    pub fn primary_ipv4(&self) -> Option<String> {
        self.instance.interfaces().first()?.ipv4.first().cloned()
    }

    /// The name that a private address resolves to.
    pub fn private_name(&self, address: &str) -> String {
        let dashed = address.replace('.', "-");
        if self.account.region == "us-east-1" {
            format!("ip-{dashed}.ec2.internal")
        } else {
            format!("ip-{dashed}.{}.compute.internal", self.account.region)
        }
    }

    /// The name of the instance among its own.
    pub fn hostname(&self) -> String {
        let named = self.instance.hostname.clone();
        named.unwrap_or_else(|| match self.primary_ipv4() {
            Some(address) => self.private_name(&address),
            // Named after its resource, as instances without an IPv4 address are (AWS documentation).
            None if self.account.region == "us-east-1" => format!("{}.ec2.internal", self.instance.id),
            None => format!("{}.{}.compute.internal", self.instance.id, self.account.region),
        })
    }
}
