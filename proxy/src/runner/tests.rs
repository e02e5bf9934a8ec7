//! What is found in the runner's file, and how it reads.

use proptest::prelude::*;

use super::{Document, examine, short_token};
use crate::config::{Config, Environment};
use crate::fixture::{HEADER, RULE, config};

const GOOD: &str = r#"
concurrent = 4
[[runners]]
  name = "deploys"
  url = "https://gitlab.example.com/"
  token = "glrt-Ab3dEf9_xSECRETSECRET"
  executor = "docker"
  [runners.docker]
    image = "alpine"
    pull_policy = ["always"]
    volumes = ["/cache", "/srv/certs:/certs:ro", "named:/data"]
    [runners.docker.container_labels]
      team = "platform"
"#;

fn told(text: &str, config: &Config) -> String {
    let examined = examine("config.toml", text, config);
    let faults = examined.faults.iter().map(ToString::to_string);
    let warnings = examined.warnings.iter().map(|warning| format!("warning: {warning}"));
    let told = faults.chain(warnings).collect::<Vec<_>>().join("\n");
    assert!(!told.contains("SECRET"), "{told}");
    told
}

fn faults(text: &str) -> usize {
    examine("config.toml", text, &config(RULE)).faults.len()
}

#[test]
fn a_plain_file_has_nothing_to_tell() {
    assert_eq!(told(GOOD, &config(RULE)), "");
}

#[test]
fn everything_is_told_with_its_line() {
    let text = r#"
[[runners]]
  url = "https://gitlab.example.com"
  token = "glrt-Ab3dEf9_xSECRETSECRET"
  executor = "docker"
  environment = ["A=b", "IAM_ROLE=deploy"]
  [runners.feature_flags]
    FF_SUSPENDABLE_ENVIRONMENTS = true
  [runners.docker]
    privileged = true
    network_mode = "host"
    pull_policy = "if-not-present"
    cap_add = ["NET_RAW", "CAP_SYS_ADMIN"]
    volumes = ["/var/run/docker.sock:/var/run/docker.sock", "/cache"]
    [runners.docker.container_labels]
      "com.gitlab.gitlab-runner.project.id" = "20"
      "job.id" = "1"
      team = "$CI_PROJECT_PATH"
[[runners]]
  url = "https://other.example.com"
  token = "Ab3dEf9_xSECRET"
  executor = "shell"
"#;
    let config = Config::read(
        "test.toml",
        &format!(
            "{HEADER}[bridges]\nshared = \"allow\"\n{RULE}{}",
            RULE.replace("\"deploy\"\nrunner", "\"other\"\nrunner")
                .replace("Ab3dEf9_x", "Zz")
        ),
        &Environment::default(),
    )
    .unwrap();
    insta::assert_snapshot!(told(text, &config), @r###"
    config.toml:14: volumes of runner Ab3dEf9_x: /var/run/docker.sock gives jobs the engine's socket, and with it containers with any label
      remedy: remove the volume; build images with a tool that needs no engine, or in a machine of its own
    config.toml:16: container_labels."com.gitlab.gitlab-runner.project.id" of runner Ab3dEf9_x: takes the place of a label that the runner sets itself, and that rules rely on
      remedy: remove it, or give it a name of its own
    config.toml:17: container_labels."job.id" of runner Ab3dEf9_x: takes the place of a label that the runner sets itself, and that rules rely on
      remedy: remove it, or give it a name of its own
    config.toml:18: container_labels."team" of runner Ab3dEf9_x: the runner expands $ from the job's variables, so that the job's author chooses the label
      remedy: write a literal value
    config.toml:19: token of runner Ab3dEf9_x: the runner of line 2 has the same label runner.id: rules cannot tell them apart
      remedy: have GitLab reset one of the tokens
    warning: config.toml:10: runner Ab3dEf9_x: privileged = true: a job can take the host, and every role with it; give such jobs a machine of their own
    warning: config.toml:13: runner Ab3dEf9_x: cap_add CAP_SYS_ADMIN: with it a job can leave its container
    warning: config.toml:11: runner Ab3dEf9_x: network_mode = "host": its jobs get no credentials, since no redirect sees what they ask
    warning: config.toml:6: runner Ab3dEf9_x: environment sets IAM_ROLE: a job can set it too, and with another value it is refused; a rule's role is what binds
    warning: config.toml:12: runner Ab3dEf9_x: pull policy "if-not-present": a job may run an image that another one left here; rules that name an image by digest are not affected
    warning: config.toml:2: runner Ab3dEf9_x: FF_SUSPENDABLE_ENVIRONMENTS is on: containers are started again for another job with the labels of the first
    warning: rule "other" is for runner Zz, which is not in config.toml
    "###);
}

#[test]
fn a_file_that_is_no_toml_is_a_fault_that_shows_nothing_of_it() {
    let told = told("[[runners]]\ntoken = \"SECRET\ntoken2 = SECRET\n", &config(RULE));
    assert!(
        told.starts_with("config.toml:2: ") && told.contains("write valid TOML"),
        "{told}"
    );
}

#[test]
fn a_runner_is_called_what_it_calls_itself() {
    // From the tests of helpers/shorten_token.go.
    for (token, short) in [
        ("", ""),
        ("short", "short"),
        ("veryverylongtoken", "veryveryl"),
        ("glrt-t1_Ab3dEf9_xyz", "Ab3dEf9_x"),
        ("glrt-Ab3dEf9_xyz", "Ab3dEf9_x"),
        ("t3_Ab3dEf9_xyz", "Ab3dEf9_x"),
        ("t4_Ab3dEf9_xyz", "t4_Ab3dEf"),
        ("glrtr-Ab3dEf9_xyz", "Ab3dEf9_x"),
        ("GR1348941Ab3dEf9_xyz", "Ab3dEf9_x"),
        ("GRxyzAb3dEf9_xyz", "GRxyzAb3d"),
    ] {
        assert_eq!(short_token(token), short, "{token}");
    }
}

#[test]
fn two_tokens_with_one_label_are_a_fault_and_one_token_twice_is_not() {
    let twice = format!("{GOOD}{}", GOOD.replace("concurrent = 4", ""));
    assert_eq!(faults(&twice), 0);
    assert_eq!(faults(&twice.replacen("xSECRETSECRET", "xOTHER", 1)), 1);
}

#[test]
fn every_way_to_an_engines_socket_is_found() {
    for source in [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "//run/./docker.sock",
        "/var/run",
        "/run/",
        "/var",
        "/",
        "/run/containerd/containerd.sock",
        "/run/user/1000/docker.sock",
        "/srv/../var/run/docker.sock",
        "/somewhere/engine.sock",
        "/run/metadata-proxy/control.sock",
        "./run",
    ] {
        let text = GOOD.replace("\"/cache\"", &format!("\"{source}:/x\""));
        assert_eq!(faults(&text), 1, "{source}");
    }
    for source in ["/var/lib/ci", "/runner", "/srv/run", "named", "/variable", "/run-cache"] {
        let text = GOOD.replace("\"/cache\"", &format!("\"{source}:/x\""));
        assert_eq!(faults(&text), 0, "{source}");
    }
}

#[test]
fn rules_are_held_against_the_runners() {
    for (change, told_of) in [
        (("Ab3dEf9_x", "Zz3dEf9_x"), "not in config.toml"),
        (("gitlab.example.com", "gitlab.example.com:8443"), "registers it with"),
        (("\"docker\"", "\"shell\""), "makes no containers"),
        (("\"docker\"", "\"docker-autoscaler\""), "on each of them"),
    ] {
        let told = told(&GOOD.replace(change.0, change.1), &config(RULE));
        assert!(
            told.starts_with("warning: rule \"deploy\"") && told.contains(told_of),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}", token in "\\PC{0,30}") {
        let _ = Document::read(&text);
        prop_assert!(short_token(&token).chars().count() <= 9);
        let _ = examine("f", &format!("[[runners]]\ntoken = '''{token}'''\nexecutor = 'docker'\n[runners.docker]\nvolumes = ['''{token}''']"), &config(RULE));
    }
}
