//! What a container gets: a pure function of the operator's rules and of what the engine says. Knows no socket, no clock, no file.

mod edition;
mod labels;
mod matching;
mod observe;
mod reason;
mod register;
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
use crate::compat::{Asked, Compat};
use crate::config::{Config, ExternalId, Home, Role, Rule, Session, Verification};
use crate::instance::Leaf;

pub use edition::{Edition, Kept};
pub use labels::{Job, read as read_labels};
pub use reason::Reason;
pub use register::Damaged;
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
    /// Whether who matches no rule needs a token.
    require_token: bool,
    /// In which forms containers name roles, and what is given while nothing is enforced.
    compat: Option<Compat>,
    /// The edition of what is given while nothing is enforced; None: all is.
    observed: Option<Edition>,
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
            require_token: config.imds.require_token,
            compat: None,
            observed: None,
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
        let rules = rules.collect();
        let observed = config.is_observing().then(|| match self.observed {
            Some(kept) if self.compat == config.compat => kept,
            Some(_) | None => {
                let edition = next;
                next = next.next();
                edition
            }
        });
        Self {
            home: config.aws.home.clone(),
            session_seconds: config.aws.session_seconds,
            rules,
            next,
            paths: config.imds.paths.clone(),
            grace: config.attestation.grace,
            require_token: config.imds.require_token,
            compat: config.compat.clone(),
            observed,
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
        self.rules.iter().map(|enacted| enacted.edition).chain(self.observed)
    }

    /// Which role a container asks for with this text.
    fn read_role(&self, text: &str) -> Result<Asked, Reason> {
        let asked = match &self.compat {
            Some(compat) => compat.read_role(text, &self.home),
            None => Role::parse(text, &self.home).map(Asked::exactly),
        };
        asked.map_err(|_| Reason::SelectorMalformed)
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
    /// What GitLab must confirm before any of it is given.
    pub verify: Option<Verification>,
    /// The rule's name; empty if no rule gives it.
    pub rule: String,
    /// Why the rules refuse it: it is given because nothing is enforced (`compat.mode = "observe"`).
    pub observed: Option<Reason>,
    /// Which edition of the rule, or of what is observed.
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

/// Decides what a container gets. The rules come first, so that whom they give a role gets while observing what he gets ever after.
#[must_use]
pub fn decide(policy: &Policy, facts: &Facts) -> Decision {
    let granted = match grant(policy, facts) {
        Ok(grant) => Ok(grant),
        Err(reason) => observe::grant(policy, facts, reason).ok_or(reason),
    };
    match granted {
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
            let allowed = rule.role.iter().chain(&rule.selectable);
            let selected = policy.read_role(text)?.find(allowed);
            selected.cloned().ok_or(Reason::SelectorNotAllowed)?
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
        verify: rule.verify.clone(),
        rule: rule.name.clone(),
        observed: None,
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
