//! The endpoint for credentials of containers, which some clients can use and no other: one path, and a session token of the container as its
//! `Authorization`. Who asks is proved by the kernel as everywhere; the token proves what it proves to the metadata service, that the request is
//! the container's own and was not forged through a server in it (SSRF), which cannot set that header. Pure.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::judge::{DATA_METHODS, Step, Terms, granted, seconds};
use crate::answer::Answer;
use crate::caller::Run;
use crate::firewall::{CONTAINER_ENDPOINT, ENDPOINTS};
use crate::policy::Decision;
use crate::refusal::Refusal;
use crate::request::{Method, Named, Once, Request};
use crate::token::TokenFault;

/// Where the credentials are, as on EKS. On ECS the path has a random part, which stands for the task; here nothing of a path stands for anybody.
const PATH: &str = "/v1/credentials";
/// Its name in audit records and metric labels.
pub(super) const CLASS: &str = "container-credentials";

/// The service that a connection was made to, if it is one of ours.
pub(super) fn service_at(destination: SocketAddr, terms: &Terms) -> Option<Named> {
    if ENDPOINTS.contains(&destination) {
        Some(Named::Metadata)
    } else {
        (terms.container_endpoint && destination == CONTAINER_ENDPOINT).then_some(Named::Container)
    }
}

/// Judges a request to it.
pub(super) fn judge(terms: &Terms, run: &Run, decision: &Decision, request: &Request<'_>, now: SystemTime) -> Step {
    match weigh(terms, run, decision, request, now) {
        Ok(()) => Step::ContainerCredentials,
        Err(refusal) => Step::Answer(Answer::Refusal(refusal)),
    }
}

fn weigh(terms: &Terms, run: &Run, decision: &Decision, request: &Request<'_>, now: SystemTime) -> Result<(), Refusal> {
    if request.path != PATH {
        return Err(Refusal::UnknownPath);
    }
    match request.method {
        Method::Get | Method::Head => {}
        Method::Put | Method::Other => return Err(Refusal::Method { allow: DATA_METHODS }),
    }
    let grant = granted(decision, now)?;
    // Whatever the rules say of IMDSv1: here it is the only sign that the request is the container's own.
    match request.authorization {
        Once::One(token) => {
            let verified = terms.tokens.verify(run, grant.edition, token, seconds(now));
            verified.map(drop).map_err(Refusal::Token)
        }
        Once::Absent => Err(Refusal::Token(TokenFault::Missing)),
        Once::Ambiguous => Err(Refusal::Token(TokenFault::Ambiguous)),
    }
}
