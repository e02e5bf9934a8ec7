//! What `[[gitlab]]` and `verify` may say.

use std::time::Duration;

use super::{RefType, Verification};
use crate::config::{Config, Environment, Gitlab};
use crate::fixture::gitlab::{SERVER, VERIFY, server};
use crate::fixture::{HEADER, RULE};

fn read(text: &str) -> Result<Config, String> {
    Config::read("m.toml", &format!("{HEADER}{text}"), &Environment::default()).map_err(|faults| faults.to_string())
}

fn url(url: &str) -> Result<String, String> {
    let text = format!("{SERVER}url = \"{url}\"\n{RULE}{VERIFY}");
    read(&text).map(|config| config.gitlab[0].url.clone())
}

#[test]
fn a_server_is_its_host_unless_more_is_stated() {
    let config = read(&format!("{SERVER}{RULE}{VERIFY}")).unwrap();
    assert_eq!(config.gitlab, [server("https://gitlab.example.com")]);
    assert_eq!(config.rules[0].verify, Some(Verification::default()));
    assert_eq!(config.warnings(), Vec::<String>::new());
    let stated = "[[gitlab]]\nhost = \"gitlab.example.com\"\nurl = \"https://git.internal:8443/gitlab/\"\nca = \"/ca.pem\"\ntoken_file = \"/token\"\n\
                  timeout_seconds = 5\nverdict_seconds = 300\ncalls_per_second = 100\n";
    let narrow = "protected = true\nref_type = [\"branch\", \"tag\"]\n";
    let config = read(&format!("{stated}{RULE}{VERIFY}{narrow}")).unwrap();
    let expected = Gitlab {
        ca: Some("/ca.pem".into()),
        token_file: Some("/token".into()),
        timeout: Duration::from_secs(5),
        verdict: Duration::from_secs(300),
        calls_per_second: 100,
        ..server("https://git.internal:8443/gitlab")
    };
    assert_eq!(config.gitlab, [expected]);
    let wanted = Verification {
        protected: true,
        ref_types: [RefType::Branch, RefType::Tag].into(),
    };
    assert_eq!(config.rules[0].verify, Some(wanted));
}

#[test]
fn tokens_go_nowhere_where_they_could_be_read() {
    for good in [
        "https://gitlab.example.com",
        "https://10.0.0.1:8443/a/b",
        "http://127.0.0.1:8080",
        "http://[::1]:80/x",
    ] {
        assert_eq!(url(good).unwrap(), good);
    }
    for bad in [
        "http://gitlab.example.com",
        "http://10.0.0.1",
        "http://localhost",
        "http://127.0.0.1.example.com",
        "https://user@gitlab.example.com",
        "https://gitlab.example.com?a",
        "https://gitlab.example.com/#a",
        "https://gitlab.example.com/api/v4",
        "https://gitlab.example.com/a//b",
        "https://gitlab.example.com/../a",
        "https://gitlab.example.com/%2e",
        "ftp://gitlab.example.com",
        "gitlab.example.com",
        "",
    ] {
        let told = url(bad).unwrap_err();
        assert!(told.contains("gitlab[0].url: "), "{bad}: {told}");
    }
}

#[test]
fn every_fault_of_a_server_is_told() {
    let text = "[[gitlab]]\nurl = \"http://gitlab.example.com\"\nca = \"ca.pem\"\ntimeout_seconds = 0\nverdict_seconds = 3600\ncalls_per_second = 0\nproxy = 1\n";
    insta::assert_snapshot!(read(&format!("{text}{RULE}")).unwrap_err(), @r#"
    m.toml:7: gitlab[0].host: is missing
      remedy: write the GitLab server's host as rules have it, and job URLs
    m.toml:8: gitlab[0].url: "http://gitlab.example.com": without TLS jobs' tokens could be read on their way, so that only a loopback address will do
      remedy: write what comes before /api/v4, such as https://gitlab.example.com
    m.toml:9: gitlab[0].ca: "ca.pem": not an absolute path
      remedy: write the absolute path of a file in PEM
    m.toml:10: gitlab[0].timeout_seconds: 0 is out of bounds
      remedy: write a number from 1 to 10
    m.toml:11: gitlab[0].verdict_seconds: 3600 is out of bounds
      remedy: write a number from 5 to 300
    m.toml:12: gitlab[0].calls_per_second: 0 is out of bounds
      remedy: write a number from 1 to 100
    m.toml:13: gitlab[0].proxy: is not a known key
      remedy: remove it; known here: host, url, ca, token_file, timeout_seconds, verdict_seconds, calls_per_second
    "#);
    let twice = read(&format!(
        "{SERVER}ca = \"/c\"\nurl = \"http://127.0.0.1\"\ntimeout_seconds = 6\nverdict_seconds = 6\n{SERVER}{RULE}"
    ));
    insta::assert_snapshot!(twice.unwrap_err(), @r#"
    m.toml:9: gitlab[0].ca: is for a URL that begins with https://
      remedy: remove it
    m.toml:12: gitlab[0].verdict_seconds: a verdict counts from when it was asked for, and could have lapsed when it comes
      remedy: write more than timeout_seconds
    m.toml:13: gitlab[1].host: gitlab[0] is gitlab.example.com too
      remedy: describe each server once
    "#);
}

#[test]
fn a_rule_wants_what_its_server_can_tell() {
    insta::assert_snapshot!(read(&format!("{RULE}protected = true\nref_type = \"branch\"\n")).unwrap_err(), @r"
    m.toml:15: rule[0].protected: only the GitLab server can tell, and the rule does not have it asked
      remedy: write verify = true as well, or remove it
    m.toml:16: rule[0].ref_type: only the GitLab server can tell, and the rule does not have it asked
      remedy: write verify = true as well, or remove it
    ");
    insta::assert_snapshot!(read(&format!("{RULE}{VERIFY}")).unwrap_err(), @r#"
    m.toml:15: rule[0].verify: there is no [[gitlab]] with host = "gitlab.example.com" that could be asked
      remedy: add one, or remove verify
    "#);
    let narrow = "protected = true\nref_type = [\"merge-request\", \"head\"]\n";
    insta::assert_snapshot!(read(&format!("{SERVER}{RULE}{VERIFY}{narrow}")).unwrap_err(), @r#"
    m.toml:18: rule[0].protected: what GitLab says of a job does not tell whether its ref is protected, and the server's [[gitlab]] has no token_file
      remedy: give it a token_file, or leave protected out and run such jobs on a protected runner of their own
    m.toml:19: rule[0].ref_type: "head": not a type of ref
      remedy: write branch, tag or merge-request
    m.toml:19: rule[0].ref_type: GitLab protects branches and tags, and no merge request
      remedy: leave merge-request out, or give merge requests a rule of their own
    m.toml:19: rule[0].ref_type: names merge requests, and the rule's refs cover none
      remedy: write ref = "refs/merge-requests/*/head" as well, or remove it
    "#);
    let requests = "ref = \"refs/merge-requests/*/head\"\nref_type = \"merge-request\"\n";
    assert!(read(&format!("{SERVER}{RULE}{VERIFY}{requests}")).is_ok());
    // A server that cannot be read is a fault, and not one of each rule too.
    let broken = read(&format!("{SERVER}url = \"x\"\n{RULE}{VERIFY}")).unwrap_err();
    assert_eq!(broken.matches("remedy").count(), 1, "{broken}");
    let marked = "[[rule]]\nname = \"a\"\nrole = \"a\"\nverify = true\ncontainer = { label = \"a=b\" }\n";
    let told = read(&format!("{SERVER}{marked}")).unwrap_err();
    assert!(told.contains("rule[0].verify: is not a known key"), "{told}");
}

#[test]
fn rules_that_meet_ask_the_same() {
    let other = RULE.replace("\"deploy\"\nrunner", "\"other\"\nrunner");
    let told = read(&format!("{SERVER}{RULE}{VERIFY}{other}")).unwrap_err();
    insta::assert_snapshot!(told, @r#"
    m.toml:19: rule[1]: one container can match this rule and rule[0] ("deploy"), which give it the same roles after different questions to GitLab
      remedy: narrow one of them by project, kind, ref, image or system_id, or give them the same verify, protected and ref_type
    "#);
    assert!(read(&format!("{SERVER}{RULE}{VERIFY}{other}{VERIFY}")).is_ok());
}

#[test]
fn what_is_asked_in_vain_is_told() {
    let warnings = |text: &str| read(text).unwrap().warnings();
    assert_eq!(
        warnings(&format!("{SERVER}{RULE}")),
        ["no rule of gitlab = \"gitlab.example.com\" has verify = true: its [[gitlab]] is never asked"]
    );
    let kinds = "kind = [\"build\", \"predefined\", \"service\", \"wait\"]\n";
    assert_eq!(
        warnings(&format!("{SERVER}{RULE}{kinds}{VERIFY}")),
        [
            "rule \"deploy\" has verify = true: containers of kind service and wait have no CI_JOB_TOKEN from the runner, so that they are refused"
        ]
    );
}
