//! Plans of what stands beside a job: services, networks, addresses.

use std::net::IpAddr;

use serde_json::json;

use super::*;

fn running(id: &str) -> ServiceAddress {
    ServiceAddress {
        name: "pre-redis-0".to_owned(),
        id: id.to_owned(),
        ip: Some(IpAddr::from([172, 17, 0, 2])),
        aliases: vec!["redis".to_owned(), "db".to_owned()],
        ports: vec![6379],
    }
}

#[test]
fn a_service_gets_public_variables_and_has_the_last_word() {
    let mut service = redis("db,cache");
    service.variables = vec![
        Variable::new("IAM_ROLE", "service"),
        Variable::new("SEEN", "$PRIVATE|$PUBLIC"),
    ];
    service.command = vec!["--port".to_owned()];
    let with = Job {
        variables: vec![
            Variable::hidden("IAM_ROLE", "project"),
            Variable::new("IAM_ROLE", "yaml"),
            Variable::hidden("PRIVATE", "x"),
            Variable::new("PUBLIC", "y"),
        ],
        services: vec![service],
        ..job()
    };
    let more =
        "environment = [\"IAM_ROLE=runner\"]\n[runners.docker]\ncap_drop = [\"NET_RAW\"]\ncap_add = [\"NET_ADMIN\"]";
    let plan = planned(more, &with);
    let mut request = serde_json::to_value(plan.services.first().unwrap()).unwrap();
    let lines = env(&request);
    assert_eq!(values(&lines, "IAM_ROLE"), ["runner", "yaml", "service"]);
    assert_eq!(values(&lines, "SEEN"), ["|y"]);
    assert!(values(&lines, "CI_JOB_TOKEN").is_empty());
    request
        .pointer_mut("/body")
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove("Env");
    insta::assert_snapshot!(text(request), @r#"
    {
      "aliases": [
        "redis",
        "db",
        "cache"
      ],
      "body": {
        "Cmd": [
          "--port"
        ],
        "HostConfig": {
          "Binds": [
            "runner-5303031690ed6b4ae5367552b1be1b35-cache-c33bcaa1fd2c77edfc3893b41966cea8:/builds"
          ],
          "NetworkMode": "",
          "Privileged": false,
          "RestartPolicy": {
            "Name": "no"
          },
          "ShmSize": 0
        },
        "Image": "sha256:ed",
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
          "com.gitlab.gitlab-runner.service": "redis",
          "com.gitlab.gitlab-runner.service.version": "7",
          "com.gitlab.gitlab-runner.type": "service"
        },
        "NetworkingConfig": {}
      },
      "kind": "service",
      "name": "runner-ab3def9x-project-20-concurrent-0-0a1b2c3d4e5f6071-redis-0",
      "ports": [
        6379
      ]
    }
    "#);
    let build = serde_json::to_value(plan.build(&[])).unwrap();
    assert_eq!(build.pointer("/body/HostConfig/CapDrop").unwrap(), &json!(["NET_RAW"]));
    assert_eq!(build.pointer("/body/HostConfig/CapAdd").unwrap(), &json!(["NET_ADMIN"]));
}

#[test]
fn running_services_are_named_in_the_hosts_file() {
    let plan = planned("[runners.docker]\nextra_hosts = [\"vault:10.0.0.1\"]", &job());
    let request = plan.build(&[running("0123456789abcdef")]);
    let hosts = request.body.host_config.unwrap().extra_hosts.unwrap();
    assert_eq!(
        hosts,
        [
            "vault:10.0.0.1",
            "redis:172.17.0.2",
            "db:172.17.0.2",
            "0123456789ab:172.17.0.2"
        ]
    );
}

#[test]
fn a_service_with_ports_is_waited_for() {
    let plan = planned("[runners.docker]\ncontainer_labels = { team = \"x\" }", &job());
    let wait = plan.wait(&running("0123456789abcdef")).unwrap();
    insta::assert_snapshot!(text(wait), @r#"
    {
      "aliases": [],
      "body": {
        "Cmd": [
          "gitlab-runner-helper",
          "health-check"
        ],
        "Env": [
          "WAIT_FOR_SERVICE_TCP_ADDR=0123456789ab",
          "WAIT_FOR_SERVICE_6379_TCP_PORT=6379"
        ],
        "HostConfig": {
          "ExtraHosts": [
            "0123456789ab:172.17.0.2"
          ],
          "NetworkMode": "",
          "RestartPolicy": {
            "Name": "no"
          }
        },
        "Image": "sha256:4e",
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
          "com.gitlab.gitlab-runner.type": "wait",
          "com.gitlab.gitlab-runner.wait": "0123456789abcdef"
        }
      },
      "kind": "wait",
      "name": "pre-redis-0-wait-for-service",
      "ports": []
    }
    "#);
    let silent = ServiceAddress {
        ports: Vec::new(),
        ..running("0123456789abcdef")
    };
    assert!(plan.wait(&silent).is_none());
    let never = planned("[runners.docker]\nwait_for_services_timeout = -1", &job());
    assert!(never.wait(&running("0123456789abcdef")).is_none());
}

#[test]
fn a_custom_network_mode_is_used_for_every_container() {
    let with = Job {
        services: vec![redis("db")],
        ..job()
    };
    let plan = planned("[runners.docker]\nnetwork_mode = \"shared\"\nhostname = \"ci\"", &with);
    for request in [
        plan.services.first().unwrap().clone(),
        plan.predefined(&[]),
        plan.build(&[]),
    ] {
        let value = serde_json::to_value(&request).unwrap();
        assert_eq!(value.pointer("/body/HostConfig/NetworkMode").unwrap(), "shared");
        let aliases = value
            .pointer("/body/NetworkingConfig/EndpointsConfig/shared/Aliases")
            .unwrap();
        match request.kind {
            Kind::Service => assert_eq!(aliases, &json!(["redis", "db"])),
            Kind::Build | Kind::Predefined | Kind::Wait | Kind::CacheInit => {
                assert_eq!(aliases, &json!(["build", request.name]));
            }
        }
    }
    assert_eq!(plan.build(&[]).body.hostname.unwrap(), "ci");
    assert_eq!(plan.services.first().unwrap().body.hostname, None);
    let host = build("[runners.docker]\nnetwork_mode = \"host\"", &job());
    assert_eq!(host.pointer("/body/NetworkingConfig").unwrap(), &json!({}));
}

#[test]
fn an_author_may_turn_the_network_per_build_on() {
    let with = Job {
        variables: vec![Variable::new("FF_NETWORK_PER_BUILD", "true")],
        ..job()
    };
    let plan = planned("", &with);
    insta::assert_snapshot!(text(plan.network.as_ref().unwrap()), @r#"
    {
      "body": {
        "EnableIPv6": false,
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
          "com.gitlab.gitlab-runner.runner.system_id": "s_0123456789ab"
        },
        "Name": "runner-ab3def9x-20-0-302",
        "Options": {}
      },
      "name": "runner-ab3def9x-20-0-302"
    }
    "#);
    let request = serde_json::to_value(plan.build(&[])).unwrap();
    insta::assert_snapshot!(request.pointer("/body/NetworkingConfig").unwrap(), @r#"{"EndpointsConfig":{"runner-ab3def9x-20-0-302":{"Aliases":["build","runner-ab3def9x-project-20-concurrent-0-0a1b2c3d4e5f6071-build"]}}}"#);
    assert_eq!(values(&env(&request), "FF_NETWORK_PER_BUILD"), ["true"]);
    assert_eq!(
        values(&env(&request), "CI_BUILD_NETWORK_NAME"),
        ["runner-ab3def9x-20-0-302"]
    );
    assert!(
        planned("[runners.feature_flags]\nFF_NETWORK_PER_BUILD = false", &with)
            .network
            .is_none()
    );
    assert!(
        planned("[runners.docker]\nnetwork_mode = \"bridge\"", &with)
            .network
            .is_none()
    );
}

#[test]
fn newer_engines_are_told_the_default_endpoint() {
    let around = Circumstances {
        api_version: (1, 44),
        ..around()
    };
    let request = plan(&config(""), &job(), &around).unwrap().build(&[]);
    let networking = serde_json::to_value(request.body.networking_config).unwrap();
    assert_eq!(networking, json!({"EndpointsConfig": {"default": {}}}));
}

#[test]
fn a_fixed_address_and_a_bridge_name_change_nothing_else() {
    let with = Job {
        variables: vec![Variable::new("FF_NETWORK_PER_BUILD", "true")],
        ..job()
    };
    let spec = NetworkSpec {
        bridge: Some("br-lab".to_owned()),
        subnets: vec!["172.30.0.0/24".to_owned(), "fd99::/64".to_owned()],
        ..NetworkSpec::default()
    };
    let placement = Placement {
        build_address: Some(IpAddr::from([172, 30, 0, 9])),
        network: Some(spec),
    };
    let placed = plan(&config(""), &with, &Circumstances { placement, ..around() }).unwrap();
    let network = placed.network.as_ref().unwrap();
    assert_eq!(network.name, "runner-ab3def9x-20-0-302");
    assert_eq!(network.body.labels, planned("", &with).network.unwrap().body.labels);
    assert_eq!(network.body.enable_ipv6, Some(true));
    let build = serde_json::to_value(placed.build(&[])).unwrap();
    let endpoint = build
        .pointer("/body/NetworkingConfig/EndpointsConfig/runner-ab3def9x-20-0-302")
        .unwrap();
    assert_eq!(endpoint.pointer("/IPAMConfig/IPv4Address").unwrap(), "172.30.0.9");
}
