//! Which rules are good, and which contradict each other.

use super::{faults, read};
use crate::fixture::{HEADER, RULE};

#[test]
fn rules_that_contradict_each_other_are_refused() {
    let other = RULE
        .replace("name = \"deploy\"", "name = \"other\"")
        .replace("role = \"deploy\"", "role = \"other\"");
    insta::assert_snapshot!(faults(&format!("{HEADER}{RULE}{other}{other}")), @r###"
        metadata-proxy.toml:16: rule[1]: one container can match this rule and rule[0] ("deploy"), which give it different roles
          remedy: narrow one of them by project, kind, ref, image or system_id, or merge them into one rule with `selectable`
        metadata-proxy.toml:24: rule[2]: one container can match this rule and rule[0] ("deploy"), which give it different roles
          remedy: narrow one of them by project, kind, ref, image or system_id, or merge them into one rule with `selectable`
        metadata-proxy.toml:24: rule[2].name: rule[1] is called "other" too
          remedy: give each rule a name of its own
        "###);
}

#[test]
fn rules_that_cannot_meet_or_agree_are_accepted() {
    let other = RULE.replace("name = \"deploy\"", "name = \"other\"");
    assert!(read(&format!("{HEADER}{RULE}{other}")).is_ok());
    let differs = other.replace("role = \"deploy\"", "role = \"other\"");
    for (one, two) in [
        ("kind = \"build\"", "kind = \"service\""),
        ("ref = \"main\"", "ref = \"dev\""),
    ] {
        assert!(
            read(&format!("{HEADER}{RULE}{one}\n{differs}{two}\n")).is_ok(),
            "{one} {two}"
        );
    }
    assert!(
        read(&format!(
            "{HEADER}{RULE}{}",
            differs.replace("project = 20", "project = 21")
        ))
        .is_ok()
    );
    assert!(
        read(&format!(
            "{HEADER}{RULE}{}",
            differs.replace("gitlab.example.com", "gitlab.com")
        ))
        .is_ok()
    );
}

#[test]
fn a_rule_needs_runner_gitlab_project_and_a_role() {
    for line in [
        "runner = \"Ab3dEf9_x\"\n",
        "gitlab = \"gitlab.example.com\"\n",
        "project = 20\n",
        "name = \"deploy\"\n",
    ] {
        let text = format!("{HEADER}{}", RULE.replace(line, "ref = \"main\"\n"));
        assert!(faults(&text).contains("is missing"), "{line}");
    }
    let bare = RULE
        .replace("role = \"deploy\"\n", "")
        .replace("selectable = [\"/team/deploy\", \"deploy-eu\"]\n", "");
    assert!(faults(&format!("{HEADER}{bare}")).contains("rule[0].role: is missing"));
    let repeated = RULE.replace("\"/team/deploy\", ", "\"deploy\", ");
    assert!(faults(&format!("{HEADER}{repeated}")).contains("is the rule's role already"));
    assert!(faults(&format!("{HEADER}{RULE}kind = []\n")).contains("an empty list matches nothing"));
}

#[test]
fn patterns_of_refs_that_may_meet_contradict_each_other() {
    let other = RULE
        .replace("name = \"deploy\"", "name = \"other\"")
        .replace("role = \"deploy\"", "role = \"other\"");
    for (one, two, meet) in [
        ("", "ref = \"main\"", true),
        ("ref = \"main\"", "", true),
        ("ref = \"release/*\"", "ref = \"*/1\"", true),
        ("ref = \"release/*\"", "ref = [\"main\", \"release/1\"]", true),
        ("ref = \"release/*\"", "ref = \"hotfix/*\"", false),
        ("ref = \"release/*\"", "ref = \"**/x/y\"", false),
        ("", "ref = \"refs/merge-requests/*/head\"", false),
        ("ref = \"refs/merge-requests/*/head\"", "", false),
        ("ref = \"**\"", "ref = \"refs/merge-requests/*/head\"", false),
        (
            "ref = \"refs/merge-requests/**\"",
            "ref = \"refs/merge-requests/*/head\"",
            true,
        ),
        ("system_id = \"s_1\"", "system_id = \"s_2\"", false),
        ("system_id = \"s_1\"", "", true),
    ] {
        let text = format!("{HEADER}{RULE}{one}\n{other}{two}\n");
        assert_eq!(read(&text).is_err(), meet, "{one} / {two}");
    }
}

#[test]
fn a_ref_alone_grants_nothing() {
    for narrow in [
        "ref = \"main\"",
        "ref = \"release/*\"",
        "ref = \"refs/merge-requests/*/head\"",
    ] {
        let text = format!("{HEADER}{}{narrow}\n", RULE.replace("project = 20\n", ""));
        let told = faults(&text);
        assert!(told.contains("rule[0].project: is missing\n  remedy: write the project's id, or a list of ids; a ref alone never grants"), "{told}");
    }
}

#[test]
fn what_no_ref_and_no_machine_is_called_is_told() {
    insta::assert_snapshot!(faults(&format!("{HEADER}{RULE}ref = [\"^main$\", \"refs/*/7/head\"]\nsystem_id = \"s 1\"\n")), @r###"
    metadata-proxy.toml:15: rule[0].ref: "^main$": a ref is 1 to 256 characters that Git allows, * for any text within one part and ** for any text; ? [ ] ^ and the like are no part of it
      remedy: write the ref as the label job.ref has it, such as main, or a pattern such as release/* or refs/merge-requests/*/head
    metadata-proxy.toml:15: rule[0].ref: "refs/*/7/head": what begins with refs/ is neither branch nor tag, and its first two parts are spelled out, as in refs/merge-requests/*/head
      remedy: write the ref as the label job.ref has it, such as main, or a pattern such as release/* or refs/merge-requests/*/head
    metadata-proxy.toml:16: rule[0].system_id: "s 1": a system id is 1 to 64 letters, digits, _, - and ., such as s_0123456789ab
      remedy: write what .runner_system_id on the runner's machine holds, such as s_0123456789ab
    "###);
}

#[test]
fn runner_ids_that_others_may_have_are_unwise() {
    let warnings = |runner: &str, narrow: &str| {
        let text = format!("{HEADER}{}{narrow}\n", RULE.replace("Ab3dEf9_x", runner));
        read(&text).unwrap().warnings()
    };
    // "o:1\nt:", "g:ab\nx", "p:1q\n", "c:1\no:", in base64url.
    for collides in ["bzoxCnQ6M", "ZzphYgp4e", "cDoxcQpvO", "YzoxCm86M"] {
        assert_eq!(warnings(collides, "").len(), 1, "{collides}");
        assert_eq!(warnings(collides, "system_id = \"s_1\"").len(), 0, "{collides}");
    }
    for random in ["Ab3dEf9_x", "bzo.CnQ6M", "bzA", "rA4fLEAGb"] {
        assert_eq!(warnings(random, "").len(), 0, "{random}");
    }
    insta::assert_snapshot!(warnings("bzoxCnQ6M", "").join("\n"), @r###"
    rule "deploy" has runner = "bzoxCnQ6M", which begins as GitLab's routable tokens did until 2025: with what the runners of a project or group have in common, so that others may have the same id; narrow the rule with system_id, or give the runner a new token
    "###);
}

#[test]
fn a_rule_may_do_without_tokens() {
    let rule = |imds: &str, rule: &str| read(&format!("{HEADER}{imds}{RULE}{rule}")).unwrap();
    let lax = "[imds]\nrequire_token = false\n";
    assert!(rule("", "").rules[0].require_token);
    assert!(!rule(lax, "").rules[0].require_token);
    assert!(rule(lax, "require_token = true\n").rules[0].require_token);
    let exception = rule("", "require_token = false\n");
    assert!(!exception.rules[0].require_token);
    assert_eq!(
        exception.warnings(),
        [
            "rule \"deploy\" has require_token = false: a request forged through a job's own server (SSRF) gets its credentials"
        ]
    );
    assert_eq!(rule(lax, "").warnings().len(), 1);
}

#[test]
fn roles_and_policies_are_of_accounts_that_are_listed() {
    let rule = |more: &str| {
        RULE.replace(
            "role = \"deploy\"\n",
            "role = \"arn:aws:iam::222222222222:role/deploy\"\n",
        ) + more
    };
    insta::assert_snapshot!(faults(&format!("{HEADER}{}", rule(""))), @r###"
    metadata-proxy.toml:13: rule[0].role: "arn:aws:iam::222222222222:role/deploy": the ARN is of an account that is neither aws.account nor one of aws.accounts
      remedy: write a name or /path/name of aws.account, or the ARN of a role of it or of one of aws.accounts
    "###);
    assert!(read(&format!("{HEADER}accounts = \"222222222222\"\n{}", rule(""))).is_ok());
    let text = format!(
        "{HEADER}accounts = [\"222222222222\", \"123456789012\", \"2\"]\n{}",
        rule("policy_arns = \"arn:aws:iam::222222222222:policy/x\"\n")
    );
    insta::assert_snapshot!(faults(&text), @r###"
    metadata-proxy.toml:7: aws.accounts: "2": an account is 12 digits
      remedy: write the 12 digits of the other accounts whose roles rules may name by ARN
    metadata-proxy.toml:7: aws.accounts: is aws.account already
      remedy: remove it
    metadata-proxy.toml:16: rule[0].policy_arns: is of another account than arn:aws:iam::123456789012:role/team/deploy, and STS takes none but those of the role's own
      remedy: give roles of different accounts rules of their own
    "###);
}

#[test]
fn a_rule_may_be_for_containers_of_the_operator() {
    let rule = |container: &str, more: &str| {
        format!("{HEADER}[[rule]]\nname = \"agent\"\ncontainer = {container}\nrole = \"agent\"\n{more}\n")
    };
    let good = read(&rule(
        "{ label = \"com.docker.compose.service=agent\" }",
        "tags = { container = \"{container}\" }",
    ))
    .unwrap();
    assert_eq!(good.rules[0].subject.marker().unwrap().value(), "agent");
    assert_eq!(good.warnings(), Vec::<String>::new());
    let faulty = rule(
        "{ name = \"agent\", label = \"com.gitlab.gitlab-runner.managed=true\" }",
        "runner = \"Ab3dEf9_x\"\nproject = 20\nsession_name = \"{job}-x\"",
    );
    // What is known here grows.
    let told = faults(&faulty);
    let told: Vec<&str> = told
        .lines()
        .map(|line| line.split("; known").next().unwrap_or(line))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r###"
    metadata-proxy.toml:9: rule[0].container.name: "agent": a container can be renamed while it runs, so that its name proves nothing
      remedy: give the container a label, and write label = "KEY=VALUE"
    metadata-proxy.toml:9: rule[0].container.label: "com.gitlab.gitlab-runner.managed=true": labels of GitLab Runner are on containers of jobs
      remedy: write KEY=VALUE, and start the container with that label (docker run --label KEY=VALUE)
    metadata-proxy.toml:11: rule[0].runner: is not a known key
      remedy: remove it
    metadata-proxy.toml:12: rule[0].project: is not a known key
      remedy: remove it
    metadata-proxy.toml:13: rule[0].session_name: "{job}-x": there is no {job}; there are {container} and {rule}
      remedy: write a text with fields, such as {rule}-{container}
    "###);
    for bad in [
        "{}",
        "{ label = \"agent\" }",
        "{ label = \"=x\" }",
        "{ label = \"x=\" }",
        "{ label = \"a b=c\" }",
        "\"x=y\"",
        "{ label = \"x=y\", id = \"z\" }",
    ] {
        assert!(read(&rule(bad, "")).is_err(), "{bad}");
    }
}

#[test]
fn two_rules_for_one_label_contradict_each_other() {
    let rule = |name: &str, label: &str| {
        format!("[[rule]]\nname = \"{name}\"\ncontainer.label = \"{label}\"\nrole = \"{name}\"\n")
    };
    assert!(read(&format!("{HEADER}{}{}", rule("a", "x=1"), rule("b", "x=2"))).is_ok());
    assert!(read(&format!("{HEADER}{RULE}{}", rule("a", "x=1"))).is_ok());
    assert!(faults(&format!("{HEADER}{}{}", rule("a", "x=1"), rule("b", "x=1"))).contains("different roles"));
}
