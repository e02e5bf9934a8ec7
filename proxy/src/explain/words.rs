//! The words for what policy decides by, and for who chooses it.

use std::fmt::Display;

use super::Fact;
use crate::caller::{Facts, Unattested};
use crate::config::{Host, Rule, Session, Subject, Verification};
use crate::credentials::write_time;
use crate::policy::{Reason, Trace};

const RUNNER: &str = "the runner";
/// `sha256:` and as many digits as the engine's listings show.
const IMAGE: usize = 19;
const GITLAB: &str = "GitLab";

/// What the job is, as far as the runner's labels can be believed.
pub(super) fn facts(trace: &Trace, facts: &Facts) -> Vec<Fact> {
    let Ok(job) = &trace.job else { return Vec::new() };
    let fact = |name, value: &dyn Display, chosen_by| Fact {
        name,
        value: value.to_string(),
        chosen_by,
    };
    // The whole of it is at the top.
    let image = facts.image_id.get(..IMAGE).unwrap_or(&facts.image_id);
    let until = trace.until.and_then(write_time).unwrap_or_default();
    let timeout = format!("{} s, until {until}", job.timeout.as_secs());
    vec![
        fact("runner", &job.runner, RUNNER),
        fact("gitlab", &job.gitlab, GITLAB),
        fact("project", &job.project, GITLAB),
        fact("pipeline", &job.pipeline, "GitLab; with runners before 19.0 the author"),
        fact("job", &job.job, GITLAB),
        fact("kind", &job.kind, RUNNER),
        fact(
            "ref",
            &job.r#ref,
            "the author: anybody who may push names branches and tags",
        ),
        fact("image", &image, "the author, within the runner's allowed_images"),
        fact(
            "timeout",
            &timeout,
            "the author, within the bounds of project and runner",
        ),
    ]
}

/// What a rule wants otherwise: the name of its field, and what stands there. None for reasons that no single rule has.
pub(super) fn wanted(failed: Reason, rule: &Rule) -> Option<(&'static str, String)> {
    Some(match failed {
        Reason::NoRuleForRunner | Reason::NoRuleForContainer | Reason::MarkerFromImage => match &rule.subject {
            Subject::Jobs(jobs) => ("runner", format!("{} of {}", jobs.runner, jobs.gitlab)),
            Subject::Marked(marker) => ("container", format!("one that the operator labels {marker}")),
        },
        Reason::NoRuleForSystemId => ("system_id", list(&rule.subject.jobs()?.system_ids)),
        Reason::NoRuleForProject => ("project", list(&rule.subject.jobs()?.projects)),
        Reason::NoRuleForKind => ("kind", list(&rule.subject.jobs()?.kinds)),
        Reason::NoRuleForRef | Reason::NoRuleForMergeRequest => {
            let refs = &rule.subject.jobs()?.refs;
            let any = "a branch or a tag".to_owned();
            ("ref", if refs.is_empty() { any } else { list(refs) })
        }
        Reason::NoRuleForImage | Reason::NoRuleForContainerImage => ("image", list(&rule.images)),
        Reason::LabelMissing(_)
        | Reason::LabelMalformed(_)
        | Reason::LabelFromImage(_)
        | Reason::StartUnknown
        | Reason::TooOld
        | Reason::JobUrlOfAnotherJob
        | Reason::SeveralRules
        | Reason::NoRoleSelected
        | Reason::SelectorConflicting
        | Reason::SelectorFromImage
        | Reason::SelectorWithoutValue
        | Reason::SelectorEmpty
        | Reason::SelectorMalformed
        | Reason::SelectorNotAllowed
        | Reason::Revoked => return None,
    })
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    words.join(" or ")
}

/// What narrows a session, beside its role.
pub(super) fn narrowing(session: &Session) -> Vec<String> {
    let inline = session.policy.as_ref().map(|_| "the rule's session_policy".to_owned());
    inline
        .into_iter()
        .chain(session.policy_arns.iter().map(ToString::to_string))
        .collect()
}

/// What GitLab is asked before anything is given.
pub(super) fn verification(gitlab: &Host, wanted: &Verification) -> String {
    let mut words = format!("{gitlab}, which is asked first: does the job of the labels run");
    if !wanted.ref_types.is_empty() {
        words.push_str(", is its ref a ");
        words.push_str(&list(&wanted.ref_types));
    }
    if wanted.protected {
        words.push_str(", is the ref protected");
    }
    words.push_str("? What it says stands in the audit log");
    words
}

/// Why the container's cgroup cannot be told.
pub(super) const fn cgroup(problem: Unattested) -> &'static str {
    match problem {
        Unattested::NoCgroup => {
            "none that carries the container's id: it runs in another engine's hierarchy, in one of cgroup v1 only, or elsewhere"
        }
        Unattested::NotRunning => "none: the container does not run",
        Unattested::DirectConnection
        | Unattested::UnknownAddress
        | Unattested::NoSuchSocket
        | Unattested::NotEstablished
        | Unattested::Orphaned
        | Unattested::AnotherSocket
        | Unattested::Ambiguous
        | Unattested::Raced
        | Unattested::SharedNetwork
        | Unattested::Unfiltered
        | Unattested::EngineUnavailable => {
            "it ended while it was looked at, or may not be looked at: ask again, as root"
        }
    }
}
