//! Containers that the operator starts himself.

use std::collections::BTreeMap;

use crate::caller::Facts;
use crate::fixture::{RULE, config, facts, label, labels};
use crate::policy::{Decision, Grant, Policy, Reason, decide};

const AGENT: &str = r#"
[[rule]]
name = "agent"
container = { label = "role=agent" }
role = "agent"
"#;

fn judge(rules: &str, change: impl FnOnce(&mut Facts)) -> Result<Grant, Reason> {
    let mut facts = Facts {
        labels: BTreeMap::from([("role".to_owned(), "agent".to_owned())]),
        ..facts()
    };
    change(&mut facts);
    match decide(&Policy::new(&config(rules)), &facts) {
        Decision::Grant(grant) => Ok(*grant),
        Decision::Deny(reason) => Err(reason),
    }
}

#[test]
fn a_container_with_the_operators_label_gets_its_role_for_as_long_as_it_runs() {
    let grant = judge(&format!("{RULE}{AGENT}"), |facts| {
        facts.run.started_at = "2001-09-09T01:46:40Z".into();
    })
    .unwrap();
    assert_eq!(grant.role.arn(), "arn:aws:iam::123456789012:role/agent");
    assert_eq!((grant.rule.as_str(), grant.until), ("agent", None));
    assert_eq!(grant.told.session_name, format!("agent-{}", "a".repeat(12)));
}

#[test]
fn the_label_must_be_the_operators_word_for_word() {
    for (key, value) in [
        ("role", "Agent"),
        ("role", "agents"),
        ("role", ""),
        ("Role", "agent"),
        ("x.role", "agent"),
    ] {
        let refused = judge(AGENT, |facts| {
            facts.labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        });
        assert_eq!(refused, Err(Reason::NoRuleForContainer), "{key}={value}");
    }
}

#[test]
fn a_label_of_the_image_is_not_the_operators() {
    let from_image = |value: &str| {
        judge(AGENT, |facts| {
            facts.image_labels.insert("role".to_owned(), value.to_owned());
        })
    };
    assert_eq!(from_image("agent"), Err(Reason::MarkerFromImage));
    // What the operator sets replaces what the image says.
    assert!(from_image("other").is_ok());
}

#[test]
fn a_container_of_a_job_is_never_the_operators() {
    // The runner's `container_labels` may set any label, and a job's image may bring any.
    let both = format!("{RULE}{AGENT}");
    let as_job = judge(&both, |facts| facts.labels.extend(labels())).unwrap();
    assert_eq!(as_job.rule, "deploy");
    assert_eq!(
        judge(AGENT, |facts| facts.labels.extend(labels())),
        Err(Reason::NoRuleForRunner)
    );
    // One label of the runner is enough, whatever it says and whoever set it.
    for key in labels().into_keys() {
        let refused = judge(&both, |facts| {
            facts.labels.insert(key.clone(), "x".to_owned());
            facts.image_labels.insert(key.clone(), "x".to_owned());
        });
        assert!(
            matches!(refused, Err(Reason::LabelMissing(_) | Reason::LabelFromImage(_))),
            "{key}: {refused:?}"
        );
    }
    let unknown = judge(&both, |facts| label(facts, "of.some.later.version", "x"));
    assert_eq!(unknown, Err(Reason::LabelMissing("managed")));
}

#[test]
fn a_job_rule_is_for_no_container_without_labels() {
    assert_eq!(judge(RULE, |_| ()), Err(Reason::NoRuleForContainer));
}

#[test]
fn an_image_narrows_a_label() {
    let id = format!("sha256:{}", "1".repeat(64));
    let pinned = format!("{AGENT}image = \"{id}\"\n");
    assert!(judge(&pinned, |_| ()).is_ok());
    let refused = judge(&pinned, |facts| facts.image_id = format!("sha256:{}", "9".repeat(64)));
    assert_eq!(refused, Err(Reason::NoRuleForContainerImage));
}

#[test]
fn two_labels_with_different_roles_are_refused_when_a_container_has_both() {
    let other = AGENT
        .replace("\"agent\"", "\"backup\"")
        .replace("role=agent", "app=backup");
    let both = format!("{AGENT}{other}");
    assert_eq!(judge(&both, |_| ()).unwrap().rule, "agent");
    let refused = judge(&both, |facts| {
        facts.labels.insert("app".to_owned(), "backup".to_owned());
    });
    assert_eq!(refused, Err(Reason::SeveralRules));
}

#[test]
fn the_session_of_a_long_rule_name_still_fits() {
    let rules = AGENT.replace("name = \"agent\"", &format!("name = \"{}\"", "x".repeat(64)));
    let name = |id: &str| {
        let grant = judge(&rules, |facts| facts.run.container_id = id.repeat(64));
        grant.unwrap().told.session_name
    };
    assert_eq!(name("a").len(), 64);
    assert_ne!(name("a"), name("b"));
}
