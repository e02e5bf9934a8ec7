//! What the pages of `docs/fake-imds` tell people to copy is true: world files, faults, claims and configurations are read; commands name what there is.

use std::path::Path;

use clap::CommandFactory;
use fake_imds::answer::FACTS;
use fake_imds::cli::Cli;
use fake_imds::world::{Moment, Tolerance, parse};
use fake_kit::fault::Fault;
use fake_kit::question::Assertion;
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
    let options: Vec<String> = Cli::command()
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    for (place, text) in of("sh") {
        for line in text.replace("\\\n", " ").lines() {
            if line.starts_with("fake-imds --") {
                for word in line.split(' ').filter(|word| word.starts_with("--")) {
                    assert!(options.contains(&word.to_owned()), "{place}: {word}");
                }
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
