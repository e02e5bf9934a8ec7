//! What a container gets: a pure function of the operator's rules and of what the engine says. Knows no socket, no clock, no file.

mod labels;
mod reason;
mod selector;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::caller::Facts;
use crate::config::{Config, ExternalId, Home, Role, Rule};

pub use labels::{Job, read as read_labels};
pub use reason::Reason;

// STS takes 2 to 64 characters of [\w+=,.@-].
const SESSION_NAME_MAX: usize = 64;

/// The operator's rules, ready to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    home: Home,
    rules: Vec<Rule>,
    /// How much longer than its job's timeout a container may live.
    grace: Duration,
}

impl Policy {
    /// Takes the rules of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            home: config.aws.home.clone(),
            rules: config.rules.clone(),
            grace: config.attestation.grace,
        }
    }
}

/// What a container is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The one role.
    pub role: Role,
    /// The rule's external id.
    pub external_id: Option<ExternalId>,
    /// Names project, job and runner, so that CloudTrail can be joined.
    pub session_name: String,
    /// The rule's name.
    pub rule: String,
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
    let rule = match_rule(&policy.rules, &job, facts)?;
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
        session_name: name_session(&job),
        rule: rule.name.clone(),
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
fn match_rule<'r>(rules: &'r [Rule], job: &Job, facts: &Facts) -> Result<&'r Rule, Reason> {
    let mut matching: Vec<&Rule> = rules.iter().collect();
    let mut narrow = |reason: Reason, matches: &dyn Fn(&Rule) -> bool| {
        matching.retain(|rule| matches(rule));
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
    if others.iter().all(|other| other.has_outcome_of(first)) {
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
