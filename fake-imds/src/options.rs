//! The instance metadata options: what `ModifyInstanceMetadataOptions` changes while the instance runs.
//! It must not know how requests are answered under them.

use jiff::Timestamp;
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

/// A change of some options, as `PUT /metadata-options` and the timeline take it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// Whether a token is needed.
    pub http_tokens: Option<HttpTokens>,
    /// IP TTL of the answer to a token PUT, 1 to 64.
    pub hop_limit: Option<u8>,
    /// Whether the endpoint answers.
    pub endpoint: Option<Endpoint>,
    /// Whether the IPv6 endpoint answers.
    pub ipv6: Option<bool>,
    /// Whether tags are in the metadata.
    pub instance_metadata_tags: Option<TagsInMetadata>,
}

/// Hop limits that EC2 accepts.
pub const HOP_LIMITS: std::ops::RangeInclusive<u8> = 1..=64;

impl Change {
    /// Whether EC2 would accept it.
    pub fn is_possible(&self) -> bool {
        self.hop_limit.is_none_or(|hops| HOP_LIMITS.contains(&hops))
    }

    /// What is left of it once a later one is made.
    fn before(self, later: Self) -> Self {
        fn left<T>(own: Option<T>, later: Option<T>) -> Option<T> {
            own.filter(|_| later.is_none())
        }
        Self {
            http_tokens: left(self.http_tokens, later.http_tokens),
            hop_limit: left(self.hop_limit, later.hop_limit),
            endpoint: left(self.endpoint, later.endpoint),
            ipv6: left(self.ipv6, later.ipv6),
            instance_metadata_tags: left(self.instance_metadata_tags, later.instance_metadata_tags),
        }
    }
}

impl MetadataOptions {
    /// These options with the change.
    #[must_use]
    pub fn with(self, change: Change) -> Self {
        Self {
            http_tokens: change.http_tokens.unwrap_or(self.http_tokens),
            hop_limit: change.hop_limit.unwrap_or(self.hop_limit),
            endpoint: change.endpoint.unwrap_or(self.endpoint),
            ipv6: change.ipv6.unwrap_or(self.ipv6),
            instance_metadata_tags: change.instance_metadata_tags.unwrap_or(self.instance_metadata_tags),
        }
    }
}

/// Changes with the time of each, in whatever order.
pub type Changes = Vec<(Timestamp, Change)>;

/// Adds a change that is made now. Of earlier ones nothing is kept that it undoes, so that there are never more than options.
pub fn order(ordered: &mut Changes, now: Timestamp, change: Change) {
    for (_, earlier) in ordered.iter_mut() {
        *earlier = earlier.before(change);
    }
    ordered.retain(|(_, earlier)| *earlier != Change::default());
    ordered.push((now, change));
}

/// The options in force at a time: of what is planned and what was ordered, the last change of each option counts. What was ordered has happened, also where the
/// clock was set back since.
pub fn in_force(start: MetadataOptions, planned: &Changes, ordered: &Changes, now: Timestamp) -> MetadataOptions {
    let due = planned.iter().filter(|(at, _)| *at <= now);
    let mut due: Changes = due.chain(ordered).copied().collect();
    due.sort_by_key(|(at, _)| *at);
    due.into_iter().fold(start, |options, (_, change)| options.with(change))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn hops(hops: u8) -> Change {
        Change {
            hop_limit: Some(hops),
            ..Change::default()
        }
    }

    fn start() -> MetadataOptions {
        crate::world::World::default().instance.options()
    }

    #[test]
    fn the_last_change_counts_whoever_made_it() {
        let planned = vec![(at(10), hops(10)), (at(30), hops(30))];
        let mut ordered = Vec::new();
        let limit = |ordered: &Changes, now| in_force(start(), &planned, ordered, at(now)).hop_limit;
        assert_eq!([0, 10, 29, 30].map(|now| limit(&ordered, now)), [2, 10, 10, 30]);
        order(&mut ordered, at(20), hops(20));
        assert_eq!([20, 29, 30].map(|now| limit(&ordered, now)), [20, 20, 30]);
        assert_eq!(limit(&ordered, 5), 20, "what was ordered has happened");
    }

    #[test]
    fn a_change_leaves_the_other_options() {
        let mut ordered = Vec::new();
        let required = Change {
            http_tokens: Some(HttpTokens::Required),
            ..Change::default()
        };
        order(&mut ordered, at(1), required);
        order(&mut ordered, at(2), hops(1));
        let options = in_force(start(), &Vec::new(), &ordered, at(2));
        assert_eq!((options.http_tokens, options.hop_limit), (HttpTokens::Required, 1));
        assert!(options.ipv6 && hops(64).is_possible() && !hops(65).is_possible() && !hops(0).is_possible());
    }

    proptest! {
        #[test]
        fn however_often_it_changes_little_is_kept(changes in proptest::collection::vec((any::<bool>(), 1_u8..=64), 1..40)) {
            let mut ordered = Vec::new();
            let mut expected = start();
            for (number, (ipv6, limit)) in (0..).zip(changes) {
                let change = if number % 2 == 0 { hops(limit) } else { Change { ipv6: Some(ipv6), ..Change::default() } };
                order(&mut ordered, at(number), change);
                expected = expected.with(change);
            }
            prop_assert!(ordered.len() <= 2);
            prop_assert_eq!(in_force(start(), &Vec::new(), &ordered, at(100)), expected);
        }
    }
}
