//! In which forms jobs named roles, and which role that was.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{Compat, Mode, Profile, form};
use crate::config::{Account, Home, Partition, Role};
use crate::fixture::config;

const OWN: &str = "123456789012";
const OTHER: &str = "222222222222";

fn home() -> Home {
    Home {
        partition: Partition::default(),
        account: Account::parse(OWN).unwrap(),
        others: [Account::parse(OTHER).unwrap()].into(),
    }
}

fn aliases() -> BTreeMap<String, Account> {
    [("prod", OTHER), ("dev", OWN), ("far", "333333333333")]
        .map(|(alias, account)| (alias.to_owned(), Account::parse(account).unwrap()))
        .into()
}

/// Which of the roles is found, by the end of its ARN.
fn find(profile: Profile, text: &str, roles: &[&str]) -> Option<String> {
    let roles: Vec<Role> = roles.iter().map(|role| Role::parse(role, &home()).unwrap()).collect();
    let asked = form::read(text, profile, &aliases(), &home()).ok()?;
    asked.find(roles.iter()).map(|role| role.arn()[13..].to_owned())
}

const ROLES: [&str; 4] = [
    "deploy",
    "/team/build",
    "arn:aws:iam::222222222222:role/deploy",
    "arn:aws:iam::222222222222:role/team/far",
];

#[test]
fn each_form_of_the_earlier_proxies_means_its_role() {
    use Profile::{GoMetadataproxy as Go, Lyft};
    let deploy = Some("123456789012:role/deploy");
    let (build, other) = (Some("123456789012:role/team/build"), Some("222222222222:role/deploy"));
    for (text, go, lyft) in [
        ("deploy", deploy, deploy),
        ("build", build, build),
        ("/team/build", build, build),
        ("team/build", None, build),
        ("deploy@123456789012", deploy, deploy),
        ("deploy@222222222222", other, other),
        ("team/build@123456789012", build, build),
        ("build@123456789012", None, None),
        ("arn:aws:iam::222222222222:role/deploy", other, other),
        ("arn:aws:iam::123456789012:role/team/build", build, build),
        ("deploy@prod", other, other),
        ("deploy@dev", deploy, deploy),
        // A name alone is of the first account.
        ("far", None, None),
    ] {
        assert_eq!(find(Go, text, &ROLES).as_deref(), go, "go-metadataproxy: {text}");
        assert_eq!(find(Lyft, text, &ROLES).as_deref(), lyft, "lyft: {text}");
    }
    for profile in Profile::ALL {
        for text in [
            "",
            "@",
            "@prod",
            "deploy@",
            "deploy@PROD",
            "deploy@far",
            "deploy@333333333333",
            "deploy@prod@prod",
            "deploy@22222222222",
            "deploy @prod",
            "x:role/deploy@prod",
            "../deploy@prod",
            "team//build@dev",
            "team/build/",
            "arn:aws:iam::333333333333:role/deploy",
            "arn:aws-cn:iam::123456789012:role/deploy",
            "Deploy",
        ] {
            assert_eq!(find(profile, text, &ROLES), None, "{text:?}");
        }
    }
}

#[test]
fn of_several_roles_of_one_name_nobody_guesses() {
    let find = |roles: &[&str]| find(Profile::GoMetadataproxy, "deploy", roles);
    assert_eq!(find(&["/a/deploy", "/b/deploy"]), None);
    assert_eq!(
        find(&["/a/deploy", "/b/deploy", "deploy"]).as_deref(),
        Some("123456789012:role/deploy")
    );
    assert_eq!(find(&["/a/deploy"]).as_deref(), Some("123456789012:role/a/deploy"));
}

/// A profile that observes, with what `more` says.
fn observing(profile: Profile, default_role: Option<&str>) -> Compat {
    let text = format!(
        "accounts = \"{OTHER}\"\n[compat]\nprofile = \"{}\"\nmode = \"observe\"\nobserved_roles = [\"deploy\", \"other\", \"/team/build\"]\n\
         external_ids = {{ other = \"x:1\" }}\n",
        profile.as_str()
    );
    let mut compat = config(&text).compat.unwrap();
    let read = |text| form::read(text, profile, &BTreeMap::new(), &home()).unwrap();
    compat.adopted.default_role = default_role.map(read);
    compat
}

#[test]
fn the_role_of_before_is_what_the_earlier_proxy_would_have_given() {
    use Profile::{GoMetadataproxy as Go, Lyft};
    let (go, lyft) = (observing(Go, Some("deploy")), observing(Lyft, Some("deploy")));
    let given = |compat: &Compat, env: &[&str]| {
        let env: Vec<String> = env.iter().map(ToString::to_string).collect();
        compat.before(&env, &home()).map(|(role, _)| role.name().to_owned())
    };
    for (env, of_go, of_lyft) in [
        (&["A=b"][..], Some("deploy"), Some("deploy")),
        (&["IAM_ROLE=other"], Some("other"), Some("other")),
        (&["IAM_ROLE=other", "IAM_ROLE=build"], Some("other"), Some("build")),
        (&["IAM_ROLE=build", "IAM_ROLE=other"], Some("build"), Some("other")),
        (&["IAM_ROLE="], None, Some("deploy")),
        (&["IAM_ROLE=other", "IAM_ROLE="], Some("other"), Some("deploy")),
        (&["IAM_ROLE"], None, None),
        (&["IAM_ROLE=other", "X"], Some("other"), None),
        (&["IAM_ROLE=admin"], None, None),
        (&["IAM_ROLE=/no role/"], None, None),
        (&["IAM_ROLE=deploy@123456789012"], Some("deploy"), Some("deploy")),
        (&["IAM_ROLE=deploy@222222222222"], None, None),
    ] {
        assert_eq!(given(&go, env).as_deref(), of_go, "go-metadataproxy: {env:?}");
        assert_eq!(given(&lyft, env).as_deref(), of_lyft, "lyft: {env:?}");
    }
    assert_eq!(given(&observing(Go, None), &["A=b"]), None);
    assert_eq!(given(&observing(Go, Some("admin")), &["A=b"]), None, "not on the list");
    let enforcing = Compat {
        mode: Mode::Enforce,
        ..go.clone()
    };
    assert_eq!(given(&enforcing, &["IAM_ROLE=other"]), None);
    let env = ["IAM_ROLE=other".to_owned(), "IAM_EXTERNAL_ID=guess".to_owned()];
    let (_, external_id) = go.before(&env, &home()).unwrap();
    assert_eq!(external_id.unwrap().as_str(), "x:1");
}

prop_compose! {
    fn role()(account in prop_oneof![Just(OWN), Just(OTHER)], path in proptest::collection::vec("[a-zA-Z0-9_+=,.-]{1,8}", 0..3), name in "[a-zA-Z0-9_+=,.-]{1,20}") -> String {
        let segments: Vec<String> = path.into_iter().chain([name]).collect();
        format!("arn:aws:iam::{account}:role/{}", segments.join("/"))
    }
}

proptest! {
    #[test]
    fn a_role_is_found_by_each_of_its_forms(arn in role(), others in proptest::collection::btree_set(role(), 0..4)) {
        let home = home();
        let Ok(wanted) = Role::parse(&arn, &home) else { return Ok(()) };
        let mut roles: BTreeSet<Role> = others.iter().filter_map(|other| Role::parse(other, &home).ok()).collect();
        roles.insert(wanted.clone());
        let (account, path) = arn[13..].split_once(":role/").unwrap();
        let alias = if account == OWN { "dev" } else { "prod" };
        for profile in Profile::ALL {
            for form in [arn.clone(), format!("{path}@{account}"), format!("{path}@{alias}")] {
                let asked = form::read(&form, profile, &aliases(), &home).unwrap();
                prop_assert_eq!(asked.find(roles.iter()), Some(&wanted), "{}", form);
            }
        }
    }

    #[test]
    fn whatever_is_asked_for_only_a_role_of_that_name_and_account_is_found(
        text in "((arn:aws:iam::)?(123456789012|222222222222)?(:role)?)?/?(team/)?(deploy|build|far|[a-z]{1,4})(@(prod|dev|far|[0-9]{12}|.{0,3})){0,2}",
    ) {
        let roles: Vec<Role> = ROLES.iter().map(|role| Role::parse(role, &home()).unwrap()).collect();
        for profile in Profile::ALL {
            let Ok(asked) = form::read(&text, profile, &aliases(), &home()) else { continue };
            let Some(found) = asked.find(roles.iter()) else { continue };
            let name = text.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            prop_assert_eq!(found.name(), name);
            let is_other = text.contains(OTHER) || text.ends_with("@prod");
            prop_assert_eq!(found.account(), if is_other { OTHER } else { OWN });
        }
    }
}
