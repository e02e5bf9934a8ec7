//! What a configuration may say, and how its faults read.

mod names;
mod rules;
mod session;

use std::time::Duration;

use super::{Audit, Config, Environment, Kind, MetricsAddress};
use crate::caller::Level;
use crate::fixture::{HEADER, RULE};

fn read(text: &str) -> Result<Config, String> {
    Config::read("metadata-proxy.toml", text, &Environment::default()).map_err(|faults| faults.to_string())
}

fn faults(text: &str) -> String {
    read(text).unwrap_err()
}

#[test]
fn a_whole_configuration_is_read() {
    let config = read(
        r#"
[listen]
port = 8000
metrics = "unix:/run/metadata-proxy/metrics.sock"
[engine]
socket = "unix:///var/run/docker.sock"
[aws]
account = "123456789012"
region = "eu-central-1"
partition = "aws"
accounts = ["222222222222"]
sts_endpoint = "http://10.0.0.1:8080"
session_seconds = 3600
[imds]
require_token = true
[firewall]
manage = true
[attestation]
level = "cgroup"
self_test = true
grace_seconds = 60
[audit]
path = "-"
[[rule]]
name = "deploy"
runner = "Ab3dEf9_x"
system_id = ["s_0123456789ab"]
gitlab = "gitlab.example.com"
project = [20, 21]
kind = ["build", "predefined"]
ref = ["main", "release/*"]
image = ["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
role = "deploy"
selectable = ["deploy-eu", "arn:aws:iam::222222222222:role/deploy"]
external_id = "ab"
session_name = "{project}-{job}"
tags = { project = "{project}" }
transitive = "project"
source_identity = "{runner},{job}"
require_token = true
"#,
    )
    .unwrap();
    assert_eq!(
        config.listen.metrics,
        Some(MetricsAddress::Unix("/run/metadata-proxy/metrics.sock".into()))
    );
    assert_eq!(config.audit, Audit::Stdout);
    assert_eq!(config.attestation.grace, Duration::from_mins(1));
    let rule = &config.rules[0];
    let jobs = rule.subject.jobs().unwrap();
    assert_eq!(jobs.projects, [20, 21].into());
    assert_eq!(jobs.kinds, [Kind::Build, Kind::Predefined].into());
    assert_eq!(
        rule.role.as_ref().unwrap().arn(),
        "arn:aws:iam::123456789012:role/deploy"
    );
    assert_eq!(config.warnings(), Vec::<String>::new());
}

#[test]
fn what_is_left_out_is_safe() {
    let config = read(&format!("{HEADER}{RULE}")).unwrap();
    assert!(config.imds.require_token && config.firewall.manage && config.attestation.self_test);
    assert_eq!(config.attestation.grace, Duration::from_mins(10));
    assert_eq!(config.attestation.self_test_every, Some(Duration::from_hours(1)));
    assert_eq!(config.attestation.level, Level::Cgroup);
    assert_eq!(config.listen.metrics, None);
    assert_eq!(config.engine.socket, "unix:///var/run/docker.sock");
    assert_eq!(config.aws.session_seconds, 3600);
    assert_eq!(config.rules[0].subject.jobs().unwrap().kinds, [Kind::Build].into());
}

#[test]
fn the_environment_fills_what_is_open_and_overrides_nothing() {
    let environment = Environment {
        docker_host: Some("unix:///other.sock".to_owned()),
        sts_endpoint: Some("http://127.0.0.1:1".to_owned()),
        region: Some("us-east-1".to_owned()),
        state_directory: None,
    };
    let open = Config::read("x", "[aws]\naccount = \"123456789012\"\n", &environment).unwrap();
    assert_eq!(open.engine.socket, "unix:///other.sock");
    assert_eq!(open.aws.region.as_str(), "us-east-1");
    assert_eq!(open.aws.sts_endpoint.as_deref(), Some("http://127.0.0.1:1"));
    let stated = "[engine]\nsocket = \"unix:///a.sock\"\n[aws]\naccount = \"123456789012\"\nregion = \"eu-west-1\"\nsts_endpoint = \"http://b\"\n";
    let stated = Config::read("x", stated, &environment).unwrap();
    assert_eq!(stated.engine.socket, "unix:///a.sock");
    assert_eq!(stated.aws.region.as_str(), "eu-west-1");
    assert_eq!(stated.aws.sts_endpoint.as_deref(), Some("http://b"));
}

#[test]
fn every_fault_is_told_at_once_with_its_line_and_remedy() {
    let text = r#"
[listen]
port = 70000
metrics = "0.0.0.0:9090"
address = "10.0.0.1"
[engine]
socket = "tcp://127.0.0.1:2375"
[aws]
account = "12345"
region = "moon"
session_seconds = 600
[imds]
require_token = "yes"
[colour]
[[rule]]
name = "a rule"
gitlab = "https://gitlab.example.com"
ref = "main"
kind = "helper"
image = "ruby:3"
[[rule]]
name = "two"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 0
role = "arn:aws-cn:iam::000000000000:role/x"
selectable = ["ok", "a/b", "*"]
"#;
    insta::assert_snapshot!(faults(text), @r###"
        metadata-proxy.toml:3: listen.port: 70000 is out of bounds
          remedy: write a number from 0 to 65535
        metadata-proxy.toml:4: listen.metrics: "0.0.0.0:9090": not a loopback address
          remedy: write unix:/absolute/path or a loopback address such as 127.0.0.1:9090; a job must never reach it
        metadata-proxy.toml:5: listen.address: is not a known key
          remedy: remove it; known here: port, metrics, control
        metadata-proxy.toml:6: engine.tls_ca: is missing
          remedy: tcp:// needs tls_ca, tls_cert and tls_key: whoever can answer in the engine's name hands out roles
        metadata-proxy.toml:6: engine.tls_cert: is missing
          remedy: tcp:// needs tls_ca, tls_cert and tls_key: whoever can answer in the engine's name hands out roles
        metadata-proxy.toml:6: engine.tls_key: is missing
          remedy: tcp:// needs tls_ca, tls_cert and tls_key: whoever can answer in the engine's name hands out roles
        metadata-proxy.toml:9: aws.account: "12345": an account is 12 digits
          remedy: write the 12 digits of the account whose roles jobs get
        metadata-proxy.toml:10: aws.region: "moon": a region looks like eu-central-1
          remedy: write the region of this host, such as eu-central-1
        metadata-proxy.toml:11: aws.session_seconds: 600 is out of bounds
          remedy: write a number from 900 to 43200
        metadata-proxy.toml:13: imds.require_token: expected true or false, found string
          remedy: write true or false
        metadata-proxy.toml:14: colour: is not a known key
          remedy: remove it; known here: listen, engine, aws, credentials, imds, container_credentials, firewall, bridges, attestation, audit, traces, revocations, reload, runner, compat, gitlab, rule
        metadata-proxy.toml:15: rule[0].runner: is missing
          remedy: write the runner's short token, as its jobs' logs show it
        metadata-proxy.toml:15: rule[0].project: is missing
          remedy: write the project's id, or a list of ids; a ref alone never grants
        metadata-proxy.toml:15: rule[0].role: is missing
          remedy: name at least one of role and selectable
        metadata-proxy.toml:16: rule[0].name: "a rule": not a name
          remedy: give the rule a name of 1 to 64 letters, digits, _, - and .
        metadata-proxy.toml:17: rule[0].gitlab: "https://gitlab.example.com": a GitLab host is a lowercase host name with an optional port, without scheme and path
          remedy: write the GitLab server's host as job URLs show it
        metadata-proxy.toml:19: rule[0].kind: "helper": not a kind of container
          remedy: write build, predefined, service, wait or cache-init
        metadata-proxy.toml:20: rule[0].image: "ruby:3": an image is sha256: and 64 lowercase hexadecimal digits
          remedy: write the image's id or digest; a name proves nothing
        metadata-proxy.toml:25: rule[1].project: 0 is not a positive number
          remedy: write a positive number
        metadata-proxy.toml:26: rule[1].role: "arn:aws-cn:iam::000000000000:role/x": the ARN is of another partition
          remedy: write a name or /path/name of aws.account, or the ARN of a role of it or of one of aws.accounts
        metadata-proxy.toml:27: rule[1].selectable: "a/b": a role is a name, /path/name or a role ARN, in letters, digits and +=,.@_-
          remedy: write a name or /path/name of aws.account, or the ARN of a role of it or of one of aws.accounts
        metadata-proxy.toml:27: rule[1].selectable: "*": a role is a name, /path/name or a role ARN, in letters, digits and +=,.@_-
          remedy: write a name or /path/name of aws.account, or the ARN of a role of it or of one of aws.accounts
        "###);
}

#[test]
fn metrics_stay_away_from_jobs() {
    for good in [
        "unix:/run/m.sock",
        "unix:///run/m.sock",
        "127.0.0.1:9090",
        "[::1]:9090",
        "127.0.0.1:0",
    ] {
        let text = HEADER.replace("port = 0", &format!("port = 0\nmetrics = \"{good}\""));
        assert!(read(&text).is_ok(), "{good}");
    }
    for bad in [
        "0.0.0.0:9090",
        "[::]:9090",
        "172.17.0.1:9090",
        "localhost:9090",
        "unix:m.sock",
        "9090",
        "",
    ] {
        let text = HEADER.replace("port = 0", &format!("port = 0\nmetrics = \"{bad}\""));
        assert!(faults(&text).contains("listen.metrics"), "{bad}");
    }
}

#[test]
fn broken_toml_is_a_fault_with_a_line() {
    insta::assert_snapshot!(faults("[listen]\nport = \n[aws]\naccount = \"123456789012\"\nregion = \"eu-central-1\"\n"), @r###"
        metadata-proxy.toml:2: string values must be quoted, expected literal string
          remedy: write valid TOML
        "###);
}

#[test]
fn a_self_test_is_made_again_unless_there_is_none() {
    let every = |text: &str| {
        let config = read(&format!("{HEADER}[attestation]\n{text}\n"));
        config.map(|config| config.attestation.self_test_every)
    };
    assert_eq!(every("self_test_every_seconds = 10"), Ok(Some(Duration::from_secs(10))));
    for none in [
        "self_test_every_seconds = 0",
        "self_test = false",
        "self_test = false\nself_test_every_seconds = 0",
    ] {
        assert_eq!(every(none), Ok(None), "{none}");
    }
    let told = faults(&format!("{HEADER}[attestation]\nself_test_every_seconds = 9\n"));
    insta::assert_snapshot!(told, @r###"
    metadata-proxy.toml:8: attestation.self_test_every_seconds: makes containers faster than a busy host ends them
      remedy: write 10 or more, or 0 for never
    "###);
    let told = faults(&format!(
        "{HEADER}[attestation]\nself_test = false\nself_test_every_seconds = 3600\n"
    ));
    insta::assert_snapshot!(told, @r###"
    metadata-proxy.toml:9: attestation.self_test_every_seconds: asks for a self-test, and self_test is false
      remedy: remove it, or write self_test = true
    "###);
}

#[test]
fn a_level_of_attestation_is_weakened_by_name_only_and_never_to_an_address() {
    let level = |text: &str| read(&format!("{HEADER}[attestation]\nlevel = \"{text}\"\n"));
    let netns = level("netns").unwrap();
    assert_eq!(netns.attestation.level, Level::Netns);
    assert!(netns.warnings().iter().any(|warning| warning.contains("netns")));
    assert!(level("Cgroup").is_err() && level("").is_err());
    insta::assert_snapshot!(faults(&format!("{HEADER}[attestation]\nlevel = \"address\"\n")), @r###"
        metadata-proxy.toml:8: attestation.level: "address": an address proves nobody: a request can arrive before any event, list or filter of the engine says who has its address now (rules A1 and A4), and would get the credentials of whoever had it before
          remedy: write cgroup, or netns where the kernel cannot name the cgroup of a connection's owner
        "###);
}

#[test]
fn what_is_unwise_is_said() {
    let text = format!(
        "{HEADER}credentials = \"environment\"\nsession_seconds = 7200\n[imds]\nrequire_token = false\n[firewall]\nmanage = false\n[attestation]\nself_test = false\n"
    );
    assert_eq!(read(&text).unwrap().warnings().len(), 5);
}

#[test]
fn the_host_is_closed_but_for_the_cgroups_that_are_named() {
    use super::HostAccess;
    let host = |text: &str| {
        let text = format!("{HEADER}[firewall]\n{text}\n");
        Config::read("test.toml", &text, &Environment::default()).map(|config| config.firewall.host)
    };
    let closed = |cgroups: &[&str]| HostAccess::Closed {
        cgroups: cgroups.iter().map(ToString::to_string).collect(),
    };
    let agent = "/system.slice/amazon-ssm-agent.service";
    assert_eq!(host(""), Ok(closed(&[])));
    assert_eq!(
        host(&format!("host = \"closed\"\nhost_cgroups = [\"{agent}\"]")),
        Ok(closed(&[agent]))
    );
    assert_eq!(host("host = \"open\""), Ok(HostAccess::Open));
    for faulty in [
        "host = \"ajar\"".to_owned(),
        format!("host = \"open\"\nhost_cgroups = \"{agent}\""),
        "host_cgroups = \"system.slice/x.service\"".to_owned(),
        "host_cgroups = \"/\"".to_owned(),
        "host_cgroups = \"/system.slice\"".to_owned(),
        "host_cgroups = \"/docker\"".to_owned(),
        "host_cgroups = \"/system.slice/docker-0123.scope\"".to_owned(),
        "host_cgroups = \"/a/../b\"".to_owned(),
        "host_cgroups = '/a\" accept; x'".to_owned(),
        "host_cgroups = \"/a\\nb\"".to_owned(),
    ] {
        assert_eq!(host(&faulty).unwrap_err().0.len(), 1, "{faulty}");
    }
}
