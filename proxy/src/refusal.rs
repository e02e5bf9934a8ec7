//! Every reason not to answer, and the one match that turns each into what the outside sees: a status, and the text that goes with it.

use std::fmt;

use crate::caller::Unattested;
use crate::credentials::Failure;
use crate::gitlab::Unverified;
use crate::instance::Unreadable;
use crate::policy::Reason;
use crate::request::Malformed;
use crate::token::TokenFault;

/// The statuses that the proxy answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// 200
    Ok,
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    NotAllowed,
    /// 503
    Unavailable,
}

impl Status {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::NotAllowed => 405,
            Self::Unavailable => 503,
        }
    }

    /// Number and phrase, as the status line has them.
    #[must_use]
    pub const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Unauthorized => "401 Unauthorized",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Not Allowed",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request cannot be read without doubt.
    Malformed(Malformed),
    /// Nothing that can be read came in time.
    TooSlow,
    /// The caller cannot be tied to a container.
    Unattested(Unattested),
    /// Policy gives the container nothing.
    Denied(Reason),
    /// Policy gives it something, and GitLab does not confirm the job.
    Unverified(Unverified),
    /// The container, or all of them together, have too many connections.
    Crowded,
    /// No such path.
    UnknownPath,
    /// The path exists, and policy does not let this container read it.
    PathNotGiven,
    /// The path names a role that is not the caller's.
    OtherRole,
    /// The path exists, but not for this method.
    Method {
        /// The methods that it exists for.
        allow: &'static str,
    },
    /// A token was asked for through an intermediary.
    Forwarded,
    /// The time to live of the token is absent, ambiguous or out of bounds.
    TokenTtl,
    /// No good token.
    Token(TokenFault),
    /// No credentials.
    Credentials(Failure),
    /// A value of the instance that cannot be had.
    Instance(Unreadable),
}

impl Refusal {
    /// What the outside sees. Adding a reason means choosing here.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Malformed(_) | Self::TooSlow | Self::TokenTtl => Status::BadRequest,
            Self::Token(_) => Status::Unauthorized,
            Self::Unattested(unattested) => match unattested {
                Unattested::EngineUnavailable => Status::Unavailable,
                Unattested::DirectConnection
                | Unattested::UnknownAddress
                | Unattested::NoSuchSocket
                | Unattested::NotEstablished
                | Unattested::Orphaned
                | Unattested::NoCgroup
                | Unattested::AnotherSocket
                | Unattested::NotRunning
                | Unattested::Raced
                | Unattested::SharedNetwork
                | Unattested::Unfiltered
                | Unattested::Ambiguous => Status::Forbidden,
            },
            Self::Denied(_) | Self::Forwarded => Status::Forbidden,
            Self::Unverified(why) if why.is_refusal() => Status::Forbidden,
            Self::Unverified(_) => Status::Unavailable,
            Self::UnknownPath | Self::PathNotGiven | Self::OtherRole => Status::NotFound,
            Self::Method { .. } => Status::NotAllowed,
            Self::Crowded | Self::Instance(_) => Status::Unavailable,
            Self::Credentials(failure) => match failure {
                Failure::Denied | Failure::TagsDenied | Failure::SourceIdentityDenied | Failure::Withdrawn => {
                    Status::Forbidden
                }
                Failure::Throttled
                | Failure::Unreachable
                | Failure::TimedOut
                | Failure::Rejected
                | Failure::Broken
                | Failure::WrongAnswer
                | Failure::Full
                | Failure::Limited
                | Failure::Suspended => Status::Unavailable,
            },
        }
    }

    /// Whether the connection ends with the answer: where its bytes cannot be trusted, or nothing can be had on it.
    #[must_use]
    pub const fn closes(self) -> bool {
        match self {
            Self::Malformed(_)
            | Self::TooSlow
            | Self::Unattested(_)
            | Self::Denied(_)
            | Self::Crowded
            | Self::Forwarded
            | Self::TokenTtl => true,
            Self::UnknownPath
            | Self::PathNotGiven
            | Self::OtherRole
            | Self::Method { .. }
            | Self::Token(_)
            | Self::Unverified(_)
            | Self::Credentials(_)
            | Self::Instance(_) => false,
        }
    }

    /// A short fixed word for audit records and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooSlow => "too-slow",
            Self::Unattested(unattested) => unattested.as_str(),
            Self::Denied(reason) => reason.as_str(),
            Self::Unverified(why) => why.as_str(),
            Self::Crowded => "crowded",
            Self::UnknownPath => "unknown-path",
            Self::PathNotGiven => "path-not-given",
            Self::OtherRole => "other-role",
            Self::Method { .. } => "method",
            Self::Forwarded => "forwarded",
            Self::TokenTtl => "token-ttl",
            Self::Token(fault) => match fault {
                TokenFault::Missing => "token-missing",
                TokenFault::Ambiguous => "token-ambiguous",
                TokenFault::Invalid => "token-invalid",
                TokenFault::Expired => "token-expired",
            },
            Self::Credentials(failure) => failure.as_str(),
            Self::Instance(unreadable) => unreadable.as_str(),
        }
    }

    /// A sentence for the audit record, where the word alone does not say all.
    #[must_use]
    pub fn detail(self) -> Option<String> {
        match self {
            Self::Malformed(malformed) => Some(malformed.to_string()),
            Self::Denied(reason) => Some(reason.to_string()),
            Self::Unverified(why) => Some(why.to_string()),
            Self::Credentials(failure) => failure.remedy().map(str::to_owned),
            Self::TooSlow
            | Self::Unattested(_)
            | Self::Crowded
            | Self::UnknownPath
            | Self::PathNotGiven
            | Self::OtherRole
            | Self::Method { .. }
            | Self::Forwarded
            | Self::TokenTtl
            | Self::Token(_)
            | Self::Instance(_) => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
