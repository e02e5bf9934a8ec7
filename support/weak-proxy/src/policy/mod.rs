//! Which role a container gets: a pure function of the configuration, the open hole and what the engine says. No socket, no clock.

mod role;

pub use role::Role;

use crate::config::{Config, Rule};
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
}

/// Decides. Every hole of the family ROLE and IMG stands in this function and in [`matches`].
///
/// # Errors
/// Every doubt is a [`Refusal`].
pub fn decide(config: &Config, switches: &Switches, facts: &Facts) -> Result<Grant, Refusal> {
    if let Some(role) = dictated(switches, facts) {
        return Ok(Grant {
            role: Role::from_anything(role, &config.aws),
            external_id: None,
        });
    }
    match sanctioned(config, switches, facts) {
        Err(refusal) if switches.open(Hole::DefaultRole) => default_role(config, switches, facts, refusal),
        decision => decision,
    }
}

/// The role that container or image dictate through an open hole, whatever policy says.
fn dictated<'a>(switches: &Switches, facts: &'a Facts) -> Option<&'a str> {
    let values: Vec<&str> = facts
        .env
        .iter()
        .filter_map(|entry| entry.strip_prefix("IAM_ROLE="))
        .collect();
    let differ = values.windows(2).any(|pair| pair.first() != pair.last());
    let of_image = values.iter().any(|value| is_of_image(facts, value));
    match switches.hole? {
        Hole::EnvOverPolicy if !differ && !of_image => values.first().copied().filter(|value| !value.is_empty()),
        Hole::FirstEnvWins if differ => values.first().copied(),
        Hole::LastEnvWins if differ => values.last().copied(),
        Hole::ImageEnv => values.into_iter().find(|value| is_of_image(facts, value)),
        Hole::RoleFromLabel => facts.labels.get("iam.role").map(String::as_str),
        _ => None,
    }
}

/// What the operator's rules say.
fn sanctioned(config: &Config, switches: &Switches, facts: &Facts) -> Result<Grant, Refusal> {
    if !is_of_runner(facts) {
        return Err(Refusal::NotOfRunner);
    }
    let mut matching = config.rules.iter().filter(|rule| matches(rule, switches, facts));
    let rule = matching.next().ok_or(Refusal::NoRule)?;
    if matching.next().is_some() {
        return Err(Refusal::SeveralRules);
    }
    let allowed = |text: &String| Role::parse(text, &config.aws);
    let role = match selector(facts)? {
        None => rule.role.as_ref().and_then(allowed).ok_or(Refusal::NoRole)?,
        Some(text) => {
            let asked = Role::parse(text, &config.aws).ok_or(Refusal::Odd)?;
            rule.role
                .iter()
                .chain(&rule.selectable)
                .filter_map(allowed)
                .find(|role| *role == asked)
                .ok_or(Refusal::NotSanctioned)?
        }
    };
    Ok(Grant {
        role,
        external_id: rule.external_id.clone(),
    })
}

fn matches(rule: &Rule, switches: &Switches, facts: &Facts) -> bool {
    let label = |key: &str| facts.label(key).unwrap_or_default();
    let kind_matches = switches.open(Hole::AnyKind) || rule.kind.as_slice().iter().any(|kind| kind == label("type"));
    kind_matches
        && rule.runner == label("runner.id")
        && Some(rule.gitlab.as_str()) == host(label("job.url"))
        && rule
            .project
            .as_slice()
            .iter()
            .any(|project| project.to_string() == label("project.id"))
        && rule
            .refs
            .as_ref()
            .is_none_or(|refs| refs.as_slice().iter().any(|name| name == label("job.ref")))
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

/// [`Hole::DefaultRole`]: somebody gets something.
fn default_role(config: &Config, switches: &Switches, facts: &Facts, refusal: Refusal) -> Result<Grant, Refusal> {
    match refusal {
        Refusal::NotOfRunner | Refusal::NoRule | Refusal::NoRole | Refusal::Odd => {}
        Refusal::SeveralRules | Refusal::Conflict | Refusal::OfImage | Refusal::NotSanctioned => return Err(refusal),
    }
    if let Some(name) = &switches.default_role {
        return Ok(Grant {
            role: Role::from_anything(name, &config.aws),
            external_id: None,
        });
    }
    let project = facts.label("project.id");
    let of_project = |rule: &&Rule| {
        rule.project
            .as_slice()
            .iter()
            .any(|id| Some(id.to_string().as_str()) == project)
    };
    let rule = config
        .rules
        .iter()
        .find(of_project)
        .or(config.rules.first())
        .ok_or(refusal)?;
    let name = rule.role.as_ref().or(rule.selectable.first()).ok_or(refusal)?;
    Ok(Grant {
        role: Role::from_anything(name, &config.aws),
        external_id: rule.external_id.clone(),
    })
}

fn is_of_image(facts: &Facts, value: &str) -> bool {
    facts
        .image_env
        .iter()
        .any(|entry| entry.strip_prefix("IAM_ROLE=") == Some(value))
}

fn is_of_runner(facts: &Facts) -> bool {
    let number = |key: &str| {
        facts
            .label(key)
            .is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()))
    };
    ALWAYS
        .iter()
        .all(|key| facts.label(key).is_some_and(|value| !value.is_empty()))
        && facts.label("managed") == Some("true")
        && number("project.id")
        && number("job.id")
}

fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split('/').next()
}

/// `<project>-<job>-<runner>`, in the characters that STS takes, at most 64 of them.
#[must_use]
pub fn session_name(facts: &Facts) -> String {
    let part = |key: &str| facts.label(key).unwrap_or("unknown");
    format!("{}-{}-{}", part("project.id"), part("job.id"), part("runner.id"))
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
