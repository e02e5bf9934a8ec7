//! Which role a container gets: a pure function of the configuration, the open hole and what the engine says. No socket, no clock.

mod careless;
mod role;

use std::collections::BTreeMap;

pub use careless::session_policy;
use jiff::{SignedDuration, Timestamp};
pub use role::Role;

use crate::config::{Config, Rule, Session};
use crate::hole::{Hole, Switches};
use crate::identity::Facts;

const PREFIX: &str = "com.gitlab.gitlab-runner.";

/// The labels that the runner always sets on a job's containers.
const ALWAYS: [&str; 14] = [
    "managed",
    "type",
    "runner.id",
    "runner.local_id",
    "runner.system_id",
    "project.id",
    "project.runner_id",
    "pipeline.id",
    "job.id",
    "job.url",
    "job.sha",
    "job.before_sha",
    "job.ref",
    "job.timeout",
];

/// What a container may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// `ExternalId` of AssumeRole.
    pub external_id: Option<String>,
    /// What narrows the session.
    pub session: Session,
}

impl Grant {
    /// A role, and nothing that would narrow or bind it.
    #[must_use]
    pub fn plain(role: Role) -> Self {
        Self {
            role,
            external_id: None,
            session: Session::default(),
        }
    }
}

/// Why a container gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Labels are missing or malformed.
    #[error("not a container of the runner")]
    NotOfRunner,
    /// No rule matches.
    #[error("no rule")]
    NoRule,
    /// More than one rule matches.
    #[error("several rules")]
    SeveralRules,
    /// The container names no role and the rule has none.
    #[error("no role named")]
    NoRole,
    /// `IAM_ROLE` stands there more than once, with different values.
    #[error("conflicting IAM_ROLE entries")]
    Conflict,
    /// `IAM_ROLE` comes from the image.
    #[error("IAM_ROLE of the image")]
    OfImage,
    /// `IAM_ROLE` is empty, without `=`, or outside the grammar.
    #[error("odd IAM_ROLE")]
    Odd,
    /// `IAM_ROLE` names a role that the rule does not allow.
    #[error("role not sanctioned")]
    NotSanctioned,
    /// The container is older than its job's timeout allows, or its age is not known.
    #[error("container is overdue")]
    Overdue,
}

/// Decides. Every hole of the families ROLE and IMG stands here, in [`matches`] or in [`careless`].
///
/// # Errors
/// Every doubt is a [`Refusal`].
pub fn decide(config: &Config, switches: &Switches, facts: &Facts, now: Timestamp) -> Result<Grant, Refusal> {
    if let Some(role) = careless::dictated(switches, facts, &config.aws) {
        return Ok(Grant::plain(role));
    }
    let decision = match sanctioned(config, switches, facts) {
        Ok(_) if is_overdue(config, facts, now) && !switches.open(Hole::NoAgeLimit) => Err(Refusal::Overdue),
        decision => decision,
    };
    match decision {
        Err(refusal) if switches.open(Hole::DefaultRole) || switches.open(Hole::WholeNetworkTrusted) => {
            careless::default_role(config, switches, facts, refusal)
        }
        decision => decision,
    }
}

/// What the operator's rules say.
fn sanctioned(config: &Config, switches: &Switches, facts: &Facts) -> Result<Grant, Refusal> {
    if config.by_variable {
        return named(config, switches, facts);
    }
    let rule = match config.rules.iter().find(|rule| is_marked(rule, switches, facts)) {
        Some(rule) => rule,
        None => find_for_job(config, switches, facts)?,
    };
    let allowed = |text: &String| Role::parse(text, &config.aws);
    let role = match selector(facts)? {
        None => rule.role.as_ref().and_then(allowed).ok_or(Refusal::NoRole)?,
        Some(text) => {
            let all: Vec<Role> = rule.role.iter().chain(&rule.selectable).filter_map(allowed).collect();
            match careless::choose(switches, text, &all, &config.aws) {
                Some(role) => role,
                None => {
                    let asked = Role::parse(text, &config.aws).ok_or(Refusal::Odd)?;
                    all.into_iter()
                        .find(|role| *role == asked)
                        .ok_or(Refusal::NotSanctioned)?
                }
            }
        }
    };
    Ok(Grant {
        role,
        external_id: careless::external_id(switches, facts).or_else(|| rule.external_id.clone()),
        session: Session {
            duration_seconds: careless::duration_seconds(switches, facts).or(rule.session.duration_seconds),
            ..rule.session.clone()
        },
    })
}

/// What the container's own variables say, where there are no rules: nobody can tell the operator's from the author's, but two that differ are in conflict.
fn named(config: &Config, switches: &Switches, facts: &Facts) -> Result<Grant, Refusal> {
    let text = selector(facts)?.ok_or(Refusal::NoRole)?;
    let role = Role::parse(text, &config.aws).ok_or(Refusal::Odd)?;
    let mut ids = facts
        .env
        .iter()
        .filter_map(|entry| entry.strip_prefix("IAM_EXTERNAL_ID="));
    let id = ids.next();
    if ids.any(|other| Some(other) != id) {
        return Err(Refusal::Conflict);
    }
    Ok(Grant {
        role,
        external_id: careless::external_id(switches, facts).or_else(|| id.map(str::to_owned)),
        session: Session::default(),
    })
}

fn find_for_job<'c>(config: &'c Config, switches: &Switches, facts: &Facts) -> Result<&'c Rule, Refusal> {
    if !is_of_runner(facts, switches) {
        return Err(Refusal::NotOfRunner);
    }
    let mut matching = config.rules.iter().filter(|rule| matches(rule, switches, facts));
    let rule = matching.next().ok_or(Refusal::NoRule)?;
    match matching.next() {
        Some(_) => Err(Refusal::SeveralRules),
        None => Ok(rule),
    }
}

/// Whether the rule is for containers that the operator starts himself, and this is one: of no job, and not so called by its image.
fn is_marked(rule: &Rule, switches: &Switches, facts: &Facts) -> bool {
    let label = rule.container.as_ref().and_then(|marker| marker.label.split_once('='));
    let Some((key, value)) = label else { return false };
    let has = |labels: &BTreeMap<String, String>| labels.get(key).is_some_and(|given| given == value);
    let is_his = facts.label("managed").is_none() && !has(&facts.image_labels);
    has(&facts.labels) && (is_his || switches.open(Hole::AnyMarker))
}

fn matches(rule: &Rule, switches: &Switches, facts: &Facts) -> bool {
    let label = |key: &str| facts.label(key).unwrap_or_default();
    let kind_matches = switches.open(Hole::AnyKind) || rule.kind.as_slice().iter().any(|kind| kind == label("type"));
    let origin_matches = switches.open(Hole::ProjectAlone)
        || (rule.runner == label("runner.id") && Some(rule.gitlab.as_str()) == host(label("job.url")));
    let project = careless::project(switches, facts).unwrap_or_else(|| label("project.id"));
    let git_ref = careless::git_ref(switches, facts).unwrap_or_else(|| label("job.ref"));
    kind_matches
        && origin_matches
        && rule.project.as_slice().iter().any(|id| id.to_string() == project)
        && (switches.open(Hole::IgnoresRef)
            || rule
                .refs
                .as_ref()
                .is_none_or(|refs| refs.as_slice().iter().any(|name| name == git_ref)))
        && rule
            .image
            .as_ref()
            .is_none_or(|images| images.as_slice().iter().any(|image| facts.image_ids.contains(image)))
}

/// What the container asks for, if it asks at all and unambiguously.
fn selector(facts: &Facts) -> Result<Option<&str>, Refusal> {
    let mut entries = facts
        .env
        .iter()
        .filter(|entry| *entry == "IAM_ROLE" || entry.starts_with("IAM_ROLE="));
    let Some(first) = entries.next() else { return Ok(None) };
    if entries.any(|entry| entry != first) {
        return Err(Refusal::Conflict);
    }
    let value = first.strip_prefix("IAM_ROLE=").ok_or(Refusal::Odd)?;
    if is_of_image(facts, value) {
        return Err(Refusal::OfImage);
    }
    if value.is_empty() {
        Err(Refusal::Odd)
    } else {
        Ok(Some(value))
    }
}

fn is_of_image(facts: &Facts, value: &str) -> bool {
    facts
        .image_env
        .iter()
        .any(|entry| entry.strip_prefix("IAM_ROLE=") == Some(value))
}

/// Whether the container began too long ago to be its job's, for a job that was not cleaned up keeps its labels.
fn is_overdue(config: &Config, facts: &Facts, now: Timestamp) -> bool {
    if facts.label("managed").is_none() {
        return false;
    }
    let grace = SignedDuration::from_secs(config.attestation.grace_seconds);
    let end = || {
        let started: Timestamp = facts.started_at.parse().ok()?;
        let timeout: SignedDuration = facts.label("job.timeout")?.parse().ok()?;
        started.checked_add(timeout).ok()?.checked_add(grace).ok()
    };
    end().is_none_or(|end| now > end)
}

fn is_of_runner(facts: &Facts, switches: &Switches) -> bool {
    let number = |key: &str| {
        facts
            .label(key)
            .is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()))
    };
    (switches.open(Hole::PartialLabels)
        || ALWAYS
            .iter()
            .all(|key| facts.label(key).is_some_and(|value| !value.is_empty())))
        && facts.label("managed") == Some("true")
        && number("project.id")
        && (switches.open(Hole::PartialLabels) || number("job.id"))
}

fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split('/').next()
}

/// `<project>-<job>-<runner>`, or the beginning of the id of a container that is of no job, in the characters that STS takes, at most 64 of them.
#[must_use]
pub fn session_name(switches: &Switches, facts: &Facts) -> String {
    let part = |key: &str| facts.label(key).unwrap_or("unknown");
    let of_caller = || match facts.label("managed") {
        Some(_) => format!("{}-{}-{}", part("project.id"), part("job.id"), part("runner.id")),
        None => facts.container_id.chars().take(12).collect(),
    };
    careless::session_name(switches, facts)
        .map_or_else(of_caller, str::to_owned)
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(64)
        .collect()
}

impl Facts {
    /// A label of the runner, without the prefix.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(&format!("{PREFIX}{key}")).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
