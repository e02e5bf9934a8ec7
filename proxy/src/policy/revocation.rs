//! What an operator took away from a running proxy: a job, a project, a role or a container gets nothing, whatever the rules say. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::register::whole_seconds;
use super::{Decision, Reason, read_labels};
use crate::caller::Facts;
use crate::config::Role;

/// Subjects that can be revoked at the same time. Nobody looks through more by hand; a rule that is removed revokes more, and for good.
pub(super) const REVOKED_MAX: usize = 1024;
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

    /// Whether an operator can have meant it: it may come over a wire, or from a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Job(_) | Self::Project(_) => Ok(()),
            // Of anything else the operator would believe that it is taken away.
            Self::Role(arn) => Role::is_arn(arn).then_some(()).ok_or("not the ARN of a role"),
            Self::Container(id) => Self::container(id).map(drop),
        }
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

/// Who is revoked now, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations(BTreeMap<Target, SystemTime>);

/// There are too many already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{REVOKED_MAX} subjects are revoked already: lift some, or remove the rule that means them")]
pub struct TooMany;

impl Revocations {
    /// Adds a subject; whether it is new.
    ///
    /// # Errors
    /// There are too many.
    pub fn add(&mut self, subject: Target, since: SystemTime) -> Result<bool, TooMany> {
        if self.0.contains_key(&subject) {
            return Ok(false);
        }
        if self.0.len() >= REVOKED_MAX {
            return Err(TooMany);
        }
        self.0.insert(subject, whole_seconds(since));
        Ok(true)
    }

    /// Takes a subject out; whether it was in.
    pub fn lift(&mut self, subject: &Target) -> bool {
        self.0.remove(subject).is_some()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.keys()
    }

    /// All of them, in order, and since when.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Target, SystemTime)> {
        self.0.iter().map(|(subject, since)| (subject, *since))
    }

    /// Whether containers are among those who were revoked before that time.
    #[must_use]
    pub fn has_containers_of(&self, before: SystemTime) -> bool {
        let mut entries = self.entries();
        entries.any(|(subject, since)| since < before && matches!(subject, Target::Container(_)))
    }

    /// Lifts containers that were revoked before that time and that the engine does not have: its ids never come again. Nothing else ends by
    /// itself: a job may be started long after it was made, a project and a role have no end.
    pub fn lift_gone(&mut self, before: SystemTime, existing: &[String]) -> Vec<Target> {
        let is_gone = |subject: &Target, since: SystemTime| match subject {
            Target::Container(id) => since < before && !existing.iter().any(|one| one.starts_with(id)),
            Target::Job(_) | Target::Project(_) | Target::Role(_) => false,
        };
        let gone = self.entries().filter(|(subject, since)| is_gone(subject, *since));
        let gone: Vec<Target> = gone.map(|(subject, _)| subject.clone()).collect();
        for subject in &gone {
            self.lift(subject);
        }
        gone
    }

    /// What is left of a decision.
    #[must_use]
    pub fn apply(&self, facts: &Facts, decision: Decision) -> Decision {
        // A refusal keeps its own reason: that one holds after the revocation is lifted too.
        let is_revoked =
            matches!(decision, Decision::Grant(_)) && self.iter().any(|subject| subject.means(facts, &decision));
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
    use std::time::Duration;

    use crate::fixture::{PausedClock, RULE, config, facts, label};
    use crate::policy::{Policy, decide};

    fn left(subject: Target, change: impl FnOnce(&mut Facts)) -> Decision {
        let mut facts = facts();
        change(&mut facts);
        let mut revocations = Revocations::default();
        assert_eq!(revocations.add(subject, PausedClock::epoch()), Ok(true));
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
    fn a_role_is_meant_by_its_arn() {
        let is_good = |arn: &str| Target::Role(arn.to_owned()).check().is_ok();
        assert!(is_good("arn:aws:iam::123456789012:role/deploy"));
        for bad in [
            "",
            "deploy",
            "arn:aws:iam::123456789012:user/deploy",
            "x:role/deploy",
            "arn:aws:iam::1:role/a b",
        ] {
            assert!(!is_good(bad), "{bad}");
        }
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
        let now = PausedClock::epoch();
        for id in 0..1024 {
            assert_eq!(revocations.add(Target::Job(id), now), Ok(true));
        }
        assert_eq!(revocations.add(Target::Job(1024), now), Err(TooMany));
        assert_eq!(revocations.add(Target::Job(7), now), Ok(false));
        assert!(revocations.lift(&Target::Job(7)) && !revocations.lift(&Target::Job(7)));
        assert_eq!(revocations.add(Target::Job(1024), now), Ok(true));
        assert_eq!(revocations.iter().count(), 1024);
    }

    #[test]
    fn only_containers_that_are_gone_for_long_end_by_themselves() {
        let mut revocations = Revocations::default();
        let old = PausedClock::epoch();
        let before = old + Duration::from_secs(1);
        let container = |letter: &str| Target::container(&letter.repeat(12)).unwrap();
        let role = Target::Role("arn:aws:iam::123456789012:role/deploy".to_owned());
        for subject in [
            Target::Job(302),
            Target::Project(20),
            role,
            container("a"),
            container("b"),
        ] {
            revocations.add(subject, old).unwrap();
        }
        assert!(revocations.has_containers_of(before) && !revocations.has_containers_of(old));
        revocations.add(container("c"), before).unwrap();
        assert_eq!(revocations.lift_gone(before, &["a".repeat(64)]), [container("b")]);
        assert_eq!(revocations.iter().count(), 5);
        assert_eq!(revocations.lift_gone(before, &["a".repeat(64)]), []);
    }
}
