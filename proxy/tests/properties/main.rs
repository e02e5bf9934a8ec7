//! Properties of everything that reads what others wrote. `proxy/fuzz` looks for inputs that break them, for as long as somebody lets it; here
//! they are held against its seeds, and against seeds that were tampered with a little.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end the program"
)]

mod answer;
mod config;
mod engine;
mod lenient;
mod order;
mod path;
mod request;
mod revocations;
mod role;
mod settings;
mod token;
mod upstream;
mod world;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// What means something to one of the readers.
const WORDS: [&str; 24] = [
    "/",
    "//",
    "/../",
    "/./",
    "%2e",
    "%2F",
    "%252f",
    "\\",
    ";",
    "?",
    "\r\n",
    "\n",
    "\0",
    "=",
    "'",
    "\"",
    ":",
    "latest",
    "iam/security-credentials/",
    "lab-host",
    "arn:aws:iam::",
    "IAM_ROLE=",
    "{",
    "é",
];

/// One change to an input.
#[derive(Debug, Clone)]
enum Edit {
    Insert(Index, Vec<u8>),
    Replace(Index, u8),
    Remove(Index, usize),
}

impl Edit {
    fn any() -> impl Strategy<Value = Self> {
        let word = select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec());
        prop_oneof![
            (any::<Index>(), word).prop_map(|(at, word)| Self::Insert(at, word)),
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Replace(at, byte)),
            (any::<Index>(), 1..8_usize).prop_map(|(at, length)| Self::Remove(at, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Insert(at, word) => {
                let at = at.index(bytes.len() + 1);
                drop(bytes.splice(at..at, word.iter().copied()));
            }
            Self::Replace(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Remove(at, length) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                let end = bytes.len().min(at + length);
                drop(bytes.drain(at..end));
            }
            Self::Replace(..) | Self::Remove(..) => {}
        }
    }
}

/// Holds a property against the seeds of its fuzz target, and against what a few changes make of them.
fn hold(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path());
    let mut seeds: Vec<Vec<u8>> = files.map(|file| fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "{} holds no seed", directory.display());
    seeds.sort();
    for seed in &seeds {
        check(seed);
    }
    let inputs = (select(seeds), proptest::collection::vec(Edit::any(), 1..6));
    let config = Config {
        cases: 512,
        failure_persistence: None,
        ..Config::default()
    };
    let held = TestRunner::new(config).run(&inputs, |(mut bytes, edits)| {
        for edit in edits {
            edit.apply(&mut bytes);
        }
        check(&bytes);
        Ok(())
    });
    held.unwrap();
}

#[test]
fn a_head_that_is_accepted_is_one_to_every_reader() {
    hold("request", request::check);
}

#[test]
fn a_path_means_what_it_plainly_says_or_nothing() {
    hold("path", path::check);
}

#[test]
fn a_token_that_is_accepted_was_minted_here_for_this_run() {
    hold("token", token::check);
}

#[test]
fn names_are_what_they_say_and_nobody_selects_another_role() {
    hold("role", role::check);
}

#[test]
fn a_text_is_a_configuration_or_says_what_is_wrong_with_it() {
    hold("config", config::check);
}

#[test]
fn settings_are_read_as_others_read_them_and_no_secret_is_told() {
    hold("settings", settings::check);
}

#[test]
fn what_is_read_of_an_engines_answer_stands_in_it() {
    hold("engine", engine::check);
}

#[test]
fn gitlab_confirms_the_job_of_the_labels_and_no_other() {
    hold("answer", answer::check);
}

#[test]
fn who_is_revoked_is_read_as_it_was_written_or_not_at_all() {
    hold("revocations", revocations::check);
}

#[test]
fn orders_mean_what_they_say() {
    hold("order", order::check);
}
