//! Turns an answer into its audit record and its metric.

use super::{Caller, Service};
use crate::answer::Body;
use crate::audit::{Action, Record};
use crate::caller::{Attestor, Connection, Facts};
use crate::control::{Order, Peer, Reply};
use crate::credentials::{AssumeRole, write_time};
use crate::policy::{Decision, Grant, read_labels};
use crate::refusal::{Refusal, Status};

const GRANTED: &str = "granted";
const NO_ROUTE: &str = "none";
const PREFETCH: &str = "prefetch";

impl<A: Attestor, S: AssumeRole> Service<A, S> {
    /// Records what an attested caller is answered.
    pub(super) fn record(&self, caller: &Caller, class: Option<&'static str>, answer: Result<&Body, Refusal>) {
        let (status, reason) = match answer {
            Ok(_) => (Status::Ok, GRANTED),
            Err(refusal) => (refusal.status(), refusal.as_str()),
        };
        self.metrics
            .count_answer(class.unwrap_or(NO_ROUTE), status.line(), reason);
        self.audit.record(&caller.facts.run.container_id, || {
            let job = caller.job.as_ref();
            let grant = match &caller.decision {
                Decision::Grant(grant) => Some(&**grant),
                Decision::Deny(_) => None,
            };
            Record {
                time: write_time(self.clock.now()).unwrap_or_default(),
                client: caller.client.to_string(),
                container: Some(&caller.facts.run.container_id),
                kind: job.map(|job| job.kind.as_str()),
                gitlab: job.map(|job| job.gitlab.as_str()),
                runner: job.map(|job| job.runner.as_str()),
                project: job.map(|job| job.project),
                pipeline: job.map(|job| job.pipeline),
                job: job.map(|job| job.job),
                rule: grant.map(|grant| grant.rule.as_str()),
                role: grant.map(|grant| grant.role.arn()),
                session: grant.map(|grant| grant.told.session_name.as_str()),
                access_key: match answer {
                    Ok(Body::Credentials(issued) | Body::ContainerCredentials(issued, _)) => {
                        Some(issued.access_key_id())
                    }
                    Ok(Body::Token(_) | Body::Text(_)) | Err(_) => None,
                },
                route: class,
                status: status.code(),
                reason,
                detail: answer.err().and_then(Refusal::detail),
                suppressed: 0,
            }
        });
    }

    /// Records that STS is asked for a container that has not asked itself. Nobody is answered.
    pub(super) fn record_prefetch(&self, facts: &Facts, grant: &Grant) {
        let job = read_labels(&facts.labels, &facts.image_labels).ok();
        self.audit.record(&facts.run.container_id, || {
            let job = job.as_ref();
            Record {
                time: write_time(self.clock.now()).unwrap_or_default(),
                container: Some(&facts.run.container_id),
                kind: job.map(|job| job.kind.as_str()),
                gitlab: job.map(|job| job.gitlab.as_str()),
                runner: job.map(|job| job.runner.as_str()),
                project: job.map(|job| job.project),
                pipeline: job.map(|job| job.pipeline),
                job: job.map(|job| job.job),
                rule: Some(&grant.rule),
                role: Some(grant.role.arn()),
                session: Some(&grant.told.session_name),
                route: Some(PREFETCH),
                status: Status::Ok.code(),
                reason: GRANTED,
                ..Record::default()
            }
        });
    }

    /// Obeys an order and records it.
    pub fn obey_and_record(&self, order: &Order, peer: Peer) -> Reply {
        let reply = self.obey(order);
        let (is_change, forgotten, refused) = match &reply {
            Reply::Done {
                is_change, forgotten, ..
            } => (*is_change, *forgotten, None),
            Reply::Refused { why } => (false, 0, Some(why.clone())),
        };
        let subject = match order {
            Order::Revoke(subject) | Order::Lift(subject) => Some(subject.to_string()),
            Order::List => None,
        };
        tracing::info!(%order, subject, is_change, forgotten, user = peer.user, "an operator gave an order");
        self.audit.record_order(&Action {
            time: write_time(self.clock.now()).unwrap_or_default(),
            order: order.to_string(),
            subject,
            user: peer.user,
            process: peer.process,
            is_change,
            forgotten,
            refused,
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
            status: status.code(),
            reason: refusal.as_str(),
            detail: refusal.detail(),
            ..Record::default()
        });
    }
}
