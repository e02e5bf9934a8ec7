//! What to answer a request: a pure function of settings, caller, time and request. Says where credentials are needed; does not get them.

use std::time::{Duration, SystemTime};

use crate::answer::{Answer, Body, describe_profile};
use crate::caller::{Level, Run};
use crate::credentials::write_time;
use crate::instance::Leaf;
use crate::policy::{Decision, Grant, Reason};
use crate::refusal::Refusal;
use crate::request::{Method, Once, Request};
use crate::routes::{Route, route};
use crate::token::{NONCE_BYTES, TokenFault, Tokens, parse_ttl};

pub(super) const DATA_METHODS: &str = "GET, HEAD";
const TOKEN_METHODS: &str = "PUT";
const ANY_METHODS: &str = "GET, HEAD, PUT";

/// What does not change between requests.
#[derive(Debug)]
pub struct Terms {
    /// Mints and verifies session tokens.
    pub tokens: Tokens,
    /// What `placement/region` answers.
    pub region: String,
    /// By what callers are told apart, for the record.
    pub attestation: Level,
    /// Whether the endpoint for containers is answered.
    pub container_endpoint: bool,
    /// When the proxy started: the age of what never changes.
    pub started: SystemTime,
}

/// What to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Answer this.
    Answer(Answer),
    /// Answer with the caller's credentials; the token has this long to live.
    Credentials {
        /// Seconds, unless no token was used.
        ttl: Option<u32>,
    },
    /// Answer with the caller's credentials, as those of a container.
    ContainerCredentials,
    /// Answer with a value of the instance, which may have to be asked for.
    Leaf {
        /// Which.
        leaf: Leaf,
        /// Seconds, unless no token was used.
        ttl: Option<u32>,
    },
}

/// Judges a request.
#[must_use]
pub fn judge(
    terms: &Terms,
    run: &Run,
    decision: &Decision,
    request: &Request<'_>,
    now: SystemTime,
    nonce: impl FnOnce() -> [u8; NONCE_BYTES],
) -> Step {
    match weigh(terms, run, decision, request, now, nonce) {
        Ok(step) => step,
        Err(refusal) => Step::Answer(Answer::Refusal(refusal)),
    }
}

/// What a container is granted at this time.
pub(super) fn granted(decision: &Decision, now: SystemTime) -> Result<&Grant, Refusal> {
    match decision {
        Decision::Grant(grant) if grant.until.is_some_and(|until| now > until) => Err(Refusal::Denied(Reason::TooOld)),
        Decision::Grant(grant) => Ok(grant),
        Decision::Deny(reason) => Err(Refusal::Denied(*reason)),
    }
}

pub(super) fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn weigh(
    terms: &Terms,
    run: &Run,
    decision: &Decision,
    request: &Request<'_>,
    now: SystemTime,
    nonce: impl FnOnce() -> [u8; NONCE_BYTES],
) -> Result<Step, Refusal> {
    let route = route(request.path);
    match (request.method, route) {
        (Method::Other, _) => return Err(Refusal::Method { allow: ANY_METHODS }),
        (_, Route::Unknown) => return Err(Refusal::UnknownPath),
        (Method::Get | Method::Head, Route::Token) => return Err(Refusal::Method { allow: TOKEN_METHODS }),
        (Method::Put, Route::RoleList | Route::Credentials { .. } | Route::IamInfo | Route::Leaf(_)) => {
            return Err(Refusal::Method { allow: DATA_METHODS });
        }
        (Method::Put, Route::Token)
        | (Method::Get | Method::Head, Route::RoleList | Route::Credentials { .. } | Route::IamInfo | Route::Leaf(_)) =>
            {}
    }
    let grant = granted(decision, now)?;
    let seconds = seconds(now);
    if route == Route::Token {
        // The real service refuses a token to whoever comes through an intermediary, since a forged request might.
        if request.is_forwarded {
            return Err(Refusal::Forwarded);
        }
        let Once::One(text) = request.token_ttl else {
            return Err(Refusal::TokenTtl);
        };
        let ttl = parse_ttl(text).ok_or(Refusal::TokenTtl)?;
        let token = terms.tokens.mint(run, grant.edition, ttl, seconds, nonce());
        return Ok(Step::Answer(Answer::Content {
            body: Body::Token(token),
            ttl: Some(ttl),
            modified: now,
        }));
    }
    let ttl = match request.token {
        Once::One(token) => {
            let verified = terms.tokens.verify(run, grant.edition, token, seconds);
            Some(verified.map_err(Refusal::Token)?)
        }
        Once::Ambiguous => return Err(Refusal::Token(TokenFault::Ambiguous)),
        Once::Absent if grant.require_token => return Err(Refusal::Token(TokenFault::Missing)),
        Once::Absent => None,
    };
    let text = |text: &str, modified| {
        Ok(Step::Answer(Answer::Content {
            body: Body::Text(text.to_owned()),
            ttl,
            modified,
        }))
    };
    match route {
        Route::RoleList => text(grant.role.name(), terms.started),
        Route::Leaf(leaf) if !grant.paths.contains(&leaf) => Err(Refusal::PathNotGiven),
        Route::Leaf(Leaf::Region) => text(&terms.region, terms.started),
        Route::Leaf(leaf) => Ok(Step::Leaf { leaf, ttl }),
        Route::IamInfo => {
            let whole_hour = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds - seconds % 3600);
            let updated = write_time(whole_hour).unwrap_or_default();
            text(&describe_profile(&grant.role, &updated), whole_hour)
        }
        Route::Credentials { role } if role == grant.role.name() => Ok(Step::Credentials { ttl }),
        Route::Credentials { .. } => Err(Refusal::OtherRole),
        Route::Token | Route::Unknown => Err(Refusal::UnknownPath),
    }
}
