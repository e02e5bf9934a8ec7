//! Credentials of a role: what identifies them, what they consist of, and the document that a container reads. Knows no container.

mod base;
mod cache;
mod issued;
mod observe;
mod restraint;
mod sts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::SystemTime;

use thiserror::Error;
use zeroize::Zeroizing;

pub use base::NoBase;
pub use cache::Cache;
pub use issued::Issued;
pub(crate) use issued::write_time;
pub use observe::{CacheEvent, Observe};
pub use restraint::{Rates, Scope, Turn};
pub use sts::Sts;

use crate::config::{ExternalId, PolicyArn, Role, SessionPolicy};
use crate::policy::{Edition, Grant};

/// All that makes one set of credentials differ from another (P10). The proxy alone sets each of them (P12).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The role.
    pub role: Role,
    /// Its external id.
    pub external_id: Option<ExternalId>,
    /// The session's name: of one job on one runner.
    pub session_name: String,
    /// A session policy that narrows the role.
    pub policy: Option<SessionPolicy>,
    /// Managed policies that narrow it.
    pub policy_arns: BTreeSet<PolicyArn>,
    /// Session tags.
    pub tags: Vec<(String, String)>,
    /// Names of the tags that sessions made from this one keep.
    pub transitive: BTreeSet<String>,
    /// The session's source identity.
    pub source_identity: Option<String>,
    /// `DurationSeconds`
    pub duration_seconds: u32,
    /// The rule that gives them, as it was read: STS is not told, but what a rule gave ends with it.
    pub edition: Edition,
}

impl Key {
    /// The key of what a container was granted.
    #[must_use]
    pub fn new(grant: &Grant) -> Self {
        Self {
            role: grant.role.clone(),
            external_id: grant.external_id.clone(),
            session_name: grant.told.session_name.clone(),
            policy: grant.session.policy.clone(),
            policy_arns: grant.session.policy_arns.clone(),
            tags: grant.told.tags.clone(),
            transitive: grant.told.transitive.clone(),
            source_identity: grant.told.source_identity.clone(),
            duration_seconds: grant.duration_seconds,
            edition: grant.edition,
        }
    }
}

/// By what nearly always differs, since every answer looks its key up; two keys that share all of it are still told apart.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.session_name.hash(state);
        self.role.hash(state);
    }
}

/// A text that must not be printed. It is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("**redacted**")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("**redacted**")
    }
}

/// What STS answered, not yet checked.
#[derive(Debug, Clone)]
pub struct Assumed {
    /// `AssumedRoleUser.Arn`
    pub assumed_role_arn: String,
    /// `SourceIdentity`: as asked for, or inherited from the base credentials.
    pub source_identity: Option<String>,
    /// `Credentials.AccessKeyId`
    pub access_key_id: String,
    /// `Credentials.SecretAccessKey`
    pub secret_access_key: Secret,
    /// `Credentials.SessionToken`
    pub session_token: Secret,
    /// `Credentials.Expiration`
    pub expires: SystemTime,
}

/// Why there are no credentials. `as_str` is the metric label and the audit reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Error)]
#[error("{}", self.as_str())]
pub enum Failure {
    /// STS denies the role: its trust policy, or the proxy's own policy.
    Denied,
    /// STS gives the role, but not with session tags.
    TagsDenied,
    /// STS gives the role, but not with a source identity.
    SourceIdentityDenied,
    /// STS asks to come less often.
    Throttled,
    /// STS cannot be reached, or the base credentials cannot.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// STS refuses the request for another reason than authorization.
    Rejected,
    /// STS failed (5xx), or its answer cannot be read.
    Broken,
    /// The answer is of another role or session than was asked for, or has expired.
    WrongAnswer,
    /// Too many different sets of credentials are in use.
    Full,
    /// The rule that gave them is not in force any more.
    Withdrawn,
    /// STS is asked as often as it may be.
    Limited,
    /// STS keeps failing, and is only tried from time to time.
    Suspended,
}

impl Failure {
    /// A short fixed word for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "sts-denied",
            Self::TagsDenied => "sts-tags-denied",
            Self::SourceIdentityDenied => "sts-source-identity-denied",
            Self::Throttled => "sts-throttled",
            Self::Unreachable => "sts-unreachable",
            Self::TimedOut => "sts-timed-out",
            Self::Rejected => "sts-rejected",
            Self::Broken => "sts-broken",
            Self::WrongAnswer => "sts-wrong-answer",
            Self::Full => "credentials-full",
            Self::Withdrawn => "rule-withdrawn",
            Self::Limited => "sts-limited",
            Self::Suspended => "sts-suspended",
        }
    }

    /// Whether STS refuses on purpose: then what it gave earlier is not handed out any more either.
    #[must_use]
    pub const fn is_denial(self) -> bool {
        matches!(self, Self::Denied | Self::TagsDenied | Self::SourceIdentityDenied)
    }

    /// What the operator can do about it, where the word does not say it all.
    #[must_use]
    pub const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::TagsDenied => Some(
                "the rule has tags: allow sts:TagSession beside sts:AssumeRole, for the proxy's role, in the role's trust policy, \
                 and for the role in the policies of the proxy's role",
            ),
            Self::SourceIdentityDenied => Some(
                "the rule has a source_identity: allow sts:SetSourceIdentity beside sts:AssumeRole, for the proxy's role, in the role's trust \
                 policy, and for the role in the policies of the proxy's role",
            ),
            Self::Denied
            | Self::Throttled
            | Self::Unreachable
            | Self::TimedOut
            | Self::Rejected
            | Self::Broken
            | Self::WrongAnswer
            | Self::Full
            | Self::Withdrawn
            | Self::Limited
            | Self::Suspended => None,
        }
    }
}

/// Whoever gives credentials. The production implementation is [`Sts`]; tests script their own.
pub trait AssumeRole: Send + Sync + 'static {
    /// Asks for the credentials that the key describes.
    ///
    /// # Errors
    /// Every failure is a [`Failure`].
    fn assume_role(&self, key: &Key) -> impl Future<Output = Result<Assumed, Failure>> + Send;
}
