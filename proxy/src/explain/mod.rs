//! Why a container gets which role, or none: the steps of policy, and what the kernel shows, put into words. Pure; `look` asks for the
//! facts, and never STS.

mod look;
mod page;
mod words;

use std::time::SystemTime;

use serde::Serialize;

pub use look::{NotExplained, look};

use crate::caller::{Facts, Level, Unattested};
use crate::config::{Config, HostAccess, Shared};
use crate::credentials::write_time;
use crate::gitlab::find_token;
use crate::policy::{Decision, Grant, Policy, Reason, Trace, trace};

/// When a container that is of no job gets nothing any more.
const FOR_ITS_LIFE: &str = "it ends";

/// What engine and kernel say of a container, beside the facts that policy decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Its own cgroup directory, or what keeps its connections from being attested.
    pub cgroup: Result<String, Unattested>,
    /// Where it is on the network.
    pub network: Network,
    /// Names of containers of other jobs in the same network namespace.
    pub same_namespace: Vec<String>,
    /// Names of bridges that it shares, and how many containers of other jobs are on each.
    pub same_bridge: Vec<(String, usize)>,
}

/// Where a container is on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// In a network namespace of its own, or of its job.
    Own,
    /// In the host's.
    Host,
    /// In none.
    Without,
}

/// An explanation, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Full id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// The image's id.
    pub image: String,
    /// `State.StartedAt`.
    pub started_at: String,
    /// What the runner's labels say; empty if they cannot be believed.
    pub job: Vec<Fact>,
    /// The rules, in the file's order; empty if the labels cannot be believed.
    pub rules: Vec<Weighed>,
    /// `IAM_ROLE`; absent if it is not set, or cannot be believed.
    pub selected: Option<String>,
    /// Which roles the container's environment could have selected instead.
    pub selectable: Vec<String>,
    /// What the kernel shows.
    pub kernel: Vec<Condition>,
    /// What comes of it.
    pub outcome: Outcome,
}

/// One thing that policy decides by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Which.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// Who chooses it: the author of a pipeline, the runner, GitLab.
    pub chosen_by: &'static str,
}

/// One rule, held against the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weighed {
    /// The rule's name.
    pub rule: String,
    /// Whether it matches.
    pub matches: bool,
    /// If not: the first thing that it wants otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criterion: Option<&'static str>,
    /// What the rule wants there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
}

/// One thing that must be so for its connections to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Which.
    pub name: &'static str,
    /// Whether it is.
    pub holds: bool,
    /// What was seen.
    pub words: String,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A request of the container is answered with credentials of this role.
    Granted {
        /// The rule that gives it.
        rule: String,
        /// Its ARN.
        role: String,
        /// The session's name.
        session: String,
        /// `DurationSeconds`
        duration_seconds: u32,
        /// What narrows the session: an inline policy, managed ones.
        narrowed_by: Vec<String>,
        /// What GitLab is asked first, if the rule wants that. Whether it confirms the job is not asked here.
        #[serde(skip_serializing_if = "Option::is_none")]
        verified_by: Option<String>,
        /// When the container gets nothing any more.
        until: String,
    },
    /// The rules refuse it, and nothing is enforced: it is answered as by the earlier proxy.
    Observed {
        /// The role's ARN.
        role: String,
        /// The session's name.
        session: String,
        /// `DurationSeconds`
        duration_seconds: u32,
        /// The word of the audit log for the refusal.
        would_be: &'static str,
        /// What that means.
        detail: String,
    },
    /// It is refused.
    Refused {
        /// The word of the audit log.
        reason: &'static str,
        /// What that means.
        detail: String,
    },
}

impl Explained {
    /// Whether the container gets credentials.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        matches!(self.outcome, Outcome::Granted { .. } | Outcome::Observed { .. })
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // Texts and numbers always serialise.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Explains what a container gets now.
#[must_use]
pub fn explain(config: &Config, facts: &Facts, standing: &Standing, now: SystemTime) -> Explained {
    let trace = trace(&Policy::new(config), facts);
    let (kernel, kernel_refuses) = judge(config, standing);
    let weighed = trace.rules.iter().map(|weighed| {
        let rule = config.rules.iter().find(|rule| rule.name == weighed.rule);
        let wanted = weighed
            .failed
            .zip(rule)
            .and_then(|(failed, rule)| words::wanted(failed, rule));
        Weighed {
            rule: weighed.rule.clone(),
            matches: weighed.failed.is_none(),
            criterion: wanted.as_ref().map(|(criterion, _)| *criterion),
            wanted: wanted.map(|(_, wanted)| wanted),
        }
    });
    Explained {
        container: facts.run.container_id.clone(),
        name: standing.name.clone(),
        image: facts.image_id.clone(),
        started_at: facts.run.started_at.clone(),
        job: words::facts(&trace, facts),
        rules: weighed.collect(),
        selected: trace.selected.clone().ok().flatten(),
        selectable: selectable(config, &trace),
        kernel,
        outcome: conclude(&trace, facts, kernel_refuses, now),
    }
}

/// The roles that `IAM_ROLE` may choose from, by the rule that matches.
fn selectable(config: &Config, trace: &Trace) -> Vec<String> {
    let matching = trace.rules.iter().find(|weighed| weighed.failed.is_none());
    let rule = matching.and_then(|weighed| config.rules.iter().find(|rule| rule.name == weighed.rule));
    let roles = rule.map(|rule| rule.role.iter().chain(&rule.selectable));
    roles.into_iter().flatten().map(ToString::to_string).collect()
}

fn conclude(trace: &Trace, facts: &Facts, kernel_refuses: Option<(Unattested, String)>, now: SystemTime) -> Outcome {
    let denied = |reason: Reason| Outcome::Refused {
        reason: reason.as_str(),
        detail: reason.to_string(),
    };
    // In the order in which a request meets them.
    if let Some((reason, detail)) = kernel_refuses {
        return Outcome::Refused {
            reason: reason.as_str(),
            detail,
        };
    }
    match &trace.decision {
        Decision::Deny(reason) => denied(*reason),
        Decision::Grant(grant) if grant.until.is_some_and(|until| now > until) => denied(Reason::TooOld),
        Decision::Grant(grant) => match grant.verify.as_ref().map(|_| find_token(&facts.env)) {
            Some(Err(why)) => Outcome::Refused {
                reason: why.as_str(),
                detail: why.to_string(),
            },
            Some(Ok(_)) | None => give(grant, trace),
        },
    }
}

fn give(grant: &Grant, trace: &Trace) -> Outcome {
    let (role, session) = (grant.role.to_string(), grant.told.session_name.clone());
    let duration_seconds = grant.duration_seconds;
    match grant.observed {
        Some(would_be) => Outcome::Observed {
            role,
            session,
            duration_seconds,
            would_be: would_be.as_str(),
            detail: would_be.to_string(),
        },
        None => Outcome::Granted {
            rule: grant.rule.clone(),
            role,
            session,
            duration_seconds,
            narrowed_by: words::narrowing(&grant.session),
            verified_by: trace
                .job
                .as_ref()
                .ok()
                .zip(grant.verify.as_ref())
                .map(|(job, wanted)| words::verification(&job.gitlab, wanted)),
            until: grant
                .until
                .map_or_else(|| Some(FOR_ITS_LIFE.to_owned()), write_time)
                .unwrap_or_default(),
        },
    }
}

/// What the kernel needs to see, and the first thing that it does not.
fn judge(config: &Config, standing: &Standing) -> (Vec<Condition>, Option<(Unattested, String)>) {
    let mut refusal = None;
    let mut conditions = Vec::new();
    let mut add = |name, problem: Option<Unattested>, words: String| {
        conditions.push(Condition {
            name,
            holds: problem.is_none(),
            words: words.clone(),
        });
        if let (None, Some(problem)) = (&refusal, problem) {
            refusal = Some((problem, words));
        }
    };
    match &standing.cgroup {
        Ok(directory) => add("cgroup", None, format!("its own is {directory}")),
        Err(problem) => add("cgroup", Some(*problem), words::cgroup(*problem).to_owned()),
    }
    match (standing.network, &config.firewall.host) {
        (Network::Own, _) => add("network", None, "a network namespace that is not the host's".to_owned()),
        (Network::Without, _) => add(
            "network",
            Some(Unattested::UnknownAddress),
            "it has no network, and cannot ask".to_owned(),
        ),
        (Network::Host, HostAccess::Closed { .. }) => add(
            "network",
            Some(Unattested::UnknownAddress),
            "it uses the host's network, where no redirect sees it; firewall.host = \"closed\" keeps it from the endpoint".to_owned(),
        ),
        (Network::Host, HostAccess::Open) => add(
            "network",
            Some(Unattested::UnknownAddress),
            "it uses the host's network, and firewall.host = \"open\": it reaches the real endpoint, and the proxy never sees it".to_owned(),
        ),
    }
    if !standing.same_namespace.is_empty() {
        let words = format!(
            "{} in the same network namespace and could read every answer: {}",
            match config.attestation.level {
                Level::Cgroup => "containers of other jobs are",
                Level::Netns => "attestation.level is \"netns\", and other containers are",
            },
            standing.same_namespace.join(", ")
        );
        add("neighbours", Some(Unattested::SharedNetwork), words);
    }
    for (bridge, others) in &standing.same_bridge {
        let (plural, verb) = if *others == 1 { ("", "is") } else { ("s", "are") };
        let kept = match config.bridges.shared {
            Shared::Filter => "a filter keeps each to its own addresses, and who is not covered by it is refused",
            Shared::Allow => "bridges.shared = \"allow\": each can take the other's address and read its answers",
        };
        let words = format!("{others} container{plural} of other jobs {verb} on its network {bridge}; {kept}");
        add("neighbours", None, words);
    }
    (conditions, refusal)
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        page::write(self, f)
    }
}

#[cfg(test)]
mod tests;
