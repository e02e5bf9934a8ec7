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
}

/// A change of some options, as `PUT /metadata-options` takes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    http_tokens: Option<HttpTokens>,
    hop_limit: Option<u8>,
    endpoint: Option<Endpoint>,
    ipv6: Option<bool>,
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
        };
        HOP_LIMITS.contains(&changed.hop_limit).then_some(changed)
    }
}
