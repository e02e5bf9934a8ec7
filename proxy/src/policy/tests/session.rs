//! What STS is told of who a session is for.

use proptest::prelude::*;

use crate::caller::Facts;
use crate::fixture::{RULE, config, facts, label};
use crate::policy::{Decision, Policy, Told, decide};

fn told(rules: &str, facts: &Facts) -> Told {
    match decide(&Policy::new(&config(rules)), facts) {
        Decision::Grant(grant) => grant.told,
        Decision::Deny(reason) => panic!("refused: {reason}"),
    }
}

const TOLD: &str = r#"
session_name = "{rule},{ref},{job}"
tags = { project = "{project}", "gitlab:ref" = "{ref}", server = "{gitlab}", machine = "{system_id}", what = "{kind} {container}" }
transitive = ["project"]
source_identity = "{pipeline}@{runner}"
"#;

#[test]
fn a_rule_says_what_sts_is_told() {
    let mut facts = facts();
    label(&mut facts, "job.ref", "release/1.0");
    insta::assert_debug_snapshot!(told(&format!("{RULE}{TOLD}"), &facts), @r###"
    Told {
        session_name: "deploy,release=2F1.0,302",
        tags: [
            (
                "gitlab:ref",
                "release/1.0",
            ),
            (
                "machine",
                "s_0123456789ab",
            ),
            (
                "project",
                "20",
            ),
            (
                "server",
                "gitlab.example.com",
            ),
            (
                "what",
                "build aaaaaaaaaaaa",
            ),
        ],
        transitive: {
            "project",
        },
        source_identity: Some(
            "574@Ab3dEf9_x",
        ),
    }
    "###);
}

#[test]
fn what_is_not_asked_for_is_not_told() {
    let usual = told(RULE, &facts());
    assert_eq!(
        usual,
        Told {
            session_name: "20-302-Ab3dEf9_x".to_owned(),
            ..Told::default()
        }
    );
}

#[test]
fn variables_of_the_job_are_told_to_nobody() {
    let mut other = facts();
    for name in [
        "CI_PROJECT_ID",
        "CI_JOB_ID",
        "CI_COMMIT_REF_NAME",
        "CI_PIPELINE_ID",
        "CI_RUNNER_ID",
        "CI_SERVER_HOST",
    ] {
        other.env.push(format!("{name}=1"));
    }
    let rules = format!("{RULE}{TOLD}");
    assert_eq!(told(&rules, &other), told(&rules, &facts()));
}

proptest! {
    #[test]
    fn no_ref_breaks_what_sts_takes(name in "[!-~\\PC&&[^ ]]{1,300}") {
        let mut facts = facts();
        label(&mut facts, "job.ref", &name);
        prop_assume!(crate::config::Ref::parse(&name).is_ok());
        let told = told(&format!("{RULE}{TOLD}"), &facts);
        prop_assert!((2..=64).contains(&told.session_name.len()));
        prop_assert!(told.session_name.bytes().all(crate::config::is_role_character));
        for (_, value) in &told.tags {
            prop_assert!(value.len() <= 256);
            prop_assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b" _./=+-@".contains(&b)), "{}", value);
        }
    }

    #[test]
    fn session_names_are_such_as_sts_takes(project in 1u64.., job in 1u64.., runner in "[A-Za-z0-9_.-]{1,20}") {
        let rules = RULE.replace("project = 20", &format!("project = {}", project >> 1)).replace("Ab3dEf9_x", &runner);
        prop_assume!(project > 1);
        let mut facts = facts();
        label(&mut facts, "project.id", &(project >> 1).to_string());
        label(&mut facts, "job.id", &job.to_string());
        label(&mut facts, "runner.id", &runner);
        label(&mut facts, "job.url", &format!("https://gitlab.example.com/g/p/-/jobs/{job}"));
        let told = told(&rules, &facts);
        prop_assert!((2..=64).contains(&told.session_name.len()));
        prop_assert!(told.session_name.bytes().all(crate::config::is_role_character));
        prop_assert_eq!(told.session_name, format!("{}-{job}-{runner}", project >> 1));
    }
}
