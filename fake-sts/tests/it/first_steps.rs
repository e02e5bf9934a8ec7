//! The first steps of `docs/fake-sts/README.md`, as somebody types them: with the built-in world and the real program.

use std::collections::VecDeque;
use std::path::Path;

use fake_sts::options::Options;

use crate::fake::{Fake, run, text};

/// Blocks of the section, each with its language.
fn blocks() -> VecDeque<(String, Vec<String>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fake-sts/README.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split_once("\n## First steps\n").unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    let blocks = section.split("\n```").skip(1).step_by(2).map(|block| {
        let (language, lines) = block.split_once('\n').unwrap();
        (language.to_owned(), lines.lines().map(str::to_owned).collect())
    });
    blocks.collect()
}

/// What a shell and curl do, as far as the page needs them.
struct Shell {
    fake: Fake,
    token: String,
}

impl Shell {
    /// What a command prints. Its places are those of the fake that runs.
    async fn run(&mut self, command: &str) -> String {
        let data = self.fake.endpoint.trim_start_matches("http://").to_owned();
        let command = command
            .replace("127.0.0.1:4566", &data)
            .replace("127.0.0.1:4567", &self.fake.control_argument())
            .replace("$TOKEN", &self.token);
        if let Some(inner) = command.strip_prefix("TOKEN=$(") {
            self.token = program(inner.strip_suffix(')').unwrap(), Some(0)).trim().to_owned();
            return String::new();
        }
        match command.split_once(' ').unwrap() {
            // It runs already.
            ("fake-sts", rest) if rest.starts_with("--listen") => {
                assert!(!rest.contains("--world"));
                String::new()
            }
            ("fake-sts", rest) if rest.starts_with("explain") => program(&command, Some(1)),
            ("fake-sts", _) => program(&command, Some(0)),
            ("curl", rest) => self.curl(rest).await,
            (other, _) => panic!("{other} is not known here"),
        }
    }

    async fn curl(&self, rest: &str) -> String {
        let mut words = rest.strip_prefix("-s ").unwrap().split(' ');
        let place = words.next().unwrap().trim_matches('\'');
        if let Some((_, path)) = place.split_once("control.sock") {
            let (status, answer) = self.fake.control("GET", path, serde_json::Value::Null).await;
            assert_eq!(status, 200, "{place}");
            return answer.to_string();
        }
        let mut data = Vec::new();
        while let Some(option) = words.next() {
            assert_eq!(option, "-d");
            data.push(words.next().unwrap());
        }
        // Which is what curl makes of -d.
        let request = reqwest::Client::new()
            .post(format!("http://{place}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(data.join("&"));
        request.send().await.unwrap().text().await.unwrap()
    }
}

fn program(command: &str, code: Option<i32>) -> String {
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let ended = run(&words);
    let out = text(ended.stdout.as_slice());
    assert_eq!(ended.status.code(), code, "{command}: {out}");
    out
}

#[tokio::test]
async fn the_first_steps_lead_where_the_page_says() {
    let mut shell = Shell {
        fake: Fake::start_built_in(),
        token: String::new(),
    };
    let mut blocks = blocks();
    let mut answers = 0;
    while let Some((language, commands)) = blocks.pop_front() {
        assert_eq!(language, "");
        let (language, wanted) = blocks.pop_front().unwrap();
        assert!(matches!(language.as_str(), "xml" | "text"), "{language}");
        let mut printed = Vec::new();
        for command in &commands {
            printed.push(shell.run(command).await);
        }
        for answer in printed.iter().filter(|answer| !answer.is_empty()) {
            for line in &wanted {
                assert!(answer.contains(line), "{commands:?}\n{answer}\nlacks {line}");
            }
            answers += 1;
        }
    }
    assert_eq!(answers, 6);
}

#[tokio::test]
async fn the_help_shows_a_saml_response_that_the_built_in_world_believes() {
    let fake = Fake::start_built_in();
    let help = text(run(&["--help"]).stdout.as_slice());
    let line = help.lines().find(|line| line.starts_with("  fake-sts saml ")).unwrap();
    let line = line.trim().replace("127.0.0.1:4567", &fake.control_argument());
    let assertion = program(&line, Some(0));
    let answer = fake
        .client(crate::fake::alice())
        .assume_role_with_saml()
        .role_arn("arn:aws:iam::123456789012:role/people")
        .principal_arn("arn:aws:iam::123456789012:saml-provider/corp")
        .saml_assertion(assertion.trim())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.subject(), Some("alice"));
}

#[test]
fn nothing_of_the_help_is_broken_into_lines_by_the_terminal() {
    let command = <Options as clap::CommandFactory>::command();
    let help = command.get_after_long_help().unwrap().to_string();
    // clap breaks what is longer, and then it cannot be copied.
    let long: Vec<&str> = help.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{long:#?}");
}
