//! What a container gets: a pure function of the operator's rules and of what the engine says. Knows no socket, no clock, no file.

mod labels;
mod reason;
mod revocation;
mod selector;
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
pub use trace::{Trace, Weighed, trace};

// STS takes 2 to 64 characters of [\w+=,.@-].
const SESSION_NAME_MAX: usize = 64;

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
    /// Names project, job and runner, so that CloudTrail can be joined.
    pub session_name: String,
    /// The rule's name.
    pub rule: String,
    /// Which edition of it.
    pub edition: Edition,
    /// When the job must be over, at the latest: a crashed runner leaves containers behind, with their role (rule A11).
    pub until: SystemTime,
}

/// What policy says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It gets this and nothing else.
    Grant(Grant),
    /// It gets nothing.
    Deny(Reason),
}

/// Decides what a container gets.
#[must_use]
pub fn decide(policy: &Policy, facts: &Facts) -> Decision {
    match grant(policy, facts) {
        Ok(grant) => Decision::Grant(grant),
        Err(reason) => Decision::Deny(reason),
    }
}

fn grant(policy: &Policy, facts: &Facts) -> Result<Grant, Reason> {
    let job = labels::read(&facts.labels, &facts.image_labels)?;
    let until = end(&facts.run.started_at, job.timeout, policy.grace)?;
    let Enacted { edition, rule } = match_rule(&policy.rules, &job, facts)?;
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
        session_name: name_session(&job),
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

/// Finds the one rule that matches, or the first criterion that left none.
fn match_rule<'r>(rules: &'r [Enacted], job: &Job, facts: &Facts) -> Result<&'r Enacted, Reason> {
    let mut matching: Vec<&Enacted> = rules.iter().collect();
    let mut narrow = |reason: Reason, matches: &dyn Fn(&Rule) -> bool| {
        matching.retain(|enacted| matches(&enacted.rule));
        if matching.is_empty() { Err(reason) } else { Ok(()) }
    };
    narrow(Reason::NoRuleForRunner, &|rule| {
        rule.runner == job.runner && rule.gitlab == job.gitlab
    })?;
    narrow(Reason::NoRuleForProject, &|rule| rule.projects.contains(&job.project))?;
    narrow(Reason::NoRuleForKind, &|rule| rule.kinds.contains(&job.kind))?;
    narrow(Reason::NoRuleForRef, &|rule| {
        rule.refs.is_empty() || rule.refs.contains(&job.r#ref)
    })?;
    narrow(Reason::NoRuleForImage, &|rule| {
        rule.images.is_empty() || has_image(rule, facts)
    })?;
    let (first, others) = matching.split_first().ok_or(Reason::NoRuleForRunner)?;
    if others.iter().all(|other| other.rule.has_outcome_of(&first.rule)) {
        Ok(first)
    } else {
        Err(Reason::SeveralRules)
    }
}

/// Whether the image that runs is one of the rule's, by id or by digest: never by name, which anybody can give (P20).
fn has_image(rule: &Rule, facts: &Facts) -> bool {
    let digests = facts
        .repo_digests
        .iter()
        .filter_map(|digest| digest.rsplit_once('@'))
        .map(|(_, digest)| digest);
    let mut identities = digests.chain([facts.image_id.as_str()]);
    identities.any(|identity| rule.images.iter().any(|image| image.as_str() == identity))
}

/// `PROJECT-JOB-RUNNER`. All three are verified and bounded (20 characters each at most), so that nothing is cut and no two jobs collide.
fn name_session(job: &Job) -> String {
    let mut name = format!("{}-{}-{}", job.project, job.job, job.runner);
    name.truncate(SESSION_NAME_MAX);
    name
}
