//! How explanations read, and that they say what the proxy does.

use std::time::{Duration, SystemTime};

use super::{Explained, Network, Outcome, Standing, explain};
use crate::caller::{Facts, Unattested};
use crate::fixture::gitlab::{SERVER, TOKEN, VERIFY, with_token};
use crate::fixture::{PausedClock, RULE, config, facts, label};

fn standing() -> Standing {
    Standing {
        name: "runner-ab3def9x-project-20-concurrent-0-0a1b2c3d4e5f6071-build".to_owned(),
        cgroup: Ok("/sys/fs/cgroup/system.slice/docker-aaaaaaaaaaaa.scope".to_owned()),
        network: Network::Own,
        same_namespace: Vec::new(),
        same_bridge: Vec::new(),
    }
}

fn explained(rules: &str, facts: &Facts, standing: &Standing) -> Explained {
    let explained = explain(&config(rules), facts, standing, PausedClock::epoch());
    for line in explained.to_string().lines() {
        // An ARN stays whole.
        assert!(line.chars().count() <= 100 || line.contains("arn:"), "{line}");
    }
    explained
}

fn reason(explained: &Explained) -> &'static str {
    match &explained.outcome {
        Outcome::Granted { .. } => "granted",
        Outcome::Observed { .. } => "observed",
        Outcome::Refused { reason, .. } => reason,
    }
}

const OTHERS: &str = r#"
[[rule]]
name = "release"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = [21, 22]
role = "release"
[[rule]]
name = "elsewhere"
runner = "Zz"
gitlab = "gitlab.example.com"
project = 20
role = "deploy"
"#;

#[test]
fn a_grant_is_explained_step_by_step() {
    let mut facts = facts();
    facts.env.push("IAM_ROLE=deploy-eu".to_owned());
    let standing = Standing {
        same_bridge: vec![("bridge".to_owned(), 2)],
        ..standing()
    };
    let explained = explained(&format!("{RULE}{OTHERS}"), &facts, &standing);
    assert!(explained.is_granted());
    insta::assert_snapshot!(explained, @r###"
    container aaaaaaaaaaaa (runner-ab3def9x-project-20-concurrent-0-0a1b2c3d…)
      image       sha256:1111111111111111111111111111111111111111111111111111111111111111
      started     2027-01-15T07:59:00.5Z

    what GitLab Runner's labels say, and who chooses it
      runner      Ab3dEf9_x                           the runner
      gitlab      gitlab.example.com                  GitLab
      project     20                                  GitLab
      pipeline    574                                 GitLab; with runners before 19.0 the author
      job         302                                 GitLab
      kind        build                               the runner
      ref         main                                the author: anybody who may push names branches
                                                      and tags
      image       sha256:111111111111                 the author, within the runner's allowed_images
      timeout     3600 s, until 2027-01-15T09:09:00Z  the author, within the bounds of project and
                                                      runner

    rules, in the file's order
      deploy      matches
      release     no: its project is 21 or 22
      elsewhere   no: its runner is Zz of gitlab.example.com

    role
      selected    IAM_ROLE is "deploy-eu"; the author chooses it
      from        arn:aws:iam::123456789012:role/deploy arn:aws:iam::123456789012:role/deploy-eu
                  arn:aws:iam::123456789012:role/team/deploy

    what the kernel shows
      cgroup      its own is /sys/fs/cgroup/system.slice/docker-aaaaaaaaaaaa.scope
      network     a network namespace that is not the host's
      neighbours  2 containers of other jobs are on its network bridge; a filter keeps each to its own
                  addresses, and who is not covered by it is refused

    granted
      role        arn:aws:iam::123456789012:role/deploy-eu
      by rule     deploy
      session     20-302-Ab3dEf9_x, 3600 s
      until       2027-01-15T09:09:00Z
    "###);
    let document: serde_json::Value = serde_json::from_str(&explained.json()).unwrap();
    let text = |place| {
        document
            .pointer(place)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    assert_eq!(text("/outcome/outcome"), "granted");
    assert_eq!(text("/outcome/role"), "arn:aws:iam::123456789012:role/deploy-eu");
    assert_eq!(
        (text("/rules/1/criterion"), text("/rules/1/wanted")),
        ("project", "21 or 22")
    );
    assert_eq!(
        (text("/job/2/name"), text("/job/2/value"), text("/job/2/chosen_by")),
        ("project", "20", "GitLab")
    );
}

#[test]
fn a_refusal_says_what_is_missing() {
    let mut facts = facts();
    label(&mut facts, "project.id", "23");
    label(&mut facts, "job.ref", "main\u{202e}");
    let standing = Standing {
        same_namespace: vec!["other-build".to_owned()],
        ..standing()
    };
    let explained = explained(&format!("{RULE}{OTHERS}"), &facts, &standing);
    assert!(!explained.is_granted());
    insta::assert_snapshot!(explained, @r###"
    container aaaaaaaaaaaa (runner-ab3def9x-project-20-concurrent-0-0a1b2c3d…)
      image       sha256:1111111111111111111111111111111111111111111111111111111111111111
      started     2027-01-15T07:59:00.5Z

    what GitLab Runner's labels say, and who chooses it
      runner      Ab3dEf9_x                           the runner
      gitlab      gitlab.example.com                  GitLab
      project     23                                  GitLab
      pipeline    574                                 GitLab; with runners before 19.0 the author
      job         302                                 GitLab
      kind        build                               the runner
      ref         main\u{202e}                        the author: anybody who may push names branches
                                                      and tags
      image       sha256:111111111111                 the author, within the runner's allowed_images
      timeout     3600 s, until 2027-01-15T09:09:00Z  the author, within the bounds of project and
                                                      runner

    rules, in the file's order
      deploy      no: its project is 20
      release     no: its project is 21 or 22
      elsewhere   no: its runner is Zz of gitlab.example.com

    role
      selected    IAM_ROLE is not set, or not to be believed; the author could set it

    what the kernel shows
      cgroup      its own is /sys/fs/cgroup/system.slice/docker-aaaaaaaaaaaa.scope
      network     a network namespace that is not the host's
      neighbours  no: containers of other jobs are in the same network namespace and could read every
                  answer: other-build

    refused
      reason      shared-network
      meaning     containers of other jobs are in the same network namespace and could read every
                  answer: other-build
    "###);
}

#[test]
fn a_container_that_the_runner_did_not_make_is_explained_too() {
    let mut facts = facts();
    facts.labels.clear();
    insta::assert_snapshot!(explained(RULE, &facts, &standing()), @r###"
    container aaaaaaaaaaaa (runner-ab3def9x-project-20-concurrent-0-0a1b2c3d…)
      image       sha256:1111111111111111111111111111111111111111111111111111111111111111
      started     2027-01-15T07:59:00.5Z

    what GitLab Runner's labels say, and who chooses it
      nothing     that can be believed

    rules, in the file's order
      deploy      no: its runner is Ab3dEf9_x of gitlab.example.com

    role
      selected    IAM_ROLE is not set, or not to be believed; the author could set it

    what the kernel shows
      cgroup      its own is /sys/fs/cgroup/system.slice/docker-aaaaaaaaaaaa.scope
      network     a network namespace that is not the host's

    refused
      reason      no-rule-for-container
      meaning     the container carries no label of GitLab Runner's, and no rule names one of its own
                  labels
    "###);
}

#[test]
fn a_container_of_the_operator_is_explained_by_its_label() {
    let agent = "[[rule]]\nname = \"agent\"\ncontainer = { label = \"role=agent\" }\nrole = \"agent\"\n";
    let mut facts = facts();
    facts.labels = [("role".to_owned(), "agent".to_owned())].into();
    let page = explained(&format!("{RULE}{agent}"), &facts, &standing()).to_string();
    assert!(
        page.contains("\n  agent       matches\n") && page.contains("\n  until       it ends\n"),
        "{page}"
    );
    facts.labels = [("role".to_owned(), "other".to_owned())].into();
    let page = explained(agent, &facts, &standing()).to_string();
    assert!(
        page.contains("no: its container is one that the operator labels role=agent"),
        "{page}"
    );
}

#[test]
fn what_the_kernel_does_not_show_refuses_whatever_policy_says() {
    for (change, expected) in [
        (
            Standing {
                network: Network::Host,
                ..standing()
            },
            "unknown-address",
        ),
        (
            Standing {
                network: Network::Without,
                ..standing()
            },
            "unknown-address",
        ),
        (
            Standing {
                cgroup: Err(Unattested::NoCgroup),
                ..standing()
            },
            "no-cgroup",
        ),
        (
            Standing {
                cgroup: Err(Unattested::NotRunning),
                ..standing()
            },
            "not-running",
        ),
        (
            Standing {
                same_namespace: vec!["x".to_owned()],
                ..standing()
            },
            "shared-network",
        ),
        (standing(), "granted"),
    ] {
        assert_eq!(reason(&explained(RULE, &facts(), &change)), expected);
    }
}

#[test]
fn a_container_that_outlived_its_job_gets_nothing() {
    let late = PausedClock::epoch() + Duration::from_hours(2);
    let explained = explain(&config(RULE), &facts(), &standing(), late);
    assert_eq!(reason(&explained), "too-old");
    assert_eq!(
        reason(&explain(&config(RULE), &facts(), &standing(), SystemTime::UNIX_EPOCH)),
        "granted"
    );
}

#[test]
fn of_hundreds_of_rules_those_that_came_close_are_shown() {
    let strange: String = (0..100)
        .map(|number| format!("[[rule]]\nname = \"r{number}\"\nrunner = \"Z{number}\"\ngitlab = \"g.example.com\"\nproject = 1\nrole = \"r\"\n"))
        .collect();
    let page = explained(&format!("{strange}{RULE}"), &facts(), &standing()).to_string();
    assert!(
        page.contains("\n  deploy      matches\n") && page.contains("and 81 of other runners"),
        "{page}"
    );
}

#[test]
fn what_is_observed_is_explained_with_the_reason_of_the_refusal() {
    let mut facts = facts();
    label(&mut facts, "project.id", "22");
    facts.env.push("IAM_ROLE=legacy@123456789012".to_owned());
    let observe = "[compat]\nprofile = \"lyft\"\nmode = \"observe\"\nobserved_roles = \"legacy\"\n";
    let explained = explained(&format!("{observe}{RULE}"), &facts, &standing());
    assert!(explained.is_granted() && reason(&explained) == "observed");
    let page = explained.to_string();
    let (_, end) = page.split_once("\n\nobserved").unwrap();
    insta::assert_snapshot!(format!("observed{end}"), @r###"
    observed: given although the rules refuse it (compat.mode = "observe")
      role        arn:aws:iam::123456789012:role/legacy
      session     22-302-Ab3dEf9_x, 3600 s
      would be    no-rule-for-project
      meaning     no rule of this runner names the project
    "###);
}

#[test]
fn what_gitlab_is_asked_is_told_and_a_job_without_a_token_is_refused() {
    let rules =
        format!("{SERVER}token_file = \"/t\"\n{RULE}{VERIFY}protected = true\nref_type = [\"tag\", \"branch\"]\n");
    let granted = explained(&rules, &with_token(facts()), &standing());
    let page = granted.to_string();
    let (_, end) = page.split_once("\n\ngranted").unwrap();
    insta::assert_snapshot!(end, @r###"
      role        arn:aws:iam::123456789012:role/deploy
      by rule     deploy
      session     20-302-Ab3dEf9_x, 3600 s
      verifier    gitlab.example.com, which is asked first: does the job of the labels run, is its ref a
                  branch or tag, is the ref protected? What it says stands in the audit log
      until       2027-01-15T09:09:00Z
    "###);
    assert!(granted.is_granted() && !page.contains(TOKEN) && !granted.json().contains(TOKEN));
    let refused = explained(&rules, &facts(), &standing());
    assert_eq!(reason(&refused), "job-token-missing");
    assert_eq!(reason(&explained(RULE, &facts(), &standing())), "granted");
}
