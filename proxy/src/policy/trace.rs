//! A decision with every step on the way to it. Each step is the very function that the decision is made of.

use std::time::SystemTime;

use super::matching::{find_for_container, find_for_job};
use super::{Decision, Job, Policy, Reason, decide, end, labels, selector};
use crate::caller::Facts;

/// What policy says of a container, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The runner's labels, or what is wrong with them. No rule is weighed then, unless there are none of them at all.
    pub job: Result<Job, Reason>,
    /// When the job must be over.
    pub until: Option<SystemTime>,
    /// Every rule, in the order of the file.
    pub rules: Vec<Weighed>,
    /// What the container's `IAM_ROLE` selects, if anything.
    pub selected: Result<Option<String>, Reason>,
    /// The decision.
    pub decision: Decision,
}

/// One rule, held against a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// The rule's name.
    pub rule: String,
    /// Why the rule alone would refuse the container; None if it matches.
    pub failed: Option<Reason>,
}

/// Decides what a container gets, and keeps the steps.
#[must_use]
pub fn trace(policy: &Policy, facts: &Facts) -> Trace {
    let job = labels::read(&facts.labels, &facts.image_labels);
    let until = job
        .as_ref()
        .ok()
        .and_then(|job| end(&facts.run.started_at, job.timeout, policy.grace).ok());
    // Each rule as if it were the only one: what refuses the container then is what the rule wants otherwise.
    let weigh = |job: Option<&Job>| {
        let weighed = policy.rules.iter().map(|enacted| {
            let alone = std::slice::from_ref(enacted);
            let found = match job {
                Some(job) => find_for_job(alone, job, facts),
                None => find_for_container(alone, facts),
            };
            Weighed {
                rule: enacted.rule.name.clone(),
                failed: found.err(),
            }
        });
        weighed.collect()
    };
    let rules = match &job {
        Ok(job) => weigh(Some(job)),
        Err(_) if labels::has_any(&facts.labels) => Vec::new(),
        Err(_) => weigh(None),
    };
    Trace {
        until,
        rules,
        job,
        selected: selector::find(&facts.env, &facts.image_env).map(|selected| selected.map(str::to_owned)),
        decision: decide(policy, facts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{RULE, config, facts, label};

    fn rules() -> String {
        let narrow = RULE
            .replace("\"deploy\"\nrunner", "\"narrow\"\nrunner")
            .replace("project = 20", "project = 21\nref = \"main\"");
        let other = RULE
            .replace("\"deploy\"\nrunner", "\"other\"\nrunner")
            .replace("Ab3dEf9_x", "Xy");
        format!("{RULE}{narrow}{other}")
    }

    #[test]
    fn each_rule_says_what_it_failed_by() {
        let policy = Policy::new(&config(&rules()));
        let mut facts = facts();
        label(&mut facts, "project.id", "21");
        label(&mut facts, "job.ref", "topic");
        let trace = trace(&policy, &facts);
        let failed: Vec<_> = trace
            .rules
            .iter()
            .map(|weighed| (weighed.rule.as_str(), weighed.failed))
            .collect();
        assert_eq!(
            failed,
            [
                ("deploy", Some(Reason::NoRuleForProject)),
                ("narrow", Some(Reason::NoRuleForRef)),
                ("other", Some(Reason::NoRuleForRunner))
            ]
        );
        assert_eq!(trace.decision, Decision::Deny(Reason::NoRuleForRef));
    }

    proptest! {
        #[test]
        fn the_steps_lead_to_the_decision(
            project in 19_u32..23, kind in prop_oneof!["build", "service", "x"], r#ref in prop_oneof!["main", "topic"],
            env in proptest::collection::vec(prop_oneof!["IAM_ROLE=deploy", "IAM_ROLE=deploy-eu", "IAM_ROLE=admin", "IAM_ROLE", "A=b"], 0..3),
        ) {
            let policy = Policy::new(&config(&rules()));
            let mut facts = facts();
            label(&mut facts, "project.id", &project.to_string());
            label(&mut facts, "type", &kind);
            label(&mut facts, "job.ref", &r#ref);
            facts.env = env;
            let trace = trace(&policy, &facts);
            prop_assert_eq!(&trace.decision, &decide(&policy, &facts));
            let matching: Vec<_> = trace.rules.iter().filter(|weighed| weighed.failed.is_none()).collect();
            match &trace.decision {
                Decision::Grant(grant) => {
                    prop_assert!(trace.job.is_ok() && trace.until == grant.until);
                    prop_assert!(matching.iter().any(|weighed| weighed.rule == grant.rule));
                    prop_assert!(trace.selected.is_ok());
                }
                Decision::Deny(reason) => {
                    let last = trace.rules.iter().filter_map(|weighed| weighed.failed).max();
                    let is_explained = trace.job.as_ref().err() == Some(reason)
                        || matching.is_empty() && last == Some(*reason)
                        || trace.selected.as_ref().err() == Some(reason)
                        || matches!(reason, Reason::SelectorNotAllowed | Reason::SelectorMalformed | Reason::NoRoleSelected);
                    prop_assert!(is_explained, "{:?}", trace);
                }
            }
        }
    }
}
