//! One rule of the operator: what the containers get that it is for. Knows no file and no container.

use std::collections::BTreeSet;

use super::subject::meet;
use super::{CHAINED_SESSION_SECONDS, ExternalId, Field, Identity, Image, Kind, Role, Session, Subject, Verification};
use crate::instance::Leaf;

/// One rule of the operator: which containers, and what they get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// For audit and explanation.
    pub name: String,
    /// Whom it is for.
    pub subject: Subject,
    /// Only these images, by id or digest; empty: any.
    pub images: BTreeSet<Image>,
    /// What the container gets when it names no role.
    pub role: Option<Role>,
    /// Roles that `IAM_ROLE` may select beside it.
    pub selectable: BTreeSet<Role>,
    /// Given to STS with every role of this rule.
    pub external_id: Option<ExternalId>,
    /// What narrows every session of this rule.
    pub session: Session,
    /// What STS is told of who a session is for.
    pub identity: Identity,
    /// What its containers may read of the instance; absent: what `[imds]` says.
    pub paths: Option<BTreeSet<Leaf>>,
    /// IMDSv2 only. Where the rule does not say, `imds.require_token` does.
    pub require_token: bool,
    /// What GitLab must confirm of a job before it is given anything; absent: it is not asked.
    pub verify: Option<Verification>,
}

impl Rule {
    /// What an operator should know of the rule although it is no fault.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.warn_of_duration()
            .into_iter()
            .chain(self.warn_of_identity())
            .chain(self.warn_of_runner())
            .chain(self.warn_of_kinds())
            .collect()
    }

    fn warn_of_runner(&self) -> Option<String> {
        let jobs = self.subject.jobs()?;
        (jobs.runner.may_collide() && jobs.system_ids.is_empty()).then(|| {
            format!(
                "rule {:?} has runner = {:?}, which begins as GitLab's routable tokens did until 2025: with what the runners of a project or group have \
                 in common, so that others may have the same id; narrow the rule with system_id, or give the runner a new token",
                self.name,
                jobs.runner.as_str()
            )
        })
    }

    /// The runner gives a job's token to the containers of its script alone.
    fn warn_of_kinds(&self) -> Option<String> {
        let kinds = &self.subject.jobs().filter(|_| self.verify.is_some())?.kinds;
        let without = kinds
            .iter()
            .filter(|kind| !matches!(kind, Kind::Build | Kind::Predefined));
        let without: Vec<&str> = without.map(|kind| kind.as_str()).collect();
        (!without.is_empty()).then(|| {
            format!(
                "rule {:?} has verify = true: containers of kind {} have no CI_JOB_TOKEN from the runner, so that they are refused",
                self.name,
                without.join(" and ")
            )
        })
    }

    fn warn_of_identity(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.subject.jobs().is_some() && !self.identity.name.names(Field::Job) {
            warnings.push(format!(
                "rule {:?} has a session_name without {{job}}: jobs share sessions, and CloudTrail cannot tell whose a call was",
                self.name
            ));
        }
        if self.identity.is_told(Field::Pipeline) {
            warnings.push(format!(
                "rule {:?} tells STS of {{pipeline}} in tags or source_identity: before GitLab Runner 19.0 that is what the job's author says \
                 (CI_PIPELINE_ID), so that nothing may be allowed by it",
                self.name
            ));
        }
        warnings
    }

    /// What an operator should know of the duration of the rule's sessions.
    fn warn_of_duration(&self) -> Option<String> {
        let seconds = self.session.duration_seconds?;
        let what = if seconds > CHAINED_SESSION_SECONDS {
            "if the proxy's own credentials are a role's session, STS refuses more than an hour (role chaining)"
        } else if seconds < 1800 {
            "credentials will at times be served with less than 15 minutes left, and some SDKs then ask again at every call"
        } else {
            return None;
        };
        Some(format!("rule {:?} has duration_seconds = {seconds}: {what}", self.name))
    }

    /// Whether some container could match both rules, as far as the rules alone can tell.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.subject.overlaps(&other.subject) && meet(&self.images, &other.images)
    }

    /// Whether both rules give a container the same roles, in whatever sessions.
    #[must_use]
    pub fn has_roles_of(&self, other: &Self) -> bool {
        self.role == other.role && self.selectable == other.selectable
    }

    /// Whether both rules give a container the same.
    #[must_use]
    pub fn has_outcome_of(&self, other: &Self) -> bool {
        self.has_roles_of(other)
            && self.external_id == other.external_id
            && self.session == other.session
            && self.identity == other.identity
            && self.paths == other.paths
            && self.require_token == other.require_token
            && self.verify == other.verify
    }
}
