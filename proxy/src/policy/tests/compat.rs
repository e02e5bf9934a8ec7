//! Those who come from another proxy: what its settings change in a decision, and what they never do.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{DEPLOY, DEPLOY_EU, TEAM_DEPLOY};
use crate::caller::Facts;
use crate::compat::Profile;
use crate::config::{Account, Config, Role};
use crate::fixture::{RULE, config, facts, label};
use crate::policy::{Decision, Grant, Policy, Reason, decide};

const OTHER: &str = "arn:aws:iam::222222222222:role/deploy";
const LISTED: [&str; 3] = [
    "arn:aws:iam::123456789012:role/legacy",
    "arn:aws:iam::123456789012:role/deploy-eu",
    "arn:aws:iam::222222222222:role/ci/default",
];

/// A second rule, whose roles the first one's containers must not get.
fn rules() -> String {
    let other = RULE.replace("\"deploy\"\nrunner", "\"other\"\nrunner").replace(
        "project = 20\nrole = \"deploy\"\nselectable = [\"/team/deploy\", \"deploy-eu\"]",
        "project = 21\nselectable = [\"admin\", \"arn:aws:iam::222222222222:role/deploy\"]",
    );
    format!("{RULE}{other}")
}

/// A configuration whose users come from a profile, with what its settings adopted.
fn coming_from(profile: Profile, mode: &str, default_role: Option<&str>) -> Config {
    let roles: Vec<String> = LISTED.iter().map(|role| format!("{role:?}")).collect();
    let text = format!(
        "accounts = \"222222222222\"\n[compat]\nprofile = \"{}\"\nmode = \"{mode}\"\nobserved_roles = [{}]\n{}",
        profile.as_str(),
        roles.join(", "),
        rules()
    );
    let mut config = config(&text);
    let home = config.aws.home.clone();
    let compat = config.compat.as_mut().unwrap();
    if profile == Profile::Lyft {
        compat.adopted.accounts = BTreeMap::from([
            ("prod".to_owned(), Account::parse("222222222222").unwrap()),
            ("dev".to_owned(), Account::parse("123456789012").unwrap()),
        ]);
    }
    compat.adopted.default_role = default_role.and_then(|text| compat.read_role(text, &home).ok());
    config
}

/// The same without another proxy.
fn plain() -> Config {
    config(&format!("accounts = \"222222222222\"\n{}", rules()))
}

fn grant(config: &Config, facts: &Facts) -> Result<Grant, Reason> {
    match decide(&Policy::new(config), facts) {
        Decision::Grant(grant) => Ok(*grant),
        Decision::Deny(reason) => Err(reason),
    }
}

fn asking(project: &str, env: &[&str]) -> Facts {
    let mut facts = facts();
    label(&mut facts, "project.id", project);
    facts.env.extend(env.iter().map(ToString::to_string));
    facts
}

#[test]
fn a_job_selects_among_the_roles_of_its_rule_in_the_forms_of_the_profile() {
    let config = coming_from(Profile::Lyft, "enforce", Some("legacy"));
    for (project, value, expected) in [
        ("20", "deploy-eu", Ok(DEPLOY_EU)),
        ("20", "deploy@dev", Ok(DEPLOY)),
        ("20", "team/deploy@123456789012", Ok(TEAM_DEPLOY)),
        ("20", "deploy@prod", Err(Reason::SelectorNotAllowed)),
        ("21", "deploy@prod", Ok(OTHER)),
        ("21", "deploy@dev", Err(Reason::SelectorNotAllowed)),
        ("20", "admin@dev", Err(Reason::SelectorNotAllowed)),
        ("20", "deploy@nobody", Err(Reason::SelectorMalformed)),
        ("20", "legacy", Err(Reason::SelectorNotAllowed)),
        ("22", "deploy@dev", Err(Reason::NoRuleForProject)),
    ] {
        let granted = grant(&config, &asking(project, &[&format!("IAM_ROLE={value}")]));
        assert_eq!(
            granted.map(|grant| grant.role.to_string()),
            expected.map(str::to_owned),
            "{value}"
        );
    }
    // The default role is nobody's.
    assert_eq!(grant(&config, &asking("21", &[])).unwrap_err(), Reason::NoRoleSelected);
    // Without a profile these are names that no rule has.
    let refused = grant(&plain(), &asking("20", &["IAM_ROLE=deploy@123456789012"]));
    assert_eq!(refused.unwrap_err(), Reason::SelectorNotAllowed);
}

#[test]
fn while_observing_whom_the_rules_refuse_gets_what_he_got_if_it_is_on_the_list() {
    let config = coming_from(Profile::GoMetadataproxy, "observe", Some("ci/default@222222222222"));
    let given = |facts: &Facts| grant(&config, facts).map(|grant| (grant.role.name().to_owned(), grant.observed));
    let granted = |name: &str| Ok((name.to_owned(), None));
    let observed = |name: &str, reason| Ok((name.to_owned(), Some(reason)));
    assert_eq!(given(&asking("20", &[])), granted("deploy"));
    assert_eq!(given(&asking("20", &["IAM_ROLE=deploy-eu"])), granted("deploy-eu"));
    let legacy = asking("20", &["IAM_ROLE=legacy"]);
    assert_eq!(given(&legacy), observed("legacy", Reason::SelectorNotAllowed));
    let default = asking("22", &[]);
    assert_eq!(given(&default), observed("default", Reason::NoRuleForProject));
    assert_eq!(given(&asking("22", &["IAM_ROLE=admin"])), Err(Reason::NoRuleForProject));
    // The first one, where the rules take neither.
    let twice = asking("20", &["IAM_ROLE=legacy", "IAM_ROLE=admin"]);
    assert_eq!(given(&twice), observed("legacy", Reason::SelectorConflicting));
    let of_image = Facts {
        image_env: vec!["IAM_ROLE=legacy".to_owned()],
        ..legacy
    };
    assert_eq!(given(&of_image), observed("legacy", Reason::SelectorFromImage));
    let of_no_job = Facts {
        labels: BTreeMap::new(),
        ..facts()
    };
    assert_eq!(given(&of_no_job), observed("default", Reason::NoRuleForContainer));
    let grant = |facts: &Facts| grant(&config, facts).unwrap();
    assert_eq!(grant(&of_no_job).told.session_name, "observed-aaaaaaaaaaaa");
    assert_eq!(grant(&default).told.session_name, "22-302-Ab3dEf9_x");
    assert_eq!((grant(&default).rule.as_str(), grant(&default).until), ("", None));
}

#[test]
fn what_is_observed_has_an_edition_of_its_own_that_ends_with_it() {
    let observing = coming_from(Profile::GoMetadataproxy, "observe", Some("legacy"));
    let edition = |policy: &Policy| match decide(policy, &asking("22", &[])) {
        Decision::Grant(grant) => Some(grant.edition),
        Decision::Deny(_) => None,
    };
    let policy = Policy::new(&observing);
    let first = edition(&policy).unwrap();
    assert_eq!(policy.editions().filter(|one| *one == first).count(), 1);
    assert_eq!(policy.editions().count(), 3);
    let same = policy.succeed(&observing);
    assert_eq!(edition(&same), Some(first));
    let other = same.succeed(&coming_from(Profile::GoMetadataproxy, "observe", Some("deploy-eu")));
    assert!(!other.editions().any(|one| one == first) && edition(&other).is_some());
    let enforcing = same.succeed(&coming_from(Profile::GoMetadataproxy, "enforce", Some("legacy")));
    assert_eq!(edition(&enforcing), None);
}

prop_compose! {
    /// Containers of all kinds: sanctioned, of others, of no job, with any IAM_ROLE in any place.
    fn container()(
        project in prop_oneof![4 => 20_u32..22, 1 => 19_u32..23], kind in prop_oneof![6 => "build", 1 => "service", 1 => "x"], has_labels in prop_oneof![4 => Just(true), 1 => Just(false)],
        env in proptest::collection::vec(
            "IAM_ROLE(=((arn:aws:iam::(123456789012|222222222222):role)?/?(team/|ci/)?(deploy|deploy-eu|legacy|admin|default|[a-z.@]{0,3})(@(prod|dev|123456789012|222222222222|x))?)?)?|A=b|B",
            0..3,
        ),
        of_image in 0_usize..5,
    ) -> Facts {
        let mut facts = asking(&project.to_string(), &[]);
        label(&mut facts, "type", &kind);
        if !has_labels {
            facts.labels.clear();
        }
        facts.image_env.extend(env.get(of_image).cloned());
        facts.env.extend(env);
        facts
    }
}

fn profile() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::GoMetadataproxy), Just(Profile::Lyft)]
}

fn default_role() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("legacy")),
        Just(Some("admin")),
        Just(Some("deploy")),
        Just(Some("ci/default@222222222222"))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn enforcing_no_setting_gives_a_container_a_role_that_the_rules_alone_do_not(
        facts in container(), profile in profile(), default_role in default_role(),
    ) {
        let config = coming_from(profile, "enforce", default_role);
        let Ok(given) = grant(&config, &facts) else { return Ok(()) };
        prop_assert_eq!(given.observed, None);
        let rule = config.rules.iter().find(|rule| rule.name == given.rule).unwrap();
        prop_assert!(rule.role.iter().chain(&rule.selectable).any(|role| *role == given.role), "{}", given.role);
        let project = &facts.labels["com.gitlab.gitlab-runner.project.id"];
        prop_assert!(rule.subject.jobs().unwrap().projects.contains(&project.parse().unwrap()));
        // The rules alone give the container that role, in the same session, when it asks for it by its ARN, or for none.
        let mut plainly = facts.clone();
        let asks = facts.env.iter().any(|entry| entry.starts_with("IAM_ROLE"));
        plainly.env.retain(|entry| !entry.starts_with("IAM_ROLE"));
        if asks {
            plainly.env.push(format!("IAM_ROLE={}", given.role));
        }
        prop_assert_eq!(grant(&plain(), &plainly), Ok(given));
    }

    #[test]
    fn observing_gives_what_enforcing_gives_or_else_a_role_of_the_list(
        facts in container(), profile in profile(), default_role in default_role(),
    ) {
        let enforced = grant(&coming_from(profile, "enforce", default_role), &facts);
        let observing = coming_from(profile, "observe", default_role);
        let observed = grant(&observing, &facts);
        match (enforced, observed) {
            (Ok(enforced), observed) => prop_assert_eq!(observed, Ok(enforced)),
            (Err(reason), Err(other)) => prop_assert_eq!(reason, other),
            (Err(reason), Ok(given)) => {
                prop_assert_eq!(given.observed, Some(reason));
                prop_assert!(LISTED.contains(&given.role.arn()), "{}", given.role);
                // And one that the container's own variable, or the default role, names.
                let compat = observing.compat.as_ref().unwrap();
                let home = &observing.aws.home;
                let named = facts.env.iter().filter_map(|entry| entry.strip_prefix("IAM_ROLE="));
                let mut named: Vec<_> = named.filter_map(|text| compat.read_role(text, home).ok()).collect();
                named.extend(compat.adopted.default_role.clone());
                let roles: Vec<Role> = LISTED.iter().map(|role| Role::parse(role, home).unwrap()).collect();
                prop_assert!(named.iter().any(|asked| asked.find(roles.iter()) == Some(&given.role)));
            }
        }
    }
}
