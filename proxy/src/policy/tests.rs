//! What each item of the catalogue that concerns policy must come to.

mod accounts;
mod compat;
mod containers;
mod editions;
mod narrowing;
mod provenance;
mod session;

use proptest::prelude::*;

use super::{Decision, Policy, Reason, decide};
use crate::caller::Facts;
use crate::fixture::{RULE, config, facts, label};

const DEPLOY: &str = "arn:aws:iam::123456789012:role/deploy";
const DEPLOY_EU: &str = "arn:aws:iam::123456789012:role/deploy-eu";
const TEAM_DEPLOY: &str = "arn:aws:iam::123456789012:role/team/deploy";

fn check(rules: &str, change: impl FnOnce(&mut Facts)) -> Result<String, Reason> {
    let mut facts = facts();
    change(&mut facts);
    match decide(&Policy::new(&config(rules)), &facts) {
        Decision::Grant(grant) => Ok(grant.role.to_string()),
        Decision::Deny(reason) => Err(reason),
    }
}

fn check_env(entries: &[&str], image: &[&str]) -> Result<String, Reason> {
    check(RULE, |facts| {
        facts.env.extend(entries.iter().map(ToString::to_string));
        facts.image_env.extend(image.iter().map(ToString::to_string));
    })
}

fn select(value: &str) -> Result<String, Reason> {
    check_env(&[&format!("IAM_ROLE={value}")], &[])
}

/// What the value selects by other rules than the usual one.
fn select_in(rules: &str, value: &str) -> Result<String, Reason> {
    check(rules, |facts| facts.env.push(format!("IAM_ROLE={value}")))
}

fn rule_without_role() -> String {
    RULE.replace("role = \"deploy\"\n", "")
}

#[test]
fn a_sanctioned_container_gets_its_role_under_the_name_of_its_job() {
    let with_id = format!("{RULE}external_id = \"x:1\"\nduration_seconds = 900\n");
    let Decision::Grant(grant) = decide(&Policy::new(&config(&with_id)), &facts()) else {
        panic!("refused")
    };
    assert_eq!(grant.role.arn(), DEPLOY);
    assert_eq!(grant.role.name(), "deploy");
    assert_eq!(grant.told.session_name, "20-302-Ab3dEf9_x");
    assert_eq!(grant.external_id.unwrap().as_str(), "x:1");
    assert_eq!(grant.rule, "deploy");
    assert_eq!(grant.duration_seconds, 900);
}

#[test]
fn role_01_a_variable_selects_only_what_is_listed() {
    assert_eq!(select("prod-admin"), Err(Reason::SelectorNotAllowed));
    assert_eq!(select("deploy-eu"), Ok(DEPLOY_EU.to_owned()));
    assert_eq!(select("deploy"), Ok(DEPLOY.to_owned()));
}

#[test]
fn role_02_duplicates_with_different_values_are_refused_in_every_order() {
    for entries in [
        ["IAM_ROLE=deploy", "IAM_ROLE=admin", "X=y"],
        ["IAM_ROLE=admin", "IAM_ROLE=deploy", "X=y"],
        ["IAM_ROLE=deploy", "IAM_ROLE=deploy-eu", "IAM_ROLE=deploy"],
        [
            "IAM_ROLE=deploy",
            "IAM_ROLE=arn:aws:iam::123456789012:role/deploy",
            "X=y",
        ],
        ["IAM_ROLE=deploy", "IAM_ROLE=", "X=y"],
    ] {
        assert_eq!(
            check_env(&entries, &[]),
            Err(Reason::SelectorConflicting),
            "{entries:?}"
        );
    }
    assert_eq!(
        check_env(&["IAM_ROLE=deploy-eu", "IAM_ROLE=deploy-eu"], &[]),
        Ok(DEPLOY_EU.to_owned())
    );
}

#[test]
fn role_04_without_a_role_of_its_own_a_rule_gives_none_by_default() {
    assert_eq!(check(&rule_without_role(), |_| ()), Err(Reason::NoRoleSelected));
    let selected = check(&rule_without_role(), |facts| {
        facts.env.push("IAM_ROLE=deploy-eu".to_owned());
    });
    assert_eq!(selected, Ok(DEPLOY_EU.to_owned()));
}

#[test]
fn role_05_and_06_a_variable_without_a_value_is_refused() {
    assert_eq!(check_env(&["IAM_ROLE"], &[]), Err(Reason::SelectorWithoutValue));
    assert_eq!(
        check_env(&["IAM_ROLE=deploy", "IAM_ROLE"], &[]),
        Err(Reason::SelectorWithoutValue)
    );
    assert_eq!(select(""), Err(Reason::SelectorEmpty));
}

#[test]
fn role_07_to_21_what_is_not_exactly_a_listed_role_is_refused() {
    let malformed = [
        " deploy",
        "deploy ",
        "\tdeploy",
        "deploy\u{a0}",
        "\u{feff}deploy",
        "deploy\n",
        "deploy\r\nX: y",
        "deploy\0",
        "\u{1b}deploy",
        "dеploy",
        "ｄｅｐｌｏｙ",
        "dep\u{200d}loy",
        "ı",
        "team/deploy",
        "deploy/",
        "/",
        "//deploy",
        "/team//deploy",
        "/team/deploy/",
        "arn:aws:iam",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:role",
        "arn:aws:iam::123456789012:user/deploy",
        "arn:aws:iam:eu-central-1:123456789012:role/deploy",
        "arn:aws:sts::123456789012:assumed-role/deploy/x",
        "arn:aws-cn:iam::123456789012:role/deploy",
        "arn:aws-us-gov:iam::123456789012:role/deploy",
        "arn:aws:iam::999999999999:role/deploy",
        "arn:aws:iam::123456789012:role/deploy:x",
        "ARN:aws:iam::123456789012:role/deploy",
        "../admin",
        "/../deploy",
        "/team/../deploy",
        "/./deploy",
        "a//b",
        "a%2fb",
        "deploy?x",
        "deploy#x",
        "deploy;x",
        "de\\ploy",
        "*",
        "deploy*",
        "[a-z]",
        "{deploy,x}",
        "$(deploy)",
        "${CI_JOB_NAME}",
        "deploy|admin",
        ".",
        "..",
    ];
    for value in malformed {
        assert_eq!(select(value), Err(Reason::SelectorMalformed), "{value:?}");
    }
    assert_eq!(
        select(&format!("/{}", "a".repeat(2048))),
        Err(Reason::SelectorMalformed)
    );
    assert_eq!(select(&"a".repeat(65)), Err(Reason::SelectorMalformed));
    for value in [
        "Deploy",
        "DEPLOY",
        "deploy-",
        "xdeploy",
        "deploy-admin",
        "ploy",
        "y",
        "deploy-*".trim_end_matches('*'),
        "deploy@123456789012",
        "deploy@999999999999",
        "deploy@a@b",
        "@a",
        "r@",
        "/other/deploy",
        "/Team/deploy",
        "/team/deploy-eu",
        "deploy.",
        "deploy=x",
        "$",
    ] {
        let refused = select(value);
        assert!(
            matches!(refused, Err(Reason::SelectorNotAllowed | Reason::SelectorMalformed)),
            "{value:?}: {refused:?}"
        );
    }
}

#[test]
fn role_09_look_alikes_of_the_variable_are_not_the_variable() {
    for entry in [
        "iam_role=admin",
        "IAM_ROLE =admin",
        " IAM_ROLE=admin",
        "IAM-ROLE=admin",
        "IAM_RОLE=admin",
        "IAM_ROLES=admin",
        "=IAM_ROLE=admin",
    ] {
        assert_eq!(check_env(&[entry], &[]), Ok(DEPLOY.to_owned()), "{entry}");
    }
}

#[test]
fn role_12_every_form_of_a_role_is_the_same_role() {
    for (form, expected) in [
        ("deploy", DEPLOY),
        ("/deploy", DEPLOY),
        (DEPLOY, DEPLOY),
        ("/team/deploy", TEAM_DEPLOY),
        (TEAM_DEPLOY, TEAM_DEPLOY),
    ] {
        assert_eq!(select(form), Ok(expected.to_owned()), "{form}");
    }
}

#[test]
fn role_17_the_path_is_part_of_the_role() {
    let rules = RULE
        .replace("role = \"deploy\"", "role = \"/team-a/deploy\"")
        .replace("\"/team/deploy\", ", "");
    for value in ["deploy", "/team-b/deploy", "/deploy"] {
        let refused = check(&rules, |facts| facts.env.push(format!("IAM_ROLE={value}")));
        assert_eq!(refused, Err(Reason::SelectorNotAllowed), "{value}");
    }
}

#[test]
fn role_22_to_25_other_kinds_get_nothing_unless_a_rule_names_them() {
    for kind in ["predefined", "service", "wait", "cache-init"] {
        let refused = check(RULE, |facts| label(facts, "type", kind));
        assert_eq!(refused, Err(Reason::NoRuleForKind), "{kind}");
        let named = format!("{RULE}kind = [\"build\", \"{kind}\"]\n");
        assert_eq!(
            check(&named, |facts| label(facts, "type", kind)),
            Ok(DEPLOY.to_owned()),
            "{kind}"
        );
    }
    assert_eq!(
        check(RULE, |facts| label(facts, "type", "cache")),
        Err(Reason::LabelMalformed("type"))
    );
}

#[test]
fn role_26_and_27_other_labels_never_count() {
    for key in [
        "iam.role",
        "com.gitlab.gitlab-runner.iam.role",
        "IAM_ROLE",
        "io.rancher.container.ip",
        "com.gitlab.gitlab-runner.x",
    ] {
        let same = check(RULE, |facts| {
            facts.labels.insert(key.to_owned(), "admin".to_owned());
        });
        assert_eq!(same, Ok(DEPLOY.to_owned()), "{key}");
    }
}

#[test]
fn role_27_every_label_that_the_runner_sets_must_be_there() {
    for key in facts().labels.keys() {
        let refused = check(RULE, |facts| {
            facts.labels.remove(key);
        });
        assert!(
            matches!(refused, Err(Reason::LabelMissing(name)) if key.ends_with(name)),
            "{key}: {refused:?}"
        );
    }
}

#[test]
fn role_27_every_label_must_read_as_the_runner_writes_it() {
    for (key, values) in [
        ("managed", &["false", "True", "true ", ""][..]),
        ("type", &["Build", "build ", "helper", ""]),
        ("runner.id", &["", "Ab3dEf9_x ", "a/b", "Ab3dEf9_xAb3dEf9_xAb3d"]),
        ("runner.local_id", &["", "-1", "x"]),
        ("runner.system_id", &["", "s 0"]),
        (
            "project.id",
            &["", "0", "020", "+20", "20 ", "２０", "-20", "99999999999999999999"],
        ),
        ("project.runner_id", &["", "x"]),
        ("job.id", &["", "0", "0302", "302x"]),
        ("job.sha", &["", "main", "0123456789ABCDEF0123456789ABCDEF01234567"]),
        ("job.before_sha", &["", "x"]),
        ("job.ref", &["", "ma in", "main\n"]),
        ("job.timeout", &["", "3600", "h", "1h; x"]),
        ("pipeline.id", &["", "x", "0"]),
        (
            "job.url",
            &[
                "",
                "gitlab.example.com/g/p/-/jobs/302",
                "ftp://gitlab.example.com/g/p/-/jobs/302",
                "https://gitlab.example.com/-/jobs/302x",
                "https://gitlab.example.com/g/p/jobs/302",
                "https://gitlab.example.com/g/p/-/jobs/302/",
                "https://gitlab.example.com/g/p/-/jobs/0302",
                "https://gitlab.example.com/g/../p/-/jobs/302",
                "https://gitlab.example.com//p/-/jobs/302",
                "https://gitlab.example.com/g/p?x/-/jobs/302",
                "https://evil@gitlab.example.com/g/p/-/jobs/302",
                "https://GitLab.example.com/g/p/-/jobs/302",
                "https://gitlab.example.com:0443/g/p/-/jobs/302",
                "https:///g/p/-/jobs/302",
            ],
        ),
    ] {
        for value in values {
            let refused = check(RULE, |facts| label(facts, key, value));
            assert_eq!(refused, Err(Reason::LabelMalformed(key)), "{key}={value:?}");
        }
    }
    let other_job = check(RULE, |facts| label(facts, "job.id", "303"));
    assert_eq!(other_job, Err(Reason::JobUrlOfAnotherJob));
}

#[test]
fn role_28_to_32_variables_of_the_job_decide_nothing() {
    let same = check_env(
        &[
            "CI_PROJECT_ID=21",
            "CI_PROJECT_PATH=g/q",
            "CI_COMMIT_REF_PROTECTED=true",
            "CI_COMMIT_REF_PROTECTED=false",
            "CI_ENVIRONMENT_NAME=prod",
            "HOSTNAME=runner-x-project-1-concurrent-0-build",
            "IAM_EXTERNAL_ID=guess",
            "ROLE_SESSION_KEY=Env:X",
            "IAM_POLICY={}",
            "IAM_ROLE_ARN=admin",
            "AWS_ROLE_ARN=admin",
        ],
        &[],
    );
    assert_eq!(same, Ok(DEPLOY.to_owned()));
}

#[test]
fn role_33_native_steps_leave_no_variable_and_change_nothing() {
    let same = check(RULE, |facts| {
        facts.env = vec!["_GITLAB_RUNNER_HELPER_NATIVE_STEPS_ARGV=[]".to_owned()];
    });
    assert_eq!(same, Ok(DEPLOY.to_owned()));
}

#[test]
fn role_35_a_value_that_was_not_expanded_is_judged_as_it_stands() {
    for value in ["$A$B", "$$", "/builds/g/p.tmp/IAM_ROLE"] {
        assert!(select(value).is_err(), "{value}");
    }
}

#[test]
fn role_38_other_projects_runners_and_servers_get_nothing() {
    assert_eq!(
        check(RULE, |facts| label(facts, "project.id", "21")),
        Err(Reason::NoRuleForProject)
    );
    assert_eq!(
        check(RULE, |facts| label(facts, "runner.id", "Other_tok")),
        Err(Reason::NoRuleForRunner)
    );
    let elsewhere = check(RULE, |facts| {
        label(facts, "job.url", "https://gitlab.com/g/p/-/jobs/302");
    });
    assert_eq!(elsewhere, Err(Reason::NoRuleForRunner));
}

#[test]
fn img_01_and_03_a_value_that_the_image_may_have_given_is_refused() {
    // The engine fills what the create request lacks from the image, so that the two look the same.
    assert_eq!(
        check_env(&["IAM_ROLE=deploy"], &["IAM_ROLE=deploy"]),
        Err(Reason::SelectorFromImage)
    );
    assert_eq!(
        check_env(&["IAM_ROLE=admin"], &["IAM_ROLE=admin"]),
        Err(Reason::SelectorFromImage)
    );
    assert_eq!(
        check_env(&["IAM_ROLE="], &["IAM_ROLE="]),
        Err(Reason::SelectorFromImage)
    );
    // What the runner sets replaces what the image says, which then does not count.
    assert_eq!(
        check_env(&["IAM_ROLE=deploy-eu"], &["IAM_ROLE=admin"]),
        Ok(DEPLOY_EU.to_owned())
    );
    let native = check(RULE, |facts| {
        facts.env = vec![
            "_GITLAB_RUNNER_HELPER_NATIVE_STEPS_ARGV=[]".to_owned(),
            "IAM_ROLE=deploy-eu".to_owned(),
        ];
        facts.image_env = vec!["IAM_ROLE=deploy-eu".to_owned()];
    });
    assert_eq!(native, Err(Reason::SelectorFromImage));
}

#[test]
fn img_05_06_and_13_an_image_is_its_digest() {
    let digest = format!("sha256:{}", "2".repeat(64));
    let id = format!("sha256:{}", "1".repeat(64));
    for image in [&digest, &id] {
        assert_eq!(
            check(&format!("{RULE}image = \"{image}\"\n"), |_| ()),
            Ok(DEPLOY.to_owned()),
            "{image}"
        );
    }
    let pinned = format!("{RULE}image = [\"{digest}\"]\n");
    for digests in [
        vec![],
        vec![format!("registry.example.com/ruby@sha256:{}", "3".repeat(64))],
        vec![format!("registry.example.com/ruby:{digest}")],
        vec![format!("{digest}@sha256:{}", "3".repeat(64))],
    ] {
        let refused = check(&pinned, |facts| facts.repo_digests = digests.clone());
        assert_eq!(refused, Err(Reason::NoRuleForImage), "{digests:?}");
    }
}

#[test]
fn rules_that_meet_only_in_one_container_refuse_it() {
    // Neither image list proves that the two never meet: one image has an id and a digest.
    let other = RULE
        .replace("\"deploy\"\n", "\"other\"\n")
        .replace("role = \"deploy\"", "role = \"other\"");
    let rules = format!(
        "{RULE}image = \"sha256:{}\"\n{other}image = \"sha256:{}\"\n",
        "1".repeat(64),
        "2".repeat(64)
    );
    assert_eq!(check(&rules, |_| ()), Err(Reason::SeveralRules));
}

proptest! {
    #[test]
    fn no_value_selects_a_role_that_is_not_listed(value in ".{0,80}", image in proptest::collection::vec(".{0,20}", 0..3)) {
        let image: Vec<&str> = image.iter().map(String::as_str).collect();
        if let Ok(role) = check_env(&[&format!("IAM_ROLE={value}")], &image) {
            prop_assert!([DEPLOY, DEPLOY_EU, TEAM_DEPLOY].contains(&role.as_str()), "{}", role);
        }
    }

    #[test]
    fn a_listed_role_is_selected_only_by_its_own_forms(value in "/?(team/)?(deploy|deploy-eu)[a-z/-]{0,3}") {
        if let Ok(role) = select(&value) {
            prop_assert_eq!(format!("arn:aws:iam::123456789012:role/{}", value.trim_start_matches('/')), role);
        }
    }
}
