//! What an operator took away from a running proxy: a job, a project, a role or a container gets nothing, whatever the rules say. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Decision, Reason, read_labels};
use crate::caller::Facts;

/// Subjects that can be revoked at the same time. Nobody looks through more by hand; a rule that is removed revokes more, and for good.
const REVOKED_MAX: usize = 1024;
/// The beginning of a container's id that is enough to mean one: what the engine's listings show.
const ID_MIN: usize = 12;

/// Who is revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Every container of the job with this number, on whatever GitLab server.
    Job(u64),
    /// Every container of the project with this number, on whatever GitLab server.
    Project(u64),
    /// Everybody who gets the role with this ARN.
    Role(String),
    /// The container whose id begins so.
    Container(String),
}

impl Target {
    /// Takes the beginning of a container's id.
    ///
    /// # Errors
    /// It is not one, or could mean several.
    pub fn container(id: &str) -> Result<Self, &'static str> {
        if !id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err("not a container's id, which is lowercase hexadecimal");
        }
        if !(ID_MIN..=64).contains(&id.len()) {
            return Err("write 12 to 64 digits of the container's id");
        }
        Ok(Self::Container(id.to_owned()))
    }

    fn means(&self, facts: &Facts, decision: &Decision) -> bool {
        let job = || read_labels(&facts.labels, &facts.image_labels).ok();
        match self {
            Self::Job(id) => job().is_some_and(|job| job.job == *id),
            Self::Project(id) => job().is_some_and(|job| job.project == *id),
            Self::Role(arn) => matches!(decision, Decision::Grant(grant) if grant.role.arn() == arn),
            Self::Container(id) => facts.run.container_id.starts_with(id),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => write!(f, "job {id}"),
            Self::Project(id) => write!(f, "project {id}"),
            Self::Role(arn) => write!(f, "role {arn}"),
            Self::Container(id) => write!(f, "container {id}"),
        }
    }
}

/// Who is revoked now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations(BTreeSet<Target>);

/// There are too many already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{REVOKED_MAX} subjects are revoked already: lift some, or remove the rule that means them")]
pub struct TooMany;

impl Revocations {
    /// Adds a subject; whether it is new.
    ///
    /// # Errors
    /// There are too many.
    pub fn add(&mut self, subject: Target) -> Result<bool, TooMany> {
        if self.0.len() >= REVOKED_MAX && !self.0.contains(&subject) {
            return Err(TooMany);
        }
        Ok(self.0.insert(subject))
    }

    /// Takes a subject out; whether it was in.
    pub fn lift(&mut self, subject: &Target) -> bool {
        self.0.remove(subject)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.iter()
    }

    /// What is left of a decision.
    #[must_use]
    pub fn apply(&self, facts: &Facts, decision: Decision) -> Decision {
        // A refusal keeps its own reason: that one holds after the revocation is lifted too.
        let is_revoked =
            matches!(decision, Decision::Grant(_)) && self.0.iter().any(|subject| subject.means(facts, &decision));
        if is_revoked {
            Decision::Deny(Reason::Revoked)
        } else {
            decision
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{RULE, config, facts, label};
    use crate::policy::{Policy, decide};

    fn left(subject: Target, change: impl FnOnce(&mut Facts)) -> Decision {
        let mut facts = facts();
        change(&mut facts);
        let mut revocations = Revocations::default();
        assert_eq!(revocations.add(subject), Ok(true));
        let decision = decide(&Policy::new(&config(RULE)), &facts);
        revocations.apply(&facts, decision)
    }

    #[test]
    fn each_kind_of_subject_takes_away_its_own_and_nothing_else() {
        let deploy = "arn:aws:iam::123456789012:role/deploy".to_owned();
        for (own, other) in [
            (Target::Job(302), Target::Job(303)),
            (Target::Project(20), Target::Project(302)),
            (Target::Role(deploy.clone()), Target::Role(format!("{deploy}-eu"))),
            (
                Target::container(&"a".repeat(12)).unwrap(),
                Target::container(&"b".repeat(64)).unwrap(),
            ),
        ] {
            assert_eq!(left(own, |_| ()), Decision::Deny(Reason::Revoked));
            assert!(matches!(left(other, |_| ()), Decision::Grant(_)));
        }
        // The role counts that is given, not the rule's own.
        let selects = |facts: &mut Facts| facts.env.push("IAM_ROLE=deploy-eu".to_owned());
        assert!(matches!(left(Target::Role(deploy), selects), Decision::Grant(_)));
    }

    #[test]
    fn who_gets_nothing_anyway_keeps_the_reason() {
        let elsewhere = |facts: &mut Facts| label(facts, "project.id", "21");
        assert_eq!(
            left(Target::Job(302), elsewhere),
            Decision::Deny(Reason::NoRuleForProject)
        );
    }

    #[test]
    fn a_container_is_meant_by_enough_of_its_id() {
        for bad in ["", "a", "aaaaaaaaaaa", "AAAAAAAAAAAA", "runner-build", &"a".repeat(65)] {
            assert!(Target::container(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_number_of_subjects_is_bounded_and_lifting_makes_room() {
        let mut revocations = Revocations::default();
        for id in 0..1024 {
            assert_eq!(revocations.add(Target::Job(id)), Ok(true));
        }
        assert_eq!(revocations.add(Target::Job(1024)), Err(TooMany));
        assert_eq!(revocations.add(Target::Job(7)), Ok(false));
        assert!(revocations.lift(&Target::Job(7)) && !revocations.lift(&Target::Job(7)));
        assert_eq!(revocations.add(Target::Job(1024)), Ok(true));
        assert_eq!(revocations.iter().count(), 1024);
    }
}
