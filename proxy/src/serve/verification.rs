//! Has GitLab asked about a job, where its rule wants that, before the job is given anything but a session token, which alone is worth nothing.
//! Whom the rules refuse, or whose request is refused, nobody is asked about.

use super::judge::Step;
use super::{Caller, Service};
use crate::answer::{Answer, Body};
use crate::caller::Attestor;
use crate::credentials::AssumeRole;
use crate::gitlab::{Question, Unverified};
use crate::policy::Decision;
use crate::refusal::Refusal;

/// Whether only who is confirmed gets it.
pub(super) const fn is_for_confirmed(body: &Body) -> bool {
    match body {
        Body::Token(_) => false,
        Body::Text(_) | Body::Credentials(_) | Body::ContainerCredentials(..) => true,
    }
}

/// Whether an answer gives what only who is confirmed gets.
pub(super) const fn gives(answer: &Answer) -> bool {
    match answer {
        Answer::Content { body, .. } => is_for_confirmed(body),
        Answer::Refusal(_) => false,
    }
}

/// Whether a step leads to such an answer.
pub(super) const fn leads_there(step: &Step) -> bool {
    match step {
        Step::Answer(answer) => gives(answer),
        Step::Credentials { .. } | Step::ContainerCredentials | Step::Leaf { .. } => true,
    }
}

/// Waits for GitLab to confirm the job, unless it has, or nobody wants it to. As with credentials, nobody who is not confirmed by the kernel makes
/// the proxy ask anybody.
pub(super) async fn verify<A: Attestor, S: AssumeRole>(
    service: &Service<A, S>,
    caller: &Caller,
    pin: &A::Pin,
) -> Result<(), Refusal> {
    let Decision::Grant(grant) = &caller.standing.decision else {
        return Ok(());
    };
    let Some(wanted) = &grant.verify else { return Ok(()) };
    let run = &caller.standing.facts.run;
    if let Some(verdict) = service.verdicts.known(run, grant.edition) {
        return verdict.map_err(Refusal::Unverified);
    }
    // Rules that want it are for jobs alone.
    let job = caller
        .standing
        .job
        .as_ref()
        .ok_or(Refusal::Unverified(Unverified::Untold("job")))?;
    let question = Question::new(&caller.standing.facts, job, grant.edition, wanted).map_err(Refusal::Unverified)?;
    service.attestor.confirm(pin).map_err(Refusal::Unattested)?;
    let asked = Box::pin(service.verdicts.ask(run, question));
    asked.await.map_err(Refusal::Unverified)
}

/// Whether the job is confirmed at this moment, or need not be.
pub(super) fn holds<A: Attestor, S: AssumeRole>(service: &Service<A, S>, caller: &Caller) -> bool {
    match &caller.standing.decision {
        Decision::Grant(grant) if grant.verify.is_some() => {
            service.verdicts.known(&caller.standing.facts.run, grant.edition) == Some(Ok(()))
        }
        Decision::Grant(_) | Decision::Deny(_) => true,
    }
}
