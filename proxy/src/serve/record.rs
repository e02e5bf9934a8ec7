//! Turns an answer into its audit record and its metric.

use super::verification::is_for_confirmed;
use super::{Caller, Service};
use crate::answer::Body;
use crate::audit::{Action, AuditLog, Given, Issue, Record};
use crate::caller::{Attestor, Connection, Facts};
use crate::control::{Order, Peer, Reply};
use crate::credentials::{AssumeRole, CacheEvent, Issued, Key, Observe, write_time};
use crate::policy::{Decision, Grant, Job, Reason, read_labels};
use crate::refusal::{Refusal, Status};

const GRANTED: &str = "granted";
const OBSERVED: &str = "observed";
const NO_ROUTE: &str = "none";
const PREFETCH: &str = "prefetch";
/// What the canary of the self-test asks for, and why it gets it.
pub(super) const SELF_TEST: &str = "self-test";

/// The word for what is given.
const fn word(would_be: Option<Reason>) -> &'static str {
    match would_be {
        None => GRANTED,
        Some(_) => OBSERVED,
    }
}

/// The rule that gives it, if one does.
fn rule(grant: &Grant) -> Option<&str> {
    grant.observed.is_none().then_some(grant.rule.as_str())
}

/// Whether GitLab confirmed the job, if the answer depends on that.
fn verified(grant: &Grant, answer: Result<&Body, Refusal>) -> Option<bool> {
    grant.verify.as_ref()?;
    match answer {
        Ok(body) => is_for_confirmed(body).then_some(true),
        Err(Refusal::Unverified(_)) => Some(false),
        Err(_) => None,
    }
}

impl<A: Attestor, S: AssumeRole> Service<A, S> {
    /// Records what an attested caller is answered.
    pub(super) fn record(&self, caller: &Caller, class: Option<&'static str>, answer: Result<&Body, Refusal>) {
        let is_canary = class == Some(SELF_TEST);
        let would_be = match (&caller.standing.decision, answer) {
            (Decision::Grant(grant), Ok(_)) if !is_canary => grant.observed,
            (Decision::Grant(_) | Decision::Deny(_), _) => None,
        };
        let (status, reason) = match answer {
            Ok(_) if is_canary => (Status::Ok, SELF_TEST),
            Ok(_) => (Status::Ok, word(would_be)),
            Err(refusal) => (refusal.status(), refusal.as_str()),
        };
        if let Some(would_be) = would_be {
            self.metrics.count_observed(would_be.as_str());
        }
        self.metrics
            .count_answer(class.unwrap_or(NO_ROUTE), status.line(), reason);
        let given = match answer {
            Ok(Body::Credentials(issued) | Body::ContainerCredentials(issued, _)) => Some(issued),
            Ok(Body::Token(_) | Body::Text(_)) | Err(_) => None,
        };
        let record = || {
            let grant = match &caller.standing.decision {
                Decision::Grant(grant) => Some(&**grant),
                Decision::Deny(_) => None,
            };
            Record {
                client: caller.client.to_string(),
                rule: grant.and_then(rule),
                role: grant.map(|grant| grant.role.arn()),
                session: grant.map(|grant| grant.told.session_name.as_str()),
                access_key: given.map(|issued| issued.access_key_id()),
                route: class,
                status: status.code(),
                reason,
                verified: grant.and_then(|grant| verified(grant, answer)),
                would_be: would_be.map(Reason::as_str),
                detail: match answer {
                    Ok(_) => would_be.map(|reason| reason.to_string()),
                    Err(refusal) => refusal.detail(),
                },
                ..self.describe(&caller.standing.facts, caller.standing.job.as_ref())
            }
        };
        match given {
            Some(issued) => {
                let given = Given {
                    run: &caller.standing.facts.run,
                    access_key: issued.access_key_id(),
                    expires: issued.expires(),
                    now: self.clock.now(),
                };
                self.audit.record_given(&given, record);
            }
            None => self.audit.record(&caller.standing.facts.run.container_id, record),
        }
    }

    /// Records that STS is asked for a container that has not asked itself. Nobody is answered.
    pub(super) fn record_prefetch(&self, facts: &Facts, grant: &Grant) {
        let job = read_labels(&facts.labels, &facts.image_labels).ok();
        self.audit.record(&facts.run.container_id, || Record {
            rule: rule(grant),
            role: Some(grant.role.arn()),
            session: Some(&grant.told.session_name),
            route: Some(PREFETCH),
            status: Status::Ok.code(),
            reason: word(grant.observed),
            would_be: grant.observed.map(Reason::as_str),
            detail: grant.observed.map(|reason| reason.to_string()),
            ..self.describe(facts, job.as_ref())
        });
    }

    /// What every record of a container says of it.
    fn describe<'r>(&self, facts: &'r Facts, job: Option<&'r Job>) -> Record<'r> {
        Record {
            time: write_time(self.clock.now()).unwrap_or_default(),
            container: Some(&facts.run.container_id),
            attestation: Some(self.terms.attestation.as_str()),
            kind: job.map(|job| job.kind.as_str()),
            gitlab: job.map(|job| job.gitlab.as_str()),
            runner: job.map(|job| job.runner.as_str()),
            project: job.map(|job| job.project),
            pipeline: job.map(|job| job.pipeline),
            job: job.map(|job| job.job),
            ..Record::default()
        }
    }

    /// Obeys an order and records it.
    pub fn obey_and_record(&self, order: &Order, peer: Peer) -> Reply {
        let reply = self.obey(order);
        let (is_change, forgotten, refused, unkept) = match &reply {
            Reply::Done {
                is_change,
                forgotten,
                unkept,
                ..
            } => (*is_change, *forgotten, None, unkept.clone()),
            Reply::Refused { why } => (false, 0, Some(why.clone()), None),
        };
        let subject = match order {
            Order::Revoke(subject) | Order::Lift(subject) => Some(subject.to_string()),
            Order::List => None,
        };
        tracing::info!(%order, subject, is_change, forgotten, user = peer.user, "an operator gave an order");
        if let Some(why) = &unkept {
            tracing::warn!(why, "the order holds until the proxy ends, and not after that");
        }
        self.audit.record_order(&Action {
            time: write_time(self.clock.now()).unwrap_or_default(),
            order: order.to_string(),
            subject,
            user: peer.user,
            process: peer.process,
            is_change,
            forgotten,
            refused,
            unkept,
        });
        reply
    }

    /// Records what somebody is answered who could not be tied to a container.
    pub(super) fn record_stranger(&self, connection: &Connection, refusal: Refusal) {
        let status = refusal.status();
        self.metrics.count_answer(NO_ROUTE, status.line(), refusal.as_str());
        self.audit.record(&connection.client.ip().to_string(), || Record {
            time: write_time(self.clock.now()).unwrap_or_default(),
            client: connection.client.to_string(),
            attestation: Some(self.terms.attestation.as_str()),
            status: status.code(),
            reason: refusal.as_str(),
            detail: refusal.detail(),
            ..Record::default()
        });
    }
}

/// Every key that STS gives is recorded, also one that is asked for ahead and that nobody comes to get: a key that is in no record was given to
/// somebody else.
impl Observe for AuditLog {
    fn observe(&self, _event: CacheEvent) {}

    fn witness(&self, key: &Key, issued: &Issued) {
        self.record_issue(&Issue {
            time: write_time(issued.issued()).unwrap_or_default(),
            issued: issued.access_key_id(),
            role: key.role.arn(),
            session: &key.session_name,
            expires: write_time(issued.expires()).unwrap_or_default(),
        });
    }
}
