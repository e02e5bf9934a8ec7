//! What is traced: every request of a container, and every call of STS. Without `[traces]` nobody listens, and a span costs the look at a flag.
//!
//! A request's `traceparent` is not read: a job would choose what its operator's traces are joined with. Values are those of the audit record,
//! never a secret, a token or a path that a container chose.

mod collector;

pub use collector::{Export, NoExport, export};
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::caller::Facts;
use crate::credentials::{Failure, Key};
use crate::refusal::Refusal;

/// The target of every span: the log does not show them.
pub(crate) const TARGET: &str = "spans";

/// A container's request, from when its head has been read until its answer is written.
pub(crate) fn request(facts: &Facts) -> Span {
    info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.kind = "server",
        container.id = %facts.run.container_id,
        route = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
    )
}

/// What a request was answered.
pub(crate) fn tell_answer(span: &Span, route: Option<&'static str>, end: Result<(), Refusal>) {
    span.record("route", route);
    let status = end.map_or_else(|refusal| refusal.status().code(), |()| 200);
    span.record("http.response.status_code", i64::from(status));
    if let Err(refusal) = end {
        span.record("error.type", refusal.as_str());
    }
}

/// A call of STS, linked with the request that caused it, if one did: others wait for the same call, and it may outlast them all.
pub(crate) fn assume_role(key: &Key) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "AssumeRole",
        otel.kind = "client",
        aws.role = key.role.arn(),
        aws.session = key.session_name,
        error.type = Empty,
    );
    span.follows_from(Span::current());
    span
}

/// Why the call that is going on gave nothing.
pub(crate) fn tell_failure(failure: Failure) {
    Span::current().record("error.type", failure.as_str());
}
