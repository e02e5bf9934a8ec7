//! The whole container set of one job, for each configuration that changes it. Each snapshot was compared field by field with the notes on gitlab-runner
//! 19.4 in the section that its test names (`gitlab-runner.md`: 1 variables, 2 containers, 5 cleanup, 6 requests).
//!
//! As in those notes, `L` stands for the labels that everything of the job has, and `Env` is told without feature flags and without what GitLab predefines.

use std::fmt::Write;
use std::net::IpAddr;

use serde_json::{Map, json};

use super::*;

/// GitLab's own variables as they are for every job here; their order has a test of its own.
fn is_predefined(line: &str) -> bool {
    let predefined = job().payload("https://gitlab.example.com");
    let mut lines = predefined
        .iter()
        .map(|variable| format!("{}={}", variable.key, variable.value));
    lines.any(|given| given == line) && !line.starts_with("CI_JOB_TOKEN=")
}

/// A request's body as the notes write it.
fn shown(body: impl serde::Serialize, common: &Map<String, Value>) -> String {
    let mut body = serde_json::to_value(body).unwrap();
    if let Some(labels) = body.get_mut("Labels").and_then(Value::as_object_mut) {
        let is_common = |labels: &Map<String, Value>| common.iter().all(|(key, value)| labels.get(key) == Some(value));
        if is_common(labels) {
            labels.retain(|key, _| !common.contains_key(key));
            labels.insert("L".to_owned(), json!("…"));
        }
    }
    if let Some(env) = body.get_mut("Env").and_then(Value::as_array_mut) {
        env.retain(|line| {
            let line = line.as_str().unwrap();
            !line.starts_with("FF_") && !is_predefined(line)
        });
    }
    if body.pointer("/Cmd/0") == Some(&json!("sh")) {
        body["Cmd"][2] = json!("<detect>");
    }
    serde_json::to_string_pretty(&body).unwrap()
}

/// Every request in the runner's order, with services running at addresses from .2 on.
fn set_of(more: &str, job: &Job, around: &Circumstances) -> String {
    let plan = plan(&config(more), job, around).unwrap();
    let common = serde_json::to_value(plan.labels.managed(&[])).unwrap();
    let common = common.as_object().unwrap();
    let mut text = String::new();
    let mut ask = |what: &str, name: &str, body: String| writeln!(text, "{what} {name}\n{body}\n").unwrap();
    if let Some(network) = &plan.network {
        ask("network", &network.name, shown(&network.body, common));
    }
    for volume in &plan.volumes {
        ask("volume", &volume.name, shown(&volume.body, common));
        ask("cache-init", &volume.init.name, shown(&volume.init.body, common));
    }
    let services: Vec<ServiceAddress> = (0_u8..)
        .zip(&plan.services)
        .map(|(index, service)| ServiceAddress {
            name: service.name.clone(),
            id: format!("{index}123456789abcdef"),
            ip: Some(IpAddr::from([172, 17, 0, 2 + index])),
            aliases: service.aliases.clone(),
            ports: service.ports.clone(),
        })
        .collect();
    for service in &plan.services {
        ask("service", &service.name, shown(&service.body, common));
    }
    for wait in services.iter().filter_map(|service| plan.wait(service)) {
        ask("wait", &wait.name, shown(&wait.body, common));
    }
    for request in [plan.predefined(&services), plan.build(&services)] {
        ask(request.kind.as_str(), &request.name, shown(&request.body, common));
    }
    text
}

fn with_redis() -> Job {
    Job {
        services: vec![redis("db")],
        ..job()
    }
}

fn set(name: &str, more: &str, job: &Job) {
    insta::assert_snapshot!(name, set_of(more, job, &around()));
}

/// Section 6: legacy mode, one service.
#[test]
fn a_job_with_a_service_on_the_default_bridge() {
    set("default-bridge", "", &with_redis());
}

/// Section 2.3: the network has the job's labels without a type; cache-init stays on the default bridge.
#[test]
fn a_job_with_a_network_per_build() {
    let flags = "[runners.docker]\nenable_ipv6 = true\nnetwork_mtu = 1400\n[runners.feature_flags]\nFF_NETWORK_PER_BUILD = true";
    set("network-per-build", flags, &with_redis());
}

/// Section 2.3: a mode from the configuration is used as it is, with aliases where it names a network.
#[test]
fn a_job_on_a_network_of_the_operators() {
    set(
        "named-network",
        "[runners.docker]\nnetwork_mode = \"shared\"",
        &with_redis(),
    );
}

/// Section 2.3: the host's network has no endpoint to state.
#[test]
fn a_job_on_the_hosts_network() {
    set("host-network", "[runners.docker]\nnetwork_mode = \"host\"", &job());
}

/// Sections 0.3 and 2.1: the build container's environment is one variable, predefined keeps its own.
#[test]
fn a_job_of_native_steps() {
    let with = Job {
        native_steps: true,
        ..job()
    };
    set("native-steps", "environment = [\"IAM_ROLE=runner\"]", &with);
}

/// Section 2.1, rows service and build: services take `services_privileged` and no capabilities.
#[test]
fn a_job_with_privileges() {
    let docker = "[runners.docker]\nprivileged = true\nservices_privileged = false\ncap_add = [\"NET_ADMIN\"]\n\
                  cap_drop = [\"NET_RAW\"]\nsecurity_opt = [\"seccomp=unconfined\"]\nservices_security_opt = [\"no-new-privileges\"]\n\
                  pid_mode = \"host\"\nipc_mode = \"host\"\nuserns_mode = \"host\"\nruntime = \"runc\"\nshm_size = 64";
    set("privileges", docker, &with_redis());
}

/// Sections 0.5 and 2.2: on build, predefined and (twice) services; values are the author's where they have a `$`.
#[test]
fn a_job_with_labels_of_the_operators() {
    let with = Job {
        variables: vec![Variable::new("IAM_ROLE", "author")],
        ..with_redis()
    };
    let docker = "[runners.docker.container_labels]\nrole = \"$IAM_ROLE\"\nteam = \"x\"";
    set("container-labels", docker, &with);
}

/// Section 1.1, blocks 3 to 10, and 1.3 for services: every way by which a role's name gets into `Env`.
#[test]
fn a_job_with_variables_of_every_channel() {
    let mut service = redis("db");
    service.variables = vec![Variable::new("IAM_ROLE", "service")];
    let with = Job {
        variables: vec![
            Variable::new("IAM_ROLE", "yaml"),
            Variable::hidden("IAM_ROLE", "project"),
            Variable {
                raw: true,
                ..Variable::new("RAW", "$IAM_ROLE")
            },
            Variable {
                file: true,
                ..Variable::hidden("SECRET_FILE", "content")
            },
            Variable::new("EXPANDED", "$IAM_ROLE in $SECRET_FILE"),
            Variable::new("CI_PROJECT_PATH", "forged"),
        ],
        secrets: vec![Variable::hidden("IAM_ROLE", "secret")],
        services: vec![service],
        ..job()
    };
    let docker = "environment = [\"IAM_ROLE=runner\", \"MINE=$CI_JOB_ID\"]\n[[runners.docker.services]]\nname = \"redis:7\"\n\
                  alias = \"operators\"\nenvironment = [\"IAM_ROLE=operator\"]";
    set("variable-channels", docker, &with);
}

/// Section 6, `BINDS`: volumes of the project's slot in order, the builds directory last; protected refs have their own.
#[test]
fn a_job_with_cache_volumes() {
    let with = Job {
        protected: true,
        ..job()
    };
    set(
        "cache-volumes",
        "[runners.docker]\nvolumes = [\"/cache\", \"/srv/data:/data:ro\", \"vendor\"]",
        &with,
    );
}

/// Section 6: with another strategy than fetch the builds directory's volume is the job's own, and goes with it.
#[test]
fn a_job_that_clones_has_a_volume_of_its_own() {
    let with = Job {
        variables: vec![Variable::new("GIT_STRATEGY", "clone")],
        ..job()
    };
    set("temporary-volume", "", &with);
    // Without caches the same, and with a directory of the host's nothing is made.
    let disabled = planned("[runners.docker]\ndisable_cache = true\nvolumes = [\"/cache\"]", &job());
    assert_eq!(disabled.volumes, planned("", &with).volumes);
    let mounted = planned("[runners.docker]\nvolumes = [\"/srv/builds:/builds\"]", &job());
    assert!(mounted.volumes.is_empty());
    let host = mounted.build(&[]).body.host_config.unwrap();
    assert_eq!(host.binds.unwrap(), ["/srv/builds:/builds"]);
}

/// Section 2.1, rows service and build: what an author may say of images; the operator's user goes before the author's.
#[test]
fn a_job_with_commands_users_and_a_host_name() {
    let mut service = redis("db");
    service.command = vec!["--port".to_owned(), "1".to_owned()];
    service.entrypoint = vec!["/entry".to_owned()];
    service.user = "service".to_owned();
    let with = Job {
        entrypoint: vec!["".to_owned()],
        user: "author".to_owned(),
        services: vec![service],
        ..job()
    };
    set(
        "commands-and-users",
        "[runners.docker]\nhostname = \"ci\"\nuser = \"operator\"",
        &with,
    );
    let refused = planned("[runners.docker]\ndisable_entrypoint_overwrite = true", &with);
    assert_eq!(refused.build(&[]).body.entrypoint, None);
    assert_eq!(refused.build(&[]).body.user.unwrap(), "author");
}

/// Section 2.3: links are the operator's old-style ones only; services are named by `ExtraHosts`.
#[test]
fn a_job_with_links_hosts_and_resolvers() {
    let docker = "[runners.docker]\nlinks = [\"vault:vault\"]\nextra_hosts = [\"git:10.0.0.1\"]\ndns = [\"10.0.0.53\"]\n\
                  dns_search = [\"lab\"]\nvolumes_from = [\"tools\"]";
    set("links-and-hosts", docker, &with_redis());
}

/// Sections 2.2 and 5: the label `job.timeout` is what ages a container that a crash has left; a short one has no hours.
#[test]
fn a_job_with_a_short_timeout_says_so_in_its_labels() {
    let with = Job {
        timeout: 90,
        git_ref: "refs/merge-requests/7/head".to_owned(),
        ..job()
    };
    let network = "[runners.feature_flags]\nFF_NETWORK_PER_BUILD = true";
    let labels = |request: Value| {
        ["job.timeout", "job.ref", "managed"].map(|key| label(&request, &format!("{LABEL_PREFIX}{key}")).unwrap())
    };
    let plan = planned(network, &with);
    for request in [
        serde_json::to_value(plan.build(&[])).unwrap(),
        serde_json::to_value(plan.predefined(&[])).unwrap(),
        serde_json::to_value(&plan.volumes.first().unwrap().init).unwrap(),
        serde_json::to_value(plan.network.as_ref().unwrap()).unwrap(),
    ] {
        assert_eq!(labels(request), ["1m30s", "refs/merge-requests/7/head", "true"]);
    }
}

/// Section 2.3: from API 1.44 on the endpoint is stated in every mode.
#[test]
fn a_job_on_a_newer_engine() {
    let around = Circumstances {
        api_version: (1, 44),
        ..around()
    };
    insta::assert_snapshot!("newer-engine", set_of("", &with_redis(), &around));
}

#[test]
fn without_volumes_nothing_else_changes() {
    let docker = "[runners.docker]\nvolumes = [\"/cache\", \"/srv/data:/data\"]";
    let (whole, without) = (
        planned(docker, &with_redis()),
        planned(docker, &with_redis()).without_volumes(),
    );
    assert!(whole.volumes.len() == 2 && without.volumes.is_empty());
    let whole_build = whole.build(&[]).body;
    let mut build = without.build(&[]).body;
    assert_eq!(
        build.host_config.as_ref().unwrap().binds.as_ref().unwrap(),
        &["/srv/data:/data"]
    );
    build.host_config.as_mut().unwrap().binds = whole_build.host_config.as_ref().unwrap().binds.clone();
    assert_eq!(build, whole_build);
}
