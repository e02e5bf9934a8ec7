//! The instance metadata options: what `ModifyInstanceMetadataOptions` changes while the instance runs.
//! It must not know how requests are answered under them.

use serde::{Deserialize, Serialize};

/// Whether a token is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpTokens {
    /// IMDSv1 and v2.
    Optional,
    /// IMDSv2 only.
    Required,
}

/// Whether the endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// It does.
    Enabled,
    /// 403 to everything.
    Disabled,
}

/// Whether the instance's tags are in its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagsInMetadata {
    /// They are.
    Enabled,
    /// `tags/` is not there.
    Disabled,
}

/// The options in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MetadataOptions {
    /// Whether a token is needed.
    pub http_tokens: HttpTokens,
    /// IP TTL of the answer to a token PUT, 1 to 64.
    pub hop_limit: u8,
    /// Whether the endpoint answers.
    pub endpoint: Endpoint,
    /// Whether the IPv6 endpoint answers.
    pub ipv6: bool,
    /// Whether tags are in the metadata.
    pub instance_metadata_tags: TagsInMetadata,
}

/// A change of some options, as `PUT /metadata-options` takes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    http_tokens: Option<HttpTokens>,
    hop_limit: Option<u8>,
    endpoint: Option<Endpoint>,
    ipv6: Option<bool>,
    instance_metadata_tags: Option<TagsInMetadata>,
}

/// Hop limits that EC2 accepts.
pub const HOP_LIMITS: std::ops::RangeInclusive<u8> = 1..=64;

impl MetadataOptions {
    /// These options with the change, unless its hop limit is out of range.
    pub fn with(self, change: Change) -> Option<Self> {
        let changed = Self {
            http_tokens: change.http_tokens.unwrap_or(self.http_tokens),
            hop_limit: change.hop_limit.unwrap_or(self.hop_limit),
            endpoint: change.endpoint.unwrap_or(self.endpoint),
            ipv6: change.ipv6.unwrap_or(self.ipv6),
            instance_metadata_tags: change.instance_metadata_tags.unwrap_or(self.instance_metadata_tags),
        };
        HOP_LIMITS.contains(&changed.hop_limit).then_some(changed)
    }
}
