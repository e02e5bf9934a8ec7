//! Plans as text: what the engine would be asked, field by field.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::*;

mod neighbours;
mod sets;

const CONFIG: &str = r#"
[[runners]]
url = "https://gitlab.example.com/"
token = "glrt-Ab3dEf9_xYZ"
executor = "docker"
"#;

fn config(more: &str) -> RunnerConfig {
    RunnerConfig::parse("config.toml", &format!("{CONFIG}{more}")).unwrap()
}

fn job() -> Job {
    Job {
        image: "alpine".to_owned(),
        token: "glcbt-64_token".to_owned(),
        ..Job::new(302, 20, "g/p", "feature-branch-1")
    }
}

fn around() -> Circumstances {
    let image = |name: &str, id: &str, ports: &[u16]| {
        let resolved = ResolvedImage {
            id: format!("sha256:{id}"),
            ports: ports.to_vec(),
        };
        (name.to_owned(), resolved)
    };
    Circumstances {
        concurrent: 0,
        project_concurrent: 0,
        unique: "0a1b2c3d4e5f6071".to_owned(),
        system_id: "s_0123456789ab".to_owned(),
        api_version: (1, 41),
        images: BTreeMap::from([
            image("alpine", "a1", &[]),
            image("redis:7", "ed", &[6379]),
            image(HELPER_IMAGE, "4e", &[]),
        ]),
        placement: Placement::default(),
    }
}

fn planned(more: &str, job: &Job) -> JobPlan {
    plan(&config(more), job, &around()).unwrap()
}

/// Keys sorted, as the engine does not care for their order.
fn text(value: impl serde::Serialize) -> String {
    serde_json::to_string_pretty(&serde_json::to_value(value).unwrap()).unwrap()
}

fn build(more: &str, job: &Job) -> Value {
    serde_json::to_value(planned(more, job).build(&[])).unwrap()
}

fn env(request: &Value) -> Vec<String> {
    serde_json::from_value(request.pointer("/body/Env").unwrap().clone()).unwrap()
}

fn values<'a>(env: &'a [String], key: &str) -> Vec<&'a str> {
    env.iter()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

fn label(request: &Value, key: &str) -> Option<String> {
    let labels = request.pointer("/body/Labels").unwrap();
    labels.get(key).map(|value| value.as_str().unwrap().to_owned())
}

fn redis(alias: &str) -> Service {
    Service {
        name: "redis:7".to_owned(),
        alias: alias.to_owned(),
        ..Service::default()
    }
}

#[test]
fn a_plain_job_is_asked_for_as_the_runner_would() {
    let mut plain = serde_json::to_value(planned("", &job()).build(&[])).unwrap();
    // The environment has a test of its own.
    plain
        .pointer_mut("/body")
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove("Env");
    insta::assert_snapshot!(text(plain), @r#"
    {
      "aliases": [],
      "body": {
        "AttachStderr": true,
        "AttachStdin": true,
        "AttachStdout": true,
        "Cmd": [
          "sh",
          "-c",
          "if [ -x /usr/local/bin/bash ]; then\n\texec /usr/local/bin/bash \nelif [ -x /bin/bash ]; then\n\texec /bin/bash \nelif [ -x /bin/sh ]; then\n\texec /bin/sh \nelse\n\techo shell not found\n\texit 1\nfi\n\n"
        ],
        "HostConfig": {
          "Binds": [
            "runner-5303031690ed6b4ae5367552b1be1b35-cache-c33bcaa1fd2c77edfc3893b41966cea8:/builds"
          ],
          "NetworkMode": "",
          "OomKillDisable": false,
          "Privileged": false,
          "RestartPolicy": {
            "Name": "no"
          },
          "ShmSize": 0
        },
        "Hostname": "runner-ab3def9x-project-20-concurrent-0",
        "Image": "sha256:a1",
        "Labels": {
          "com.gitlab.gitlab-runner.job.before_sha": "0000000000000000000000000000000000000000",
          "com.gitlab.gitlab-runner.job.id": "302",
          "com.gitlab.gitlab-runner.job.ref": "feature-branch-1",
          "com.gitlab.gitlab-runner.job.sha": "1ecfd275763eff1d6b4844ea3168962458c9f27a",
          "com.gitlab.gitlab-runner.job.timeout": "1h0m0s",
          "com.gitlab.gitlab-runner.job.url": "https://gitlab.example.com/g/p/-/jobs/302",
          "com.gitlab.gitlab-runner.managed": "true",
          "com.gitlab.gitlab-runner.pipeline.id": "303",
          "com.gitlab.gitlab-runner.project.id": "20",
          "com.gitlab.gitlab-runner.project.runner_id": "0",
          "com.gitlab.gitlab-runner.runner.id": "Ab3dEf9_x",
          "com.gitlab.gitlab-runner.runner.local_id": "0",
          "com.gitlab.gitlab-runner.runner.system_id": "s_0123456789ab",
          "com.gitlab.gitlab-runner.type": "build"
        },
        "NetworkingConfig": {},
        "OpenStdin": true,
        "StdinOnce": true,
        "Tty": false
      },
      "kind": "build",
      "name": "runner-ab3def9x-project-20-concurrent-0-0a1b2c3d4e5f6071-build",
      "ports": []
    }
    "#);
}

#[test]
fn the_environment_has_the_runners_order() {
    let with = Job {
        variables: vec![Variable::new("DIR", "$CI_PROJECT_DIR/x")],
        ..job()
    };
    let lines = env(&build("", &with))
        .into_iter()
        .filter(|line| !line.starts_with("FF_"));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    CI_JOB_IMAGE=alpine
    CI_RUNNER_SHORT_TOKEN=Ab3dEf9_x
    CI_BUILDS_DIR=/builds
    CI_PROJECT_DIR=/builds/g/p
    CI_CONCURRENT_ID=0
    CI_CONCURRENT_PROJECT_ID=0
    CI_SERVER=yes
    CI_JOB_STATUS=running
    CI_JOB_TIMEOUT=3600
    CI_PIPELINE_ID=303
    CI_PIPELINE_URL=https://gitlab.example.com/g/p/-/pipelines/303
    CI_JOB_ID=302
    CI_JOB_URL=https://gitlab.example.com/g/p/-/jobs/302
    CI_JOB_TOKEN=glcbt-64_token
    CI_REGISTRY_USER=gitlab-ci-token
    CI=true
    GITLAB_CI=true
    CI_SERVER_URL=https://gitlab.example.com
    CI_SERVER_HOST=gitlab.example.com
    CI_PROJECT_ID=20
    CI_PROJECT_NAME=p
    CI_PROJECT_PATH=g/p
    CI_PROJECT_URL=https://gitlab.example.com/g/p
    CI_COMMIT_SHA=1ecfd275763eff1d6b4844ea3168962458c9f27a
    CI_COMMIT_BEFORE_SHA=0000000000000000000000000000000000000000
    CI_COMMIT_REF_NAME=feature-branch-1
    CI_COMMIT_REF_PROTECTED=false
    DIR=/builds/g/p/x
    CI_DISPOSABLE_ENVIRONMENT=true
    CI_RUNNER_VERSION=19.4.0
    CI_RUNNER_REVISION=6a1e5a52
    CI_RUNNER_EXECUTABLE_ARCH=linux/amd64
    RUNNER_TEMP_PROJECT_DIR=/builds/g/p.tmp
    "#);
}

#[test]
fn predefined_differs_from_build_in_name_type_and_command_only() {
    let plan = planned("", &job());
    let mut predefined = plan.predefined(&[]);
    let build = plan.build(&[]);
    assert_eq!(
        predefined.name,
        "runner-ab3def9x-project-20-concurrent-0-0a1b2c3d4e5f6071-predefined"
    );
    assert_eq!(predefined.body.cmd, Some(vec!["gitlab-runner-build".to_owned()]));
    predefined.body.image = build.body.image.clone();
    predefined.body.cmd = build.body.cmd.clone();
    predefined.body.labels = build.body.labels.clone();
    assert_eq!(predefined.body, build.body);
}

#[test]
fn a_role_from_three_sources_stands_three_times_in_order() {
    let with = Job {
        variables: vec![Variable::new("IAM_ROLE", "author")],
        secrets: vec![Variable::hidden("IAM_ROLE", "secret")],
        ..job()
    };
    let request = build("environment = [\"IAM_ROLE=runner\"]", &with);
    assert_eq!(values(&env(&request), "IAM_ROLE"), ["runner", "author", "secret"]);
}

#[test]
fn the_runners_value_is_expanded_with_the_authors_variables() {
    let with = Job {
        variables: vec![Variable::new("TEAM", "admin")],
        ..job()
    };
    let request = build("environment = [\"IAM_ROLE=team-$TEAM\"]", &with);
    assert_eq!(values(&env(&request), "IAM_ROLE"), ["team-admin"]);
}

#[test]
fn native_steps_leave_one_variable_and_the_images_entrypoint() {
    for with in [
        Job {
            native_steps: true,
            ..job()
        },
        Job {
            variables: vec![Variable::new("FF_SCRIPT_TO_STEP_MIGRATION", "true")],
            ..job()
        },
        Job {
            variables: vec![Variable::new("FF_CONCRETE", "1")],
            ..job()
        },
    ] {
        let with = Job {
            entrypoint: vec!["/bin/sh".to_owned()],
            ..with
        };
        let request = build("environment = [\"IAM_ROLE=runner\"]", &with);
        insta::allow_duplicates! {
            insta::assert_snapshot!(env(&request).join("\n"), @r#"_GITLAB_RUNNER_HELPER_NATIVE_STEPS_ARGV=WyJnaXRsYWItcnVubmVyLWhlbHBlciIsInN0ZXBzIiwic2VydmUiXQ=="#);
        }
        assert_eq!(request.pointer("/body/Entrypoint"), None);
    }
    let pinned = "[runners.feature_flags]\nFF_CONCRETE = false";
    let with = Job {
        variables: vec![Variable::new("FF_CONCRETE", "1")],
        ..job()
    };
    assert!(env(&build(pinned, &with)).len() > 1);
}

#[test]
fn a_dollar_in_a_custom_label_is_the_authors() {
    let labels = "environment = [\"IAM_ROLE=runner\"]\n[runners.docker.container_labels]\n\
                  role = \"$IAM_ROLE\"\nliteral = \"deploy\"\n\"com.gitlab.gitlab-runner.project.id\" = \"1\"\n";
    let with = Job {
        variables: vec![Variable::new("IAM_ROLE", "first"), Variable::new("IAM_ROLE", "last")],
        services: vec![redis("")],
        ..job()
    };
    let request = build(labels, &with);
    assert_eq!(label(&request, "role").unwrap(), "last");
    assert_eq!(label(&request, "literal").unwrap(), "deploy");
    assert_eq!(label(&request, "com.gitlab.gitlab-runner.project.id").unwrap(), "1");
    // The runner's own environment is not what labels are expanded with.
    assert_eq!(label(&build(labels, &job()), "role").unwrap(), "");
    let service = serde_json::to_value(planned(labels, &with).services.first().unwrap()).unwrap();
    assert_eq!(label(&service, "com.gitlab.gitlab-runner.role").unwrap(), "last");
}

#[test]
fn raw_entries_stand_last_in_build_as_they_are() {
    let plan = planned("", &job()).with_raw_env(&["IAM_ROLE".to_owned()]);
    assert_eq!(plan.build(&[]).body.env.unwrap().last().unwrap(), "IAM_ROLE");
    assert_ne!(plan.predefined(&[]).body.env.unwrap().last().unwrap(), "IAM_ROLE");
}

#[test]
fn raw_labels_replace_those_of_the_build_container_and_of_no_other() {
    let plain = planned("", &job()).with_raw_labels(None);
    assert!(plain.build(&[]).body.labels.unwrap().len() > 10);
    let labels = HashMap::from([("a".to_owned(), "b".to_owned())]);
    let plan = planned("", &job()).with_raw_labels(Some(labels.clone()));
    assert_eq!(plan.build(&[]).body.labels, Some(labels));
    assert!(plan.predefined(&[]).body.labels.unwrap().len() > 10);
}

#[test]
fn an_image_that_nobody_defined_is_named() {
    let unknown = Job {
        image: "$CI_PROJECT_NAME".to_owned(),
        ..job()
    };
    let error = plan(&config(""), &unknown, &around()).unwrap_err();
    assert_eq!(error, PlanError::Image { image: "p".to_owned() });
    let nameless = Job {
        image: String::new(),
        ..job()
    };
    assert_eq!(plan(&config(""), &nameless, &around()).unwrap_err(), PlanError::NoImage);
}
