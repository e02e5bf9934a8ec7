//! What the documents tell operators to copy is taken by the proxy, and does at AWS what they say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may end the program")]

use fake_sts::policy::{Ask, Attributes, Finding, Keys, Kind, Policy, evaluate, parse_text};
use metadata_proxy::compat::{Profile, Setting, VARIABLES, common, examine};
use metadata_proxy::config::{Config, Environment};

const AWS: &str = include_str!("../../docs/aws.md");
const INSTALL: &str = include_str!("../../docs/install.md");
const MIGRATE: &str = include_str!("../../docs/migrate.md");
const README: &str = include_str!("../../README.md");
const PACKAGED: &str = include_str!("../../ci/package/metadata-proxy.toml");
const UNIT: &str = include_str!("../../ci/package/metadata-proxy.service");
const JOB_ROLE: &str = "arn:aws:iam::123456789012:role/ci-deploy";

/// The fenced blocks of a language.
fn blocks<'d>(document: &'d str, language: &str) -> Vec<&'d str> {
    let fence = format!("\n```{language}\n");
    document
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap())
        .collect()
}

fn read(name: &str, text: &str) -> Config {
    Config::read(name, text, &Environment::default()).unwrap_or_else(|faults| {
        panic!(
            "{name}: {:#?}",
            faults.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        )
    })
}

#[test]
fn the_configurations_have_no_fault() {
    let packaged = read("metadata-proxy.toml", PACKAGED);
    assert_eq!(packaged.warnings(), [""; 0]);
    let shown = read("README.md", blocks(README, "toml").first().unwrap());
    assert!(shown.rules.len() == 1 && packaged.rules.len() == 1);
}

#[test]
fn what_is_commented_out_has_no_fault_either() {
    let (active, commented) = PACKAGED.split_once("\n# Asked,").unwrap();
    let lines = commented.lines().skip(1).map(|line| line.strip_prefix('#').unwrap());
    let whole = format!("{active}\n{}", lines.collect::<Vec<_>>().join("\n"));
    let packaged = read("metadata-proxy.toml", &whole);
    assert_eq!((packaged.rules.len(), packaged.gitlab.len()), (2, 1));
    assert_eq!(packaged.warnings(), [""; 0]);
    let shown = blocks(README, "toml")
        .into_iter()
        .find(|block| block.contains("[[gitlab]]"))
        .unwrap();
    let rule = "verify = true\nprotected = true\n";
    let shown = read("README.md", &format!("{active}\n{rule}{shown}"));
    assert_eq!(
        (shown.warnings().len(), shown.gitlab[0].token_file.is_some()),
        (0, true)
    );
}

fn caller(role: &str) -> Attributes<'_> {
    Attributes {
        arn: "arn:aws:sts::123456789012:assumed-role/ci-host/i-0123456789abcdef0",
        principal_arn: role,
        unique_id: "AROACIHOST22222222222",
        account: "123456789012",
        partition: "aws",
        service: None,
        federated: None,
    }
}

fn allows(policy: &Policy, role: &str, resource: &str, session: &str) -> bool {
    let mut keys = Keys::default();
    keys.set("sts:RoleSessionName", [session]);
    ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
        .iter()
        .all(|action| {
            let ask = Ask {
                action,
                resource,
                caller: &caller(role),
                keys: &keys,
            };
            matches!(evaluate(policy, &ask), Finding::Allowed(..))
        })
}

#[test]
fn the_policies_let_the_proxys_sessions_in_and_no_others() {
    let [host, trust] = blocks(AWS, "json").try_into().unwrap();
    let (host, trust) = (
        parse_text(host, Kind::Identity).unwrap(),
        parse_text(trust, Kind::Trust).unwrap(),
    );
    let ci_host = "arn:aws:iam::123456789012:role/ci-host";
    let other = "arn:aws:iam::123456789012:role/developer";
    let session = "20-302-Ab3dEf9_x";
    assert!(allows(&host, ci_host, JOB_ROLE, session));
    assert!(!allows(&host, ci_host, "arn:aws:iam::123456789012:role/admin", session));
    assert!(allows(&trust, ci_host, JOB_ROLE, session));
    assert!(!allows(&trust, other, JOB_ROLE, session), "only the host's role");
    assert!(
        !allows(&trust, ci_host, JOB_ROLE, "21-302-Ab3dEf9_x"),
        "only project 20"
    );
    assert!(
        !allows(&trust, ci_host, JOB_ROLE, "20-302-another99"),
        "only that runner"
    );
}

#[test]
fn the_container_is_given_what_the_unit_has() {
    let of_unit = UNIT
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .unwrap();
    let mut of_unit: Vec<&str> = of_unit
        .split(' ')
        .filter_map(|name| name.strip_prefix("CAP_"))
        .collect();
    let mut words = INSTALL.split_whitespace();
    let mut of_container = Vec::new();
    while let Some(word) = words.next() {
        if word == "--cap-add" {
            of_container.extend(words.next());
        }
    }
    of_unit.sort_unstable();
    of_container.sort_unstable();
    assert_eq!(of_container, of_unit);
}

/// The fenced blocks of a language that are indented as part of a list, without the indentation.
fn indented(document: &str, language: &str) -> Vec<String> {
    let outdented: Vec<&str> = document
        .lines()
        .map(|line| line.strip_prefix("   ").unwrap_or(line))
        .collect();
    let outdented = outdented.join("\n");
    blocks(&outdented, language).into_iter().map(str::to_owned).collect()
}

#[test]
fn what_becomes_of_the_example_of_an_earlier_proxy_is_what_check_says() {
    let configuration = indented(MIGRATE, "toml").remove(0);
    let config = read("migrate.md", &configuration);
    assert!(config.is_observing());
    let compat = config.compat.as_ref().unwrap();
    let file = compat.environment_file.as_ref().unwrap().display().to_string();
    let examined = examine(&file, &indented(MIGRATE, "sh").remove(0), compat, &config);
    assert_eq!(examined.faults, []);
    assert_eq!(
        indented(MIGRATE, "text").remove(0),
        examined.assessment.to_string().trim_end(),
        "the document is behind: put this into it"
    );
}

#[test]
fn every_setting_of_the_earlier_proxies_is_told_and_no_other() {
    let tables: [(&str, &[Setting]); 4] = [
        ("jippi/go-metadataproxy", Profile::GoMetadataproxy.settings()),
        ("lyft/metadataproxy", Profile::Lyft.settings()),
        ("Both", common()),
        ("In a container's environment", VARIABLES),
    ];
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for (heading, settings) in tables {
        let (_, section) = MIGRATE.split_once(&format!("\n### {heading}\n")).unwrap();
        let rows = section.lines().take_while(|line| !line.starts_with('#'));
        found.push(heading.to_owned());
        found.extend(rows.filter(|line| line.starts_with("| `")).map(str::to_owned));
        expected.push(heading.to_owned());
        expected.extend(settings.iter().map(Setting::row));
    }
    assert_eq!(
        found.join("\n"),
        expected.join("\n"),
        "the document is behind: put this into it"
    );
}
