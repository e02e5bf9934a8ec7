//! One instance, as a world file states it. What it does not state is as on the instance of an empty file.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Event, Interface, Moment, Switches};
use crate::options::{Endpoint, HttpTokens, MetadataOptions, TagsInMetadata};

/// What signs the identity document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signing {
    /// The test CA, whose certificates are published.
    #[default]
    TestCa,
    /// Nothing: text of that form which carries the canary.
    Marked,
}

/// What became of the instance profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileState {
    /// It is attached, and its role trusts EC2.
    #[default]
    Attached,
    /// It was deleted while attached: `InstanceProfileNotFound`.
    NotFound,
    /// Its role does not trust EC2: `AssumeRoleUnauthorizedAccess`.
    Untrusted,
}

/// A key pair.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// The public key, as `authorized_keys` has it.
    pub key: String,
}

/// Where the instance was put, beyond zone and region.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// The placement group.
    pub group: Option<String>,
    /// The dedicated host.
    pub host: Option<String>,
    /// The partition of a partition placement group.
    pub partition: Option<u8>,
}

/// Block devices, by virtual name.
pub type Devices = BTreeMap<String, String>;

/// What EC2 Instance Connect and its agent find.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Connect {
    /// The signer's chain of certificates.
    pub signer_cert: String,
    /// OCSP answers, by fingerprint.
    pub signer_ocsp: BTreeMap<String, String>,
    /// Signed keys that may log in now, by user of the instance.
    pub active_keys: BTreeMap<String, String>,
}

/// The endpoint for containers, beside the other: who knows it needs no session token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Container {
    /// Its path: `/v2/credentials/UUID` of ECS, `/v1/credentials` of EKS.
    pub path: String,
    /// What `Authorization` must say; without it, anything.
    #[serde(default)]
    pub authorization: Option<String>,
}

/// When the service is overloaded; nothing is published of the real one's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Throttle {
    /// Requests in a second.
    pub requests_per_second: u32,
    /// How many may come at once.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Addresses on which it answers, among those listened on; with neither these nor sources nor tokens it answers whom no other does.
    pub listen: Vec<String>,
    /// Addresses or networks whose requests it answers.
    pub sources: Vec<String>,
    /// Session tokens that lead to it and never expire.
    pub tokens: Vec<String>,

    /// The name of its instance profile; empty for an instance without one.
    pub profile: String,
    /// The name of the profile's role; empty for an instance without one.
    pub role: String,
    /// What became of the profile.
    pub profile_state: ProfileState,

    /// Whether a token is needed.
    pub http_tokens: HttpTokens,
    /// IP TTL of the answer to a token PUT.
    pub hop_limit: u8,
    /// Whether the endpoint answers.
    pub endpoint: Endpoint,
    /// Whether the IPv6 endpoint answers.
    pub ipv6: bool,
    /// Whether tags are in the metadata.
    pub instance_metadata_tags: TagsInMetadata,

    /// Its user data, without the canary.
    pub user_data: Option<String>,
    /// Its user data, any bytes.
    pub user_data_base64: Option<String>,
    /// Its tags, without the canary.
    pub tags: BTreeMap<String, String>,
    /// Whether canaries stand in what nobody else should read.
    pub canaries: bool,
    /// What signs the identity document.
    pub identity_signatures: Signing,

    /// The image.
    pub image: String,
    /// The images that this one was made from.
    pub ancestor_images: Vec<String>,
    /// Its number among those launched together.
    pub launch_index: u16,
    /// The path of the image's manifest in S3.
    pub manifest_path: String,
    /// The instance type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// `on-demand`, `spot`, `scheduled` or `capacity-block`.
    pub life_cycle: String,
    /// `none`, `shutdown` or `bundle-pending`.
    pub action: String,
    /// `nitro` or `xen-on-nitro`.
    pub system: String,
    /// The kernel's image.
    pub kernel: Option<String>,
    /// The ramdisk's image.
    pub ramdisk: Option<String>,
    /// AWS Marketplace product codes.
    pub product_codes: Vec<String>,
    /// Billing products.
    pub billing_products: Vec<String>,
    /// The reservation.
    pub reservation: String,
    /// The names of its security groups.
    pub security_groups: Vec<String>,
    /// Whether detailed monitoring is on.
    pub monitoring: bool,
    /// When it was launched; without it, when the fake starts.
    pub launched: Option<Timestamp>,
    /// The availability zone; without it, the region's first.
    pub zone: Option<String>,
    /// The id of the availability zone.
    pub zone_id: Option<String>,
    /// Its own name; without it, as its address says.
    pub hostname: Option<String>,
    /// What `metrics/vhostmd` holds.
    pub vhostmd: Option<String>,
    /// Where it was put.
    pub placement: Placement,
    /// Its block devices.
    pub devices: Devices,
    /// Its key pairs.
    #[serde(rename = "key")]
    pub keys: Vec<Key>,
    /// Its network interfaces as stated; [`Instance::interfaces`] has the default one too.
    #[serde(rename = "interface")]
    pub stated_interfaces: Vec<Interface>,
    /// The state that its Auto Scaling group wants it in.
    pub lifecycle_state: Option<String>,
    /// Maintenance events that are there from the start.
    #[serde(rename = "event")]
    pub events: Vec<Event>,
    /// EC2 Instance Connect.
    pub connect: Option<Connect>,
    /// The endpoint for containers.
    pub container: Option<Container>,
    /// What happens later.
    pub timeline: Vec<Moment>,
    /// When too many requests come.
    pub throttle: Option<Throttle>,
    /// What nobody knows for sure.
    pub switches: Switches,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            id: "i-0123456789abcdef0".to_owned(),
            listen: Vec::new(),
            sources: Vec::new(),
            tokens: Vec::new(),
            profile: "lab-host-profile".to_owned(),
            role: "lab-host".to_owned(),
            profile_state: ProfileState::Attached,
            http_tokens: HttpTokens::Optional,
            hop_limit: 2,
            endpoint: Endpoint::Enabled,
            ipv6: true,
            instance_metadata_tags: TagsInMetadata::Enabled,
            user_data: Some("#!/bin/sh\nexport RUNNER_REGISTRATION=in-user-data\n".to_owned()),
            user_data_base64: None,
            tags: BTreeMap::from([("Name".to_owned(), "runner-host".to_owned())]),
            canaries: true,
            identity_signatures: Signing::TestCa,
            image: "ami-0b7937aeb16a7eb94".to_owned(),
            ancestor_images: Vec::new(),
            launch_index: 0,
            manifest_path: "(unknown)".to_owned(),
            kind: "m5.large".to_owned(),
            architecture: "x86_64".to_owned(),
            life_cycle: "on-demand".to_owned(),
            action: "none".to_owned(),
            system: "nitro".to_owned(),
            kernel: None,
            ramdisk: None,
            product_codes: Vec::new(),
            billing_products: Vec::new(),
            reservation: "r-0f1e2d3c4b5a69788".to_owned(),
            security_groups: vec!["lab-runners".to_owned()],
            monitoring: false,
            launched: None,
            zone: None,
            zone_id: None,
            hostname: None,
            vhostmd: None,
            placement: Placement::default(),
            devices: Devices::from(["ami", "root"].map(|name| (name.to_owned(), "/dev/xvda".to_owned()))),
            keys: Vec::new(),
            stated_interfaces: Vec::new(),
            lifecycle_state: None,
            events: Vec::new(),
            connect: None,
            container: None,
            timeline: Vec::new(),
            throttle: None,
            switches: Switches::default(),
        }
    }
}

impl Instance {
    /// Its network interfaces: those stated, or one.
    pub fn interfaces(&self) -> Vec<Interface> {
        if self.stated_interfaces.is_empty() {
            vec![Interface::default()]
        } else {
            self.stated_interfaces.clone()
        }
    }

    /// The metadata options that it starts with.
    pub fn options(&self) -> MetadataOptions {
        MetadataOptions {
            http_tokens: self.http_tokens,
            hop_limit: self.hop_limit,
            endpoint: self.endpoint,
            ipv6: self.ipv6,
            instance_metadata_tags: self.instance_metadata_tags,
        }
    }
}
