//! What the role of an instance may do beyond assuming the roles of jobs and pulling images.

use fake_kit::glob::Glob;
use serde_json::Value;

use super::catalogue::INSTANCE;
use super::rules::{Judge, texts};
use super::source::{Attached, field};
use super::{Finding, Settings};

/// What an instance of a runner needs: to assume the roles of jobs, and to pull images.
const INSTANCE_ACTIONS: [&str; 9] = [
    "sts:assumerole",
    "sts:tagsession",
    "sts:setsourceidentity",
    "sts:getcalleridentity",
    "ecr:getauthorizationtoken",
    "ecr:batchchecklayeravailability",
    "ecr:getdownloadurlforlayer",
    "ecr:batchgetimage",
    "ecr:batchimportupstreamimage",
];

/// Managed policies that allow no more than that, or reading a registry.
const INSTANCE_POLICIES: [&str; 2] = [
    "arn:aws*:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
    "arn:aws*:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly",
];

/// Judges a managed policy that is attached to the role of an instance.
pub(super) fn judge_attached(file: &str, attached: &Attached, settings: &Settings, findings: &mut Vec<Finding>) {
    let own = INSTANCE_POLICIES.into_iter().map(Glob::new);
    let mut known = own.chain(settings.allowed.iter().map(Glob::new));
    if attached.of_instance && !known.any(|pattern| pattern.matches(&attached.arn)) {
        findings.push(Finding {
            file: file.to_owned(),
            place: attached.place.clone(),
            rule: INSTANCE,
            problem: format!("the role of an instance has {}", attached.arn),
            remedy: format!("detach it, or say --allow {}", attached.arn),
        });
    }
}

impl Judge<'_> {
    /// What the role of an instance may do beyond what it is for.
    pub(super) fn rights(&mut self, at: &str, statement: &Value) {
        if !(self.found.of_instance || self.settings.instance && self.found.place.is_empty()) {
            return;
        }
        let known: Vec<Glob> = INSTANCE_ACTIONS
            .into_iter()
            .map(str::to_owned)
            .chain(self.settings.allowed.iter().map(|one| one.to_ascii_lowercase()))
            .map(Glob::new)
            .collect();
        let (element, more) = match statement.get("NotAction") {
            Some(except) => (
                "NotAction",
                vec![format!("everything but {}", texts(except).join(", "))],
            ),
            None => {
                let stated = texts(field(statement, "Action")).into_iter();
                // A pattern is covered where it would be as a text: * stands for *.
                let beyond = stated.filter(|action| {
                    let action = action.to_ascii_lowercase();
                    !known.iter().any(|pattern| pattern.matches(&action))
                });
                ("Action", beyond.map(str::to_owned).collect())
            }
        };
        if !more.is_empty() {
            self.report(
                INSTANCE,
                &format!("{at}.{element}"),
                format!("the role of an instance may {}", more.join(", ")),
                "take it away, give the job a role for it, or say --allow ACTION",
            );
        }
    }
}
