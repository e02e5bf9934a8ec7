use super::*;
use crate::config::{Aws, OneOrMany};

/// Half an hour after the containers began.
const NOW: Timestamp = Timestamp::constant(1_767_227_400, 0);

fn config(rules: Vec<Rule>) -> Config {
    Config {
        listen: crate::config::Listen::default(),
        engine: crate::config::Engine::default(),
        aws: Aws {
            account: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
            partition: "aws".to_owned(),
            sts_endpoint: None,
            session_seconds: 3600,
        },
        imds: crate::config::Imds::default(),
        attestation: crate::config::Attestation::default(),
        rules,
        by_variable: false,
    }
}

fn rule() -> Rule {
    Rule {
        runner: "Ab3dEf9_x".to_owned(),
        gitlab: "gitlab.example.com".to_owned(),
        project: OneOrMany::One(20),
        kind: OneOrMany::One("build".to_owned()),
        role: Some("deploy".to_owned()),
        selectable: vec!["deploy-eu".to_owned()],
        external_id: Some("secret-of-20".to_owned()),
        ..Rule::default()
    }
}

fn job(env: &[&str]) -> Facts {
    Facts::of_job(20, 302, "build", env)
}

fn ask(hole: Option<Hole>, facts: &Facts) -> Result<String, Refusal> {
    let switches = Switches {
        hole,
        default_role: None,
    };
    decide(&config(vec![rule()]), &switches, facts, NOW).map(|grant| grant.role.name().to_owned())
}

fn of_image(mut facts: Facts, entry: &str) -> Facts {
    facts.env.push(entry.to_owned());
    facts.image_env.push(entry.to_owned());
    facts
}

#[test]
fn the_rule_names_the_role_and_the_container_selects_inside_it() {
    assert_eq!(ask(None, &job(&[])), Ok("deploy".to_owned()));
    assert_eq!(ask(None, &job(&["IAM_ROLE=deploy-eu"])), Ok("deploy-eu".to_owned()));
    assert_eq!(
        ask(None, &job(&["IAM_ROLE=arn:aws:iam::123456789012:role/deploy-eu"])),
        Ok("deploy-eu".to_owned())
    );
    assert_eq!(
        ask(None, &job(&["IAM_ROLE=deploy-eu", "IAM_ROLE=deploy-eu"])),
        Ok("deploy-eu".to_owned())
    );
}

#[test]
fn without_a_policy_the_containers_own_variables_say_everything_unless_they_differ() {
    let ask = |env: &[&str]| {
        let config = Config {
            by_variable: true,
            ..config(Vec::new())
        };
        let switches = Switches {
            hole: None,
            default_role: None,
        };
        let grant = decide(&config, &switches, &job(env), NOW)?;
        Ok((grant.role.name().to_owned(), grant.external_id))
    };
    assert_eq!(ask(&[]), Err(Refusal::NoRole));
    assert_eq!(ask(&["IAM_ROLE=any"]), Ok(("any".to_owned(), None)));
    let of_both = Ok(("any".to_owned(), Some("x".to_owned())));
    assert_eq!(
        ask(&["IAM_ROLE=any", "IAM_EXTERNAL_ID=x", "IAM_EXTERNAL_ID=x"]),
        of_both
    );
    for env in [
        &["IAM_ROLE=any", "IAM_ROLE=other"][..],
        &["IAM_ROLE=any", "IAM_EXTERNAL_ID=x", "IAM_EXTERNAL_ID=y"],
    ] {
        assert_eq!(ask(env), Err(Refusal::Conflict), "{env:?}");
    }
    assert_eq!(ask(&["IAM_ROLE=no/path"]), Err(Refusal::Odd));
}

#[test]
fn another_runner_server_project_ref_or_image_matches_no_rule() {
    for (key, value) in [
        ("runner.id", "other"),
        ("job.url", "https://gitlab.evil.example/g/p/-/jobs/302"),
        ("project.id", "21"),
    ] {
        let mut facts = job(&[]);
        facts.labels.insert(format!("{PREFIX}{key}"), value.to_owned());
        assert_eq!(ask(None, &facts), Err(Refusal::NoRule), "{key}");
    }
    let narrowed = Rule {
        refs: Some(OneOrMany::One("main".to_owned())),
        ..rule()
    };
    assert_eq!(
        decide(&config(vec![narrowed]), &Switches::default(), &job(&[]), NOW),
        Err(Refusal::NoRule)
    );
    let narrowed = Rule {
        image: Some(OneOrMany::One("sha256:feed".to_owned())),
        ..rule()
    };
    assert_eq!(
        decide(&config(vec![narrowed]), &Switches::default(), &job(&[]), NOW),
        Err(Refusal::NoRule)
    );
}

#[test]
fn a_missing_label_or_a_second_rule_is_a_refusal() {
    let mut facts = job(&[]);
    facts.labels.remove(&format!("{PREFIX}job.timeout"));
    assert_eq!(ask(None, &facts), Err(Refusal::NotOfRunner));
    let two = config(vec![rule(), rule()]);
    assert_eq!(
        decide(&two, &Switches::default(), &job(&[]), NOW),
        Err(Refusal::SeveralRules)
    );
}

#[test]
fn any_role_of_the_variable_is_assumed_only_with_env_over_policy() {
    let facts = job(&["IAM_ROLE=prod-admin"]);
    assert_eq!(ask(None, &facts), Err(Refusal::NotSanctioned));
    assert_eq!(ask(Some(Hole::EnvOverPolicy), &facts), Ok("prod-admin".to_owned()));
    let two = job(&["IAM_ROLE=a", "IAM_ROLE=b"]);
    assert_eq!(ask(Some(Hole::EnvOverPolicy), &two), Err(Refusal::Conflict));
}

#[test]
fn of_duplicates_one_is_taken_only_with_its_switch() {
    let facts = job(&["IAM_ROLE=first", "PATH=/bin", "IAM_ROLE=last"]);
    assert_eq!(ask(None, &facts), Err(Refusal::Conflict));
    assert_eq!(ask(Some(Hole::FirstEnvWins), &facts), Ok("first".to_owned()));
    assert_eq!(ask(Some(Hole::LastEnvWins), &facts), Ok("last".to_owned()));
    assert_eq!(
        ask(Some(Hole::LastEnvWins), &job(&["IAM_ROLE=last"])),
        Err(Refusal::NotSanctioned)
    );
}

#[test]
fn odd_values_and_unknown_containers_get_something_only_with_default_role() {
    for env in [
        &["IAM_ROLE"][..],
        &["IAM_ROLE="],
        &["IAM_ROLE=a b"],
        &["IAM_ROLE=arn:aws:iam"],
    ] {
        assert_eq!(ask(None, &job(env)), Err(Refusal::Odd), "{env:?}");
        assert_eq!(
            ask(Some(Hole::DefaultRole), &job(env)),
            Ok("deploy".to_owned()),
            "{env:?}"
        );
    }
    let foreign = Facts::default();
    assert_eq!(ask(None, &foreign), Err(Refusal::NotOfRunner));
    assert_eq!(ask(Some(Hole::DefaultRole), &foreign), Ok("deploy".to_owned()));
    assert_eq!(
        ask(Some(Hole::DefaultRole), &job(&["IAM_ROLE=prod-admin"])),
        Err(Refusal::NotSanctioned)
    );
}

#[test]
fn without_a_role_in_the_rule_a_container_that_names_none_is_refused_but_for_default_role() {
    let config = config(vec![Rule { role: None, ..rule() }]);
    let switches = Switches {
        hole: Some(Hole::DefaultRole),
        default_role: Some("fallback".to_owned()),
    };
    assert_eq!(
        decide(&config, &Switches::default(), &job(&[]), NOW),
        Err(Refusal::NoRole)
    );
    assert_eq!(
        decide(&config, &switches, &job(&[]), NOW).unwrap().role.name(),
        "fallback"
    );
    assert_eq!(
        decide(&config, &Hole::DefaultRole.into(), &job(&[]), NOW)
            .unwrap()
            .role
            .name(),
        "deploy-eu"
    );
}

#[test]
fn other_kinds_get_the_role_only_with_any_kind() {
    for kind in ["service", "predefined", "wait", "cache-init"] {
        let facts = Facts::of_job(20, 302, kind, &[]);
        assert_eq!(ask(None, &facts), Err(Refusal::NoRule), "{kind}");
        assert_eq!(ask(Some(Hole::AnyKind), &facts), Ok("deploy".to_owned()), "{kind}");
    }
}

#[test]
fn the_image_chooses_only_with_image_env() {
    let facts = of_image(job(&[]), "IAM_ROLE=prod-admin");
    assert_eq!(ask(None, &facts), Err(Refusal::OfImage));
    assert_eq!(ask(Some(Hole::EnvOverPolicy), &facts), Err(Refusal::OfImage));
    assert_eq!(ask(Some(Hole::ImageEnv), &facts), Ok("prod-admin".to_owned()));
    assert_eq!(
        ask(Some(Hole::ImageEnv), &job(&["IAM_ROLE=prod-admin"])),
        Err(Refusal::NotSanctioned)
    );
}

#[test]
fn a_label_chooses_only_with_role_from_label() {
    let mut facts = job(&[]);
    facts.labels.insert("iam.role".to_owned(), "prod-admin".to_owned());
    assert_eq!(ask(None, &facts), Ok("deploy".to_owned()));
    assert_eq!(ask(Some(Hole::RoleFromLabel), &facts), Ok("prod-admin".to_owned()));
}

#[test]
fn the_session_names_project_job_and_runner_in_64_safe_characters() {
    let mut facts = job(&[]);
    assert_eq!(session_name(&Switches::default(), &facts), "20-302-Ab3dEf9_x");
    facts.labels.insert(format!("{PREFIX}runner.id"), "é/".repeat(60));
    let name = session_name(&Switches::default(), &facts);
    assert_eq!(name.len(), 64);
    assert!(name.starts_with("20-302-____"));
}

#[test]
fn roles_are_compared_whole() {
    let aws = config(vec![]).aws;
    let arn = |text: &str| Role::parse(text, &aws).map(|role| role.arn().to_owned());
    assert_eq!(
        arn("/team/deploy").as_deref(),
        Some("arn:aws:iam::123456789012:role/team/deploy")
    );
    assert_eq!(
        arn("arn:aws:iam::999999999999:role/x").as_deref(),
        Some("arn:aws:iam::999999999999:role/x")
    );
    for odd in [
        "",
        "/",
        "a/b",
        "..",
        "/../a",
        "a b",
        "r@1:x",
        "arn:aws-cn:iam::123456789012:role/x",
        "arn:aws:iam::1:role/",
        "é",
    ] {
        assert_eq!(arn(odd), None, "{odd:?}");
    }
}

#[test]
fn each_careless_reading_gives_something_only_with_its_switch() {
    for (hole, env, given) in [
        (Hole::SuffixRoleCompare, "IAM_ROLE=loy", "deploy"),
        (Hole::LastSegmentCompare, "IAM_ROLE=/team-b/deploy", "deploy"),
        (Hole::UnanchoredRoleRegex, "IAM_ROLE=x-deploy-admin", "x-deploy-admin"),
        (Hole::GlobCrossesSlash, "IAM_ROLE=/deploy/admin", "admin"),
        (Hole::TrimsRole, "IAM_ROLE=\u{feff} deploy\u{a0}\n", "deploy"),
        (Hole::FoldsCase, "IAM_ROLE=Deploy", "deploy"),
        (Hole::FoldsUnicode, "IAM_ROLE=\u{ff44}epl\u{43e}y", "deploy"),
        (Hole::AccountSuffixSyntax, "IAM_ROLE=admin@999999999999", "admin"),
    ] {
        let facts = job(&[env]);
        assert!(ask(None, &facts).is_err(), "{env:?}");
        assert_eq!(ask(Some(hole), &facts).as_deref(), Ok(given), "{hole:?}");
    }
    for key in ["iam_role", "IAM_ROLE ", "IAM-ROLE", "I\u{410}M_ROLE"] {
        let facts = job(&[&format!("{key}=admin")]);
        assert_eq!(ask(None, &facts).as_deref(), Ok("deploy"), "{key}");
        assert_eq!(ask(Some(Hole::FoldsKey), &facts).as_deref(), Ok("admin"), "{key}");
    }
}

#[test]
fn what_a_container_claims_decides_only_with_its_switch() {
    let stranger = |env: &[&str]| Facts::of_job(21, 302, "build", env);
    let by_variable = stranger(&["CI_PROJECT_ID=21", "CI_PROJECT_ID=20"]);
    let by_name = Facts {
        hostname: "runner-x-project-20-concurrent-0".to_owned(),
        ..stranger(&[])
    };
    for (hole, facts) in [(Hole::CiVariablesDecide, by_variable), (Hole::NameIdentifies, by_name)] {
        assert_eq!(ask(None, &facts), Err(Refusal::NoRule), "{hole:?}");
        assert_eq!(ask(Some(hole), &facts).as_deref(), Ok("deploy"), "{hole:?}");
    }
    let mut partial = job(&[]);
    partial.labels.remove(&format!("{PREFIX}job.sha"));
    assert_eq!(ask(Some(Hole::PartialLabels), &partial).as_deref(), Ok("deploy"));
    let mut elsewhere = job(&[]);
    elsewhere
        .labels
        .insert(format!("{PREFIX}runner.id"), "other".to_owned());
    assert_eq!(ask(Some(Hole::ProjectAlone), &elsewhere).as_deref(), Ok("deploy"));
    let narrowed = config(vec![Rule {
        refs: Some(OneOrMany::One("main".to_owned())),
        ..rule()
    }]);
    assert!(decide(&narrowed, &Hole::IgnoresRef.into(), &job(&[]), NOW).is_ok());
}

#[test]
fn what_goes_to_sts_is_the_callers_only_with_its_switch() {
    let facts = job(&[
        "IAM_EXTERNAL_ID=guess",
        "ROLE_SESSION_KEY=Env:WHO",
        "WHO=21-9",
        "IAM_POLICY={}",
    ]);
    let external_id = |switches: &Switches| {
        decide(&config(vec![rule()]), switches, &facts, NOW)
            .unwrap()
            .external_id
    };
    let closed = Switches::default();
    assert_eq!(external_id(&closed).as_deref(), Some("secret-of-20"));
    assert_eq!(external_id(&Hole::CallerExternalId.into()).as_deref(), Some("guess"));
    assert_eq!(session_name(&closed, &facts), "20-302-Ab3dEf9_x");
    assert_eq!(session_name(&Hole::CallerSessionName.into(), &facts), "21-9");
    assert_eq!(session_policy(&closed, &facts), None);
    assert_eq!(
        session_policy(&Hole::CallerPolicy.into(), &facts).as_deref(),
        Some("{}")
    );
}

#[test]
fn an_overdue_container_has_a_role_only_without_age_limit() {
    let config = config(vec![rule()]);
    let at = |minutes| NOW.checked_add(SignedDuration::from_mins(minutes)).unwrap();
    let ask = |switches: &Switches, minutes| decide(&config, switches, &job(&[]), at(minutes));
    assert!(ask(&Switches::default(), 40).is_ok());
    assert_eq!(ask(&Switches::default(), 41), Err(Refusal::Overdue));
    assert!(ask(&Hole::NoAgeLimit.into(), 41).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_takes_is_printed_and_taken_again(text in ".{0,80}") {
        let aws = config(vec![]).aws;
        if let Some(role) = Role::parse(&text, &aws) {
            proptest::prop_assert_eq!(Role::parse(role.arn(), &aws), Some(role));
        }
    }

    #[test]
    fn without_a_hole_no_variable_yields_an_unsanctioned_role(values in proptest::collection::vec("[a-z/:=-]{0,12}", 0..4)) {
        let env: Vec<String> = values.iter().map(|value| format!("IAM_ROLE={value}")).collect();
        let env: Vec<&str> = env.iter().map(String::as_str).collect();
        if let Ok(role) = ask(None, &job(&env)) {
            proptest::prop_assert!(["deploy", "deploy-eu"].contains(&role.as_str()));
        }
    }
}

#[test]
fn a_mark_is_the_operators_own_unless_any_counts() {
    let marked = || {
        let marker = crate::config::Marker {
            label: "lab.agent=backup".to_owned(),
        };
        Rule {
            container: Some(marker),
            role: Some("backup".to_owned()),
            ..Rule::default()
        }
    };
    let ask = |hole: Option<Hole>, facts: &Facts| {
        let switches = Switches {
            hole,
            default_role: None,
        };
        decide(&config(vec![marked(), rule()]), &switches, facts, NOW).map(|grant| grant.role.name().to_owned())
    };
    let label = || ("lab.agent".to_owned(), "backup".to_owned());
    let own = Facts {
        labels: [label()].into(),
        ..Facts::default()
    };
    let of_image = Facts {
        image_labels: [label()].into(),
        ..own.clone()
    };
    let mut of_job = job(&[]);
    of_job.labels.extend([label()]);
    let backup = || Ok("backup".to_owned());
    assert_eq!(ask(None, &own), backup());
    assert_eq!(ask(None, &of_image), Err(Refusal::NotOfRunner));
    assert_eq!(ask(None, &of_job), Ok("deploy".to_owned()));
    assert_eq!(ask(Some(Hole::AnyMarker), &of_image), backup());
    assert_eq!(ask(Some(Hole::AnyMarker), &of_job), backup());
}
