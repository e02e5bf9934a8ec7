//! Why a well-formed request of somebody known is declined, in STS's words. It must not decide.

use thiserror::Error;

/// A declined request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Decline {
    /// One text for every reason, a role that does not exist included.
    #[error("User: {caller} is not authorized to perform: {action} on resource: {resource}")]
    AccessDenied {
        /// ARN of the caller.
        caller: String,
        /// The action that was refused.
        action: &'static str,
        /// As sent.
        resource: String,
        /// The true reason, for the ledger alone.
        denied_by: String,
    },
    /// A web identity is refused; its text names neither caller nor role.
    #[error("Not authorized to perform {action}")]
    WebIdentityDenied {
        /// The action that was refused.
        action: &'static str,
        /// The true reason, for the ledger alone.
        denied_by: String,
    },
    /// Another refusal with a text of its own.
    #[error("{text}")]
    Forbidden {
        /// What STS says.
        text: &'static str,
    },
    /// Longer than the role allows.
    #[error("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")]
    ExceedsRole,
    /// Longer than a chained session may be.
    #[error("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")]
    ExceedsChaining,
    /// A session keeps its source identity.
    #[error("The source identity is already set for this assume role session")]
    SourceIdentityFixed,
    /// An inherited tag may not be set anew.
    #[error(
        "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session."
    )]
    TransitiveTagConflict,
    /// A web identity token that is not believed.
    #[error("{text}")]
    InvalidIdentityToken {
        /// What STS says.
        text: String,
        /// More than STS says, for the ledger alone.
        because: String,
    },
    /// A web identity token whose time is over.
    #[error("Token expired: current date/time {now} must be before the expiration date/time {expires}")]
    ExpiredIdentityToken {
        /// The fake's clock, in seconds.
        now: i64,
        /// `exp`.
        expires: i64,
    },
    /// An assertion whose time is over.
    #[error("Token must be redeemed within 5 minutes of issuance")]
    ExpiredAssertion,
    /// The identity provider says that it failed.
    #[error("The identity provider (IdP) reported that authentication failed.")]
    RejectedClaim {
        /// More than STS says, for the ledger alone.
        because: String,
    },
    /// The message to decode is none, or not of the caller's account.
    #[error("Invalid authorization message")]
    InvalidAuthorizationMessage,
    /// GetWebIdentityToken is not switched on.
    #[error("Outbound web identity federation is not enabled for account {account}")]
    OutboundDisabled {
        /// Whose.
        account: String,
    },
    /// A token may not outlive the session that asks for it.
    #[error("The requested token duration would extend the session beyond its original expiration time.")]
    DurationEscalation,
    /// Session policies that are not known here.
    #[error("{text}")]
    Unsupported {
        /// What this fake says.
        text: String,
    },
}
