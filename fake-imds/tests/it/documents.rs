//! What the pages of `docs/fake-imds` tell people to copy is true: world files, faults, claims and configurations are read; commands name what there is.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser;
use fake_imds::answer::FACTS;
use fake_imds::cli::{Cli, Command};
use fake_imds::world::{Moment, Tolerance, parse};
use fake_kit::fault::Fault;
use fake_kit::listen::Listen;
use fake_kit::question::Assertion;
use serde::Deserialize;
use serde_json::Value;

/// Every fenced block of every page: where, its words, its text.
fn blocks() -> Vec<(String, String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fake-imds");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, part) in text.split("\n```").enumerate().filter(|(number, _)| number % 2 == 1) {
            let (words, body) = part.split_once('\n').unwrap();
            found.push((
                format!("{name}, block {}", number.div_ceil(2)),
                words.to_owned(),
                body.to_owned(),
            ));
        }
    }
    assert!(found.len() > 20);
    found
}

fn of(words: &str) -> Vec<(String, String)> {
    let blocks = blocks().into_iter().filter(|(_, found, _)| found == words);
    blocks.map(|(place, _, text)| (place, text)).collect()
}

#[test]
fn world_files_are_read() {
    for (place, text) in of("toml") {
        parse(&place, &text, Tolerance::Plausible).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn faults_and_claims_can_be_meant() {
    for (place, text) in of("json") {
        for line in text.lines() {
            check(&place, line);
        }
    }
    for (place, text) in of("json aemm") {
        fake_imds::aemm::read(&place, &text).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn check(place: &str, json: &str) {
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{place}: {error}: {json}"));
    if value.get("effect").is_some() {
        let fault: Fault = serde_json::from_value(value).unwrap_or_else(|error| panic!("{place}: {error}: {json}"));
        fault
            .check(FACTS)
            .unwrap_or_else(|error| panic!("{place}: {error}: {json}"));
    } else {
        let _claim: Assertion =
            serde_json::from_value(value).unwrap_or_else(|error| panic!("{place}: {error}: {json}"));
    }
}

#[test]
fn commands_have_options_and_bodies_that_there_are() {
    for (place, text) in of("sh") {
        for line in text.replace("\\\n", " ").lines() {
            if line.starts_with("fake-imds ") {
                let line = line.split(" > ").next().unwrap_or(line).trim_end_matches(" &");
                let words = line.split_whitespace().map(|word| word.trim_matches('\''));
                let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{place}: {line}: {error}"));
                fake_imds::aemm::told::words(&cli.mock).unwrap_or_else(|error| panic!("{place}: {line}: {error}"));
            }
            let Some((_, body)) = line.split_once("-d '") else {
                continue;
            };
            let body = body.trim_end_matches('\'');
            if line.contains("/timeline") {
                let _moment: Moment =
                    serde_json::from_str(body).unwrap_or_else(|error| panic!("{place}: {error}: {body}"));
            } else if line.contains("/faults") || line.contains("/assertions") {
                check(&place, body);
            } else {
                let _any: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{place}: {error}: {body}"));
            }
        }
    }
}

#[test]
fn every_switch_is_explained() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fake-imds/switches.md")).unwrap();
    let schema = fake_imds::world::schema();
    let switches = &schema["properties"]["instance"]["oneOf"][0]["properties"]["switches"]["properties"];
    for name in switches.as_object().unwrap().keys() {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// What of the Compose format the pages use; another word would not be known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Project {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    healthcheck: Option<HealthCheck>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthCheck {
    test: Vec<String>,
    interval: String,
    retries: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dependency {
    condition: String,
}

/// The port of `ADDRESS:PORT`.
fn port(listen: &Listen) -> u16 {
    match listen {
        Listen::Tcp(address) => address.port(),
        Listen::Unix(path) => panic!("{} in a container", path.display()),
    }
}

#[test]
fn a_project_for_compose_names_what_there_is() {
    let version = env!("CARGO_PKG_VERSION");
    let mut served = 0;
    for (place, text) in of("yaml") {
        let project: Project = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{place}: {error}"));
        for (name, service) in &project.services {
            for (other, dependency) in &service.depends_on {
                let known = project
                    .services
                    .get(other)
                    .unwrap_or_else(|| panic!("{place}: no service {other}"));
                assert_eq!(dependency.condition, "service_healthy", "{place}");
                assert!(known.healthcheck.is_some(), "{place}: {other} never becomes healthy");
            }
            if let Some(endpoint) = service.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
                let host = endpoint.strip_prefix("http://").unwrap();
                assert!(project.services.contains_key(host), "{place}: no service {host}");
            }
            if !service.image.starts_with("metadata-lab/") {
                continue;
            }
            served += 1;
            assert_eq!(
                service.image,
                format!("metadata-lab/fake-imds:{version}"),
                "{place}: {name}"
            );
            let words = ["fake-imds"]
                .into_iter()
                .chain(service.command.iter().map(String::as_str));
            let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{place}: {name}: {error}"));
            assert_eq!(
                cli.listen.iter().map(port).collect::<Vec<_>>(),
                [80],
                "{place}: the endpoint names no port"
            );
            let control = port(cli.control.as_ref().unwrap());
            let world = cli.world.unwrap();
            assert!(
                service
                    .volumes
                    .iter()
                    .any(|volume| volume.split(':').nth(1) == world.to_str()),
                "{place}: nothing is mounted at {}",
                world.display()
            );
            for published in &service.ports {
                let inside = published.rsplit(':').next().unwrap();
                assert_eq!(inside, control.to_string(), "{place}: {published}");
                assert!(
                    published.starts_with("127.0.0.1:"),
                    "{place}: {published} is for everybody"
                );
            }
            let check = service.healthcheck.as_ref().unwrap();
            let (kind, words) = check.test.split_first().unwrap();
            assert_eq!(
                (kind.as_str(), check.interval.as_str(), check.retries > 0),
                ("CMD", "1s", true)
            );
            let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{place}: {name}: {error}"));
            let Some(Command::Ready { control: asked }) = cli.command else {
                panic!("{place}: {words:?} says nothing about health")
            };
            assert_eq!(port(&asked), control, "{place}");
        }
    }
    assert!(served > 0);
}
