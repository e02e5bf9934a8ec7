//! What happens to an instance at a time: notices, events, states, rotations.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ProfileState;
use crate::options::{Change, Endpoint, HttpTokens, TagsInMetadata};

/// What an interrupted spot instance is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpotAction {
    /// It is terminated two minutes later.
    Terminate,
    /// It is stopped two minutes later.
    Stop,
    /// It is hibernated at once.
    Hibernate,
}

/// How far a maintenance event has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventState {
    /// It is still to come, or goes on.
    #[default]
    Active,
    /// It is over.
    Completed,
    /// It was called off.
    Canceled,
}

/// A maintenance event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Event {
    /// `system-reboot` and the like; without it, that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its id; without it, one that counts from zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The earliest start; without it, two weeks after it is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The latest end; without it, two hours after the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Until when the start can be put off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before_deadline: Option<Timestamp>,
    /// How far it has come.
    pub state: EventState,
}

/// What happens at one time. Everything that it names happens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Moment {
    /// Seconds after the start, or after the order of the control API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// The time, instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// A rebalance recommendation is made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rebalance: bool,
    /// The spot instance is to be interrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot: Option<SpotAction>,
    /// When the interruption is to be, instead of when it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot_time: Option<Timestamp>,
    /// The spot notice and the rebalance recommendation are gone again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub calm: bool,
    /// The Auto Scaling group wants another state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle_state: Option<String>,
    /// Maintenance is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// The event of that id is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<String>,
    /// The event of that id is called off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
    /// Other credentials are given from now on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rotate: bool,
    /// The tags are now these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// The instance profile is now this; empty, it is detached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The role of the profile is now this; of a profile without one named here, the role of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What becomes of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_state: Option<ProfileState>,
    /// `HttpTokens` is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_tokens: Option<HttpTokens>,
    /// `HttpPutResponseHopLimit` is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop_limit: Option<u8>,
    /// `HttpEndpoint` is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// `HttpProtocolIpv6` is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<bool>,
    /// `InstanceMetadataTags` is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_metadata_tags: Option<TagsInMetadata>,
}

impl Moment {
    /// What of the metadata options changes.
    pub fn change(&self) -> Change {
        Change {
            http_tokens: self.http_tokens,
            hop_limit: self.hop_limit,
            endpoint: self.endpoint,
            ipv6: self.ipv6,
            instance_metadata_tags: self.instance_metadata_tags,
        }
    }
}
