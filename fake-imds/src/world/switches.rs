//! What no capture and no document settles about the real service: each a switch, with the reading that this fake takes by default.

use serde::Deserialize;

/// The bodies of 400 and 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorBody {
    /// None, as of 401 and 405 (captured).
    #[default]
    Empty,
    /// The page of 404 (captured) with the other title.
    Page,
}

/// What a throttled client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overload {
    /// 503.
    #[default]
    Unavailable,
    /// 429.
    TooManyRequests,
    /// Its connection is reset.
    Reset,
}

/// What a listing answers without its slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListingAlone {
    /// The listing.
    #[default]
    Listing,
    /// 301 to the path with the slash, as older stacks did.
    Redirect,
    /// 200 with nothing, as a client of 2014 saw it.
    Empty,
}

/// A token that is not valid, where none is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadToken {
    /// 401: whoever sends one speaks IMDSv2.
    #[default]
    Refused,
    /// It counts as none.
    Ignored,
}

/// `tags/instance` where tags are not in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagsOff {
    /// 404, as for everything that is not there.
    #[default]
    Absent,
    /// `tags/instance` is 200 with nothing, as once reported.
    Empty,
}

/// How spot and rebalance notices are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notices {
    /// On one line, as the documentation shows them.
    #[default]
    Line,
    /// Over lines, as the other documents are.
    Lines,
}

/// The switches of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Switches {
    /// The bodies of 400 and 403.
    pub error_body: ErrorBody,
    /// What a throttled client is told.
    pub overload: Overload,
    /// What a listing answers without its slash.
    pub listing_without_slash: ListingAlone,
    /// A token that is not valid, where none is needed.
    pub bad_token: BadToken,
    /// Whether `macs/` lists each address with a slash.
    pub mac_slash: bool,
    /// Versions after the last that is known, oldest first.
    pub later_versions: Vec<String>,
    /// `tags/instance` where tags are not in the metadata.
    pub tags_off: TagsOff,
    /// How spot and rebalance notices are laid out.
    pub notices: Notices,
    /// Whether `iam/security-credentials-extended` is there, which new SDKs try first.
    pub extended_credentials: bool,
    /// Whether the number on the network card is called `network-card`, as in older listings.
    pub network_card: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            error_body: ErrorBody::default(),
            overload: Overload::default(),
            listing_without_slash: ListingAlone::default(),
            bad_token: BadToken::default(),
            mac_slash: true,
            later_versions: Vec::new(),
            tags_off: TagsOff::default(),
            notices: Notices::default(),
            extended_credentials: false,
            network_card: false,
        }
    }
}
