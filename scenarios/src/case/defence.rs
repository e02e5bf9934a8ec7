//! What stands between a job and credentials, and what a case says of a defence that it does not name. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::verdict::{Expected, Verdict};

/// What stands between a job and credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Defence {
    /// Nothing: jobs reach the endpoint through the instance's routing, IMDSv1 is on, the hop limit is 2 (what container guides advise).
    #[serde(rename = "none")]
    None,
    /// Rules that drop the endpoint for everything that is forwarded, on every bridge and in both IP versions.
    #[serde(rename = "firewall")]
    Firewall,
    /// IMDSv2 required and a hop limit of 1.
    #[serde(rename = "hop-limit")]
    HopLimit,
    /// IMDSv2 required, but a hop limit of 2.
    #[serde(rename = "hop-limit-2")]
    HopLimit2,
    /// A hop limit of 1, but IMDSv1 is on.
    #[serde(rename = "hop-limit-v1")]
    HopLimitV1,
    /// An instance without an instance profile: the endpoint is open, and has no role to give.
    #[serde(rename = "instance-profile")]
    InstanceProfile,
    /// The metadata proxy with its own rules.
    #[serde(rename = "proxy")]
    Proxy,
    /// The metadata proxy behind the complete firewall.
    #[serde(rename = "firewall+proxy")]
    FirewallAndProxy,
    /// No proxy: jobs hold ID tokens of their GitLab, roles trust those, and the complete firewall keeps the endpoint shut.
    #[serde(rename = "oidc")]
    Oidc,
    /// ID tokens, and the endpoint is as open as with no defence.
    #[serde(rename = "oidc-only")]
    OidcOnly,
    /// A metadata proxy of somebody else's, behind the redirect that such proxies document; see [`super::external`].
    #[serde(rename = "external")]
    External,
}

impl Defence {
    /// Every defence that can be set up.
    pub const ALL: [Self; 11] = [
        Self::None,
        Self::Firewall,
        Self::HopLimit,
        Self::HopLimit2,
        Self::HopLimitV1,
        Self::InstanceProfile,
        Self::Proxy,
        Self::FirewallAndProxy,
        Self::Oidc,
        Self::OidcOnly,
        Self::External,
    ];

    /// The columns of the matrix, in this order. Halves, of a hop limit or of what ID tokens need, are run where they are asked for by name.
    pub const MATRIX: [Self; 7] = [
        Self::None,
        Self::Firewall,
        Self::HopLimit,
        Self::InstanceProfile,
        Self::Proxy,
        Self::FirewallAndProxy,
        Self::Oidc,
    ];

    /// Of these every case that is about the endpoint says what they may answer.
    pub const STATED: [Self; 3] = [Self::None, Self::Firewall, Self::Proxy];

    /// The word on the command line and in case files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Firewall => "firewall",
            Self::HopLimit => "hop-limit",
            Self::HopLimit2 => "hop-limit-2",
            Self::HopLimitV1 => "hop-limit-v1",
            Self::InstanceProfile => "instance-profile",
            Self::Proxy => "proxy",
            Self::FirewallAndProxy => "firewall+proxy",
            Self::Oidc => "oidc",
            Self::OidcOnly => "oidc-only",
            Self::External => "external",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|defence| defence.as_str() == word)
    }

    /// The stated defence that a case's words are meant for where they do not name this one: its steps and its controls are the same.
    pub const fn like(self) -> Self {
        match self {
            Self::None
            | Self::HopLimit
            | Self::HopLimit2
            | Self::HopLimitV1
            | Self::InstanceProfile
            | Self::OidcOnly => Self::None,
            Self::Firewall | Self::Oidc => Self::Firewall,
            Self::Proxy | Self::FirewallAndProxy | Self::External => Self::Proxy,
        }
    }

    /// Whether what a case says of `stated` is meant for this one too: the same, the one it is like at the endpoint, or whole ID tokens for their half.
    pub fn is_like(self, stated: Self) -> bool {
        self == stated || self.like() == stated || (self == Self::OidcOnly && stated == Self::Oidc)
    }

    /// Whether it is one of these, or is meant with one of them. No list means every defence.
    pub fn is_among(self, defences: &[Self]) -> bool {
        defences.is_empty() || defences.iter().any(|defence| self.is_like(*defence))
    }

    /// What it may answer where a case does not say: `stated` is what the defence it is like may.
    pub fn derive(self, stated: &Expected) -> Expected {
        let stated = |keep: fn(&Verdict) -> bool| stated.0.iter().filter(move |verdict| keep(verdict)).cloned();
        let with = |kept: Vec<Verdict>, more: &[Verdict]| {
            let mut verdicts = kept;
            verdicts.extend(
                more.iter()
                    .filter(|verdict| !verdicts.contains(verdict))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            Expected(verdicts)
        };
        let any: fn(&Verdict) -> bool = |_| true;
        let sound: fn(&Verdict) -> bool = |verdict| !verdict.is_leak() && *verdict != Verdict::Same;
        match self {
            Self::None
            | Self::Firewall
            | Self::Proxy
            | Self::FirewallAndProxy
            | Self::Oidc
            | Self::OidcOnly
            | Self::External => Expected(stated(any).collect()),
            // The token's answer dies on the way, and without a token nothing is answered.
            Self::HopLimit => with(
                stated(sound).collect(),
                &[Verdict::Silent, Verdict::Deny, Verdict::Unusable],
            ),
            Self::HopLimit2 => with(stated(any).collect(), &[Verdict::Deny]),
            Self::HopLimitV1 => with(stated(any).collect(), &[Verdict::Silent, Verdict::Unusable]),
            // User data, identity document and identity credentials are there all the same.
            Self::InstanceProfile => with(
                stated(any).collect(),
                &[Verdict::Deny, Verdict::Same, Verdict::Unusable],
            ),
        }
    }

    /// Whether jobs hold ID tokens.
    pub const fn has_id_tokens(self) -> bool {
        matches!(self, Self::Oidc | Self::OidcOnly)
    }

    /// Whether jobs are meant to talk to the endpoint itself.
    pub const fn serves_jobs(self) -> bool {
        matches!(
            self,
            Self::HopLimit | Self::HopLimit2 | Self::HopLimitV1 | Self::InstanceProfile
        )
    }

    /// Whether jobs talk to the endpoint itself.
    pub const fn is_direct(self) -> bool {
        matches!(self.like(), Self::None)
    }
}

impl fmt::Display for Defence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_as_serde_reads_it() {
        for defence in Defence::ALL {
            assert_eq!(Defence::parse(defence.as_str()), Some(defence));
            let word = serde_json::Value::from(defence.as_str());
            assert_eq!(serde_json::from_value::<Defence>(word).unwrap(), defence);
        }
        assert_eq!(Defence::parse("prayer"), None);
    }

    #[test]
    fn what_is_like_a_stated_defence_is_stated() {
        for defence in Defence::ALL {
            assert!(Defence::STATED.contains(&defence.like()));
            assert_eq!(defence.like().like(), defence.like());
        }
    }

    #[test]
    fn what_is_said_of_whole_id_tokens_is_meant_for_their_half_too() {
        assert!(Defence::OidcOnly.is_like(Defence::Oidc) && Defence::OidcOnly.is_like(Defence::None));
        assert!(Defence::Oidc.is_like(Defence::Firewall) && !Defence::Oidc.is_like(Defence::OidcOnly));
        assert!(Defence::Proxy.is_among(&[]) && Defence::FirewallAndProxy.is_among(&[Defence::Proxy]));
        assert!(!Defence::Proxy.is_among(&[Defence::Oidc]));
    }

    #[test]
    fn a_complete_hop_limit_may_not_leak_whatever_no_defence_does() {
        let leaks = Expected(vec!["LEAK(host-role)".parse().unwrap(), "BLOCKED".parse().unwrap()]);
        assert_eq!(
            Defence::HopLimit.derive(&leaks).to_string(),
            "BLOCKED | SILENT | DENY | UNUSABLE"
        );
        assert_eq!(
            Defence::HopLimit2.derive(&leaks).to_string(),
            "LEAK(host-role) | BLOCKED | DENY"
        );
        assert_eq!(Defence::FirewallAndProxy.derive(&leaks), leaks);
    }
}
