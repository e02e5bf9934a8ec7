//! What a container gets: a pure function of the operator's rules and of what the engine says. Knows no socket, no clock, no file.

mod labels;
mod matching;
mod reason;
mod revocation;
mod selector;
mod session;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::caller::Facts;
use crate::config::{Config, ExternalId, Home, Role, Rule, Session};
use crate::instance::Leaf;

pub use labels::{Job, read as read_labels};
pub use reason::Reason;
pub use revocation::{Revocations, Target, TooMany};
pub use session::Told;
pub use trace::{Trace, Weighed, trace};

/// The operator's rules, ready to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    home: Home,
    session_seconds: u32,
    rules: Vec<Enacted>,
    next: Edition,
    /// What rules that do not say let their containers read of the instance.
    paths: BTreeSet<Leaf>,
    /// How much longer than its job's timeout a container may live.
    grace: Duration,
}

/// A rule as it was read once. One that is changed, or removed and written again, is another edition: tokens and credentials are bound to it,
/// so that none of an earlier edition counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edition(u64);

impl Edition {
    /// The first one of a process.
    pub const FIRST: Self = Self(0);

    /// Its number: no two editions of a process have the same.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Enacted {
    edition: Edition,
    rule: Rule,
}

impl Policy {
    /// Takes the rules of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let nothing = Self {
            home: config.aws.home.clone(),
            session_seconds: config.aws.session_seconds,
            rules: Vec::new(),
            next: Edition::FIRST,
            paths: config.imds.paths.clone(),
            grace: config.attestation.grace,
        };
        nothing.succeed(config)
    }

    /// The policy that takes this one's place. A rule that is word for word the same stays the same edition; every other is a new one.
    #[must_use]
    pub fn succeed(&self, config: &Config) -> Self {
        let mut next = self.next;
        let rules = config.rules.iter().map(|rule| {
            let kept = self.rules.iter().find(|enacted| enacted.rule == *rule);
            let edition = kept.map_or(next, |enacted| enacted.edition);
            if kept.is_none() {
                next = next.next();
            }
            Enacted {
                edition,
                rule: rule.clone(),
            }
        });
        Self {
            home: config.aws.home.clone(),
            session_seconds: config.aws.session_seconds,
            rules: rules.collect(),
            next,
            paths: config.imds.paths.clone(),
            grace: config.attestation.grace,
        }
    }

    /// Whether a rule of this edition is in force.
    #[must_use]
    pub fn has(&self, edition: Edition) -> bool {
        self.rules.iter().any(|enacted| enacted.edition == edition)
    }

    /// Names of the rules that the other policy lacks: whom it has not, or not with these words.
    #[must_use]
    pub fn lost_in(&self, other: &Self) -> Vec<&str> {
        let lost = self.rules.iter().filter(|enacted| !other.has(enacted.edition));
        lost.map(|enacted| enacted.rule.name.as_str()).collect()
    }

    /// The editions in force.
    pub fn editions(&self) -> impl Iterator<Item = Edition> + '_ {
        self.rules.iter().map(|enacted| enacted.edition)
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether every container is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// What a container is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The one role.
    pub role: Role,
    /// The rule's external id.
    pub external_id: Option<ExternalId>,
    /// What narrows the session.
    pub session: Session,
    /// What it may read of the instance.
    pub paths: BTreeSet<Leaf>,
    /// `DurationSeconds`
    pub duration_seconds: u32,
    /// What STS is told of who the session is for, so that CloudTrail can be joined.
    pub told: Told,
    /// IMDSv2 only.
    pub require_token: bool,
    /// The rule's name.
    pub rule: String,
    /// Which edition of it.
    pub edition: Edition,
    /// When the job must be over, at the latest: a crashed runner leaves containers behind, with their role (rule A11). Absent for what is
    /// of no job: whoever started it says when it ends.
    pub until: Option<SystemTime>,
}

/// What policy says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It gets this and nothing else.
    Grant(Box<Grant>),
    /// It gets nothing.
    Deny(Reason),
}

/// Decides what a container gets.
#[must_use]
pub fn decide(policy: &Policy, facts: &Facts) -> Decision {
    match grant(policy, facts) {
        Ok(grant) => Decision::Grant(Box::new(grant)),
        Err(reason) => Decision::Deny(reason),
    }
}

fn grant(policy: &Policy, facts: &Facts) -> Result<Grant, Reason> {
    let (enacted, told, until) = if labels::has_any(&facts.labels) {
        let job = labels::read(&facts.labels, &facts.image_labels)?;
        let until = end(&facts.run.started_at, job.timeout, policy.grace)?;
        let enacted = matching::find_for_job(&policy.rules, &job, facts)?;
        let told = Told::of_job(&enacted.rule.identity, &job, facts);
        (enacted, told, Some(until))
    } else {
        let enacted = matching::find_for_container(&policy.rules, facts)?;
        (enacted, Told::of_container(&enacted.rule.identity, facts), None)
    };
    let Enacted { edition, rule } = enacted;
    let role = match selector::find(&facts.env, &facts.image_env)? {
        None => rule.role.clone().ok_or(Reason::NoRoleSelected)?,
        Some(text) => {
            let role = Role::parse(text, &policy.home).map_err(|_| Reason::SelectorMalformed)?;
            if rule.role.as_ref() != Some(&role) && !rule.selectable.contains(&role) {
                return Err(Reason::SelectorNotAllowed);
            }
            role
        }
    };
    Ok(Grant {
        role,
        external_id: rule.external_id.clone(),
        session: rule.session.clone(),
        paths: rule.paths.as_ref().unwrap_or(&policy.paths).clone(),
        duration_seconds: rule.session.duration_seconds.unwrap_or(policy.session_seconds),
        told,
        require_token: rule.require_token,
        rule: rule.name.clone(),
        edition: *edition,
        until,
    })
}

/// When a job that started then must be over.
fn end(started_at: &str, timeout: Duration, grace: Duration) -> Result<SystemTime, Reason> {
    let started: Timestamp = started_at.parse().map_err(|_| Reason::StartUnknown)?;
    let started = SystemTime::from(started);
    let lifetime = timeout.checked_add(grace).ok_or(Reason::StartUnknown)?;
    started.checked_add(lifetime).ok_or(Reason::StartUnknown)
}
