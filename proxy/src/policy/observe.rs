//! What a container is given that the rules refuse while nothing is enforced: what the earlier proxy gave it, if that is on the operator's list.

use super::{Edition, Grant, Policy, Reason, Told, labels};
use crate::caller::Facts;
use crate::config::{Identity, Session, Template};

/// The name under which sessions of containers go that are of no job.
const NAME: &str = "observed";

/// What is given instead of the refusal.
pub(super) fn grant(policy: &Policy, facts: &Facts, refused: Reason) -> Option<Grant> {
    let (edition, compat): (Edition, _) = policy.observed.zip(policy.compat.as_ref())?;
    let (role, external_id) = compat.before(&facts.env, &policy.home)?;
    // The earlier proxy looked at no label, so that bad ones keep nobody from anything here: they only name the session.
    let told = match labels::read(&facts.labels, &facts.image_labels) {
        Ok(job) => Told::of_job(&Identity::default(), &job, facts),
        Err(_) => {
            let identity = Identity {
                name: Template::of_container(NAME),
                ..Identity::default()
            };
            Told::of_container(&identity, facts)
        }
    };
    Some(Grant {
        role: role.clone(),
        external_id: external_id.cloned(),
        session: Session::default(),
        paths: policy.paths.clone(),
        duration_seconds: policy.session_seconds,
        told,
        require_token: policy.require_token,
        verify: None,
        rule: String::new(),
        observed: Some(refused),
        edition,
        until: None,
    })
}
