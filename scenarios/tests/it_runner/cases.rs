//! What a job's containers are like once a real engine has made them.

#![expect(clippy::unwrap_used, reason = "a case fails by panicking, as any test does")]

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
use scenarios::image::{Images, JobImage};
use scenarios::probe::channel::Channel;
use scenarios::probe::protocol::*;
use scenarios::runner::*;

/// Far above what any answer takes; only a defect waits so long.
const SOON: Duration = Duration::from_secs(40);

/// The engine, its images, and job numbers that no other case uses.
pub(crate) struct Engine {
    pub(crate) docker: Docker,
    pub(crate) images: Arc<Images>,
    pub(crate) job: u64,
}

fn config(more: &str) -> RunnerConfig {
    let text = format!("[[runners]]\nurl = \"https://gitlab.example.com\"\ntoken = \"glrt-Ab3dEf9_x\"\n{more}");
    RunnerConfig::parse("config.toml", &text).unwrap()
}

fn job(engine: &Engine) -> Job {
    Job {
        image: "app".to_owned(),
        ..Job::new(engine.job, 20, "g/p", "main")
    }
}

async fn around(engine: &Engine, images: &[JobImage]) -> Circumstances {
    let mut resolved = BTreeMap::new();
    for image in [JobImage::plain("app"), JobImage::plain(HELPER_IMAGE)]
        .iter()
        .chain(images)
    {
        let ports = image
            .exposed_ports
            .iter()
            .filter_map(|port| port.split('/').next()?.parse().ok())
            .collect();
        let id = engine.images.ensure(image).await.unwrap();
        resolved.insert(image.name.clone(), ResolvedImage { id, ports });
    }
    Circumstances {
        concurrent: engine.job,
        project_concurrent: engine.job,
        unique: format!("{:016x}", engine.job),
        system_id: "s_0123456789ab".to_owned(),
        api_version: (1, 41),
        images: resolved,
        placement: Placement::default(),
    }
}

async fn start(engine: &Engine, more: &str, job: &Job, images: &[JobImage]) -> RunningJob {
    let plan = plan(&config(more), job, &around(engine, images).await).unwrap();
    launch(&engine.docker, &plan, Setting::Build).await.unwrap()
}

async fn probe(job: &RunningJob, kind: Kind) -> Arc<Channel> {
    job.member(kind, 0).unwrap().probe().await.unwrap()
}

async fn inspected_env(job: &RunningJob, kind: Kind, key: &str) -> Vec<String> {
    let config = job.member(kind, 0).unwrap().inspect().await.unwrap().config.unwrap();
    let start = format!("{key}=");
    config
        .env
        .unwrap()
        .into_iter()
        .filter(|line| line.starts_with(&start))
        .collect()
}

async fn labels(job: &RunningJob, kind: Kind) -> HashMap<String, String> {
    let inspect = job.member(kind, 0).unwrap().inspect().await.unwrap();
    inspect.config.unwrap().labels.unwrap()
}

fn service(name: &str, alias: &str) -> Service {
    Service {
        name: name.to_owned(),
        alias: alias.to_owned(),
        ..Service::default()
    }
}

pub(crate) async fn the_process_sees_the_last_duplicate_and_inspect_lists_all(engine: Engine) {
    let mut image = JobImage::plain("with-env");
    image.env = vec![
        ("IAM_ROLE".to_owned(), "image".to_owned()),
        ("ONLY_IMAGE".to_owned(), "yes".to_owned()),
    ];
    let with = Job {
        image: "with-env".to_owned(),
        variables: vec![Variable::new("IAM_ROLE", "author")],
        ..job(&engine)
    };
    let running = start(&engine, "environment = [\"IAM_ROLE=runner\"]", &with, &[image]).await;
    let env = probe(&running, Kind::Build).await.ask(Env {}, SOON).await.unwrap();
    assert_eq!(env.env.iter().filter(|(key, _)| key == "IAM_ROLE").count(), 1);
    assert_eq!(env.value("IAM_ROLE"), Some("author"));
    assert_eq!(env.value("ONLY_IMAGE"), Some("yes"));
    assert_eq!(
        env.hostname,
        format!("runner-ab3def9x-project-20-concurrent-{}", engine.job)
    );
    assert_eq!(
        inspected_env(&running, Kind::Build, "IAM_ROLE").await,
        ["IAM_ROLE=runner", "IAM_ROLE=author"]
    );
    running.cleanup().await.unwrap();
}

pub(crate) async fn an_image_label_cannot_replace_the_runners_but_others_leak_in(engine: Engine) {
    let mut image = JobImage::plain("with-labels");
    image.labels = vec![
        ("com.gitlab.gitlab-runner.job.id".to_owned(), "666".to_owned()),
        ("iam.role".to_owned(), "admin".to_owned()),
    ];
    let with = Job {
        image: "with-labels".to_owned(),
        ..job(&engine)
    };
    let running = start(&engine, "", &with, &[image]).await;
    let labels = labels(&running, Kind::Build).await;
    assert_eq!(
        labels.get("com.gitlab.gitlab-runner.job.id"),
        Some(&engine.job.to_string())
    );
    assert_eq!(labels.get("iam.role").map(String::as_str), Some("admin"));
    running.cleanup().await.unwrap();
}

pub(crate) async fn a_service_is_named_by_its_id_and_known_in_the_hosts_file(engine: Engine) {
    let mut wanted = service("app", "db");
    wanted.variables = vec![Variable::new("IAM_ROLE", "service")];
    let with = Job {
        variables: vec![Variable::new("IAM_ROLE", "yaml"), Variable::hidden("SECRET", "x")],
        services: vec![wanted],
        ..job(&engine)
    };
    let running = start(&engine, "", &with, &[]).await;
    let member = running.member(Kind::Service, 0).unwrap();
    let env = member.probe().await.unwrap().ask(Env {}, SOON).await.unwrap();
    assert_eq!(env.hostname, member.id.get(..12).unwrap());
    assert_eq!((env.value("IAM_ROLE"), env.value("SECRET")), (Some("service"), None));
    let build = probe(&running, Kind::Build).await;
    let found = build.ask(Resolve { name: "db".to_owned() }, SOON).await.unwrap();
    assert_eq!(found.addresses, [member.ipv4().await.unwrap().to_string()]);
    running.cleanup().await.unwrap();
}

pub(crate) async fn a_network_per_build_answers_for_its_aliases(engine: Engine) {
    let with = Job {
        variables: vec![Variable::new("FF_NETWORK_PER_BUILD", "true")],
        services: vec![service("app", "db")],
        ..job(&engine)
    };
    let running = start(&engine, "", &with, &[]).await;
    let build = running.build().unwrap();
    let from_service = probe(&running, Kind::Service).await;
    // The service has no line in its hosts file: this is the engine's name server.
    let found = from_service
        .ask(
            Resolve {
                name: "build".to_owned(),
            },
            SOON,
        )
        .await
        .unwrap();
    assert_eq!(found.addresses, [build.ipv4().await.unwrap().to_string()]);
    let networks: Vec<String> = build
        .addresses()
        .await
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(networks, [format!("runner-ab3def9x-20-{0}-{0}", engine.job)]);
    running.cleanup().await.unwrap();
}

pub(crate) async fn a_container_keeps_its_id_over_stages_and_has_no_address_between(engine: Engine) {
    let plan = plan(&config(""), &job(&engine), &around(&engine, &[]).await).unwrap();
    let running = launch(&engine.docker, &plan, Setting::Created).await.unwrap();
    let predefined = running.predefined().unwrap();
    assert!(predefined.addresses().await.unwrap().is_empty());
    predefined.begin().await.unwrap();
    let first = predefined.ipv4().await.unwrap();
    assert!(predefined.pid().await.unwrap() > 0);
    predefined.end().await.unwrap();
    assert!(predefined.addresses().await.unwrap().is_empty());
    assert!(predefined.pid().await.is_err());
    predefined.begin().await.unwrap();
    assert!(predefined.ipv4().await.unwrap().is_ipv4() && first.is_ipv4());
    predefined.stop().await.unwrap();
    assert_eq!(predefined.transcripts().len(), 2);
    running.cleanup().await.unwrap();
}

pub(crate) async fn native_steps_leave_the_images_environment_alone(engine: Engine) {
    let mut image = JobImage::plain("steps");
    image.env = vec![("IAM_ROLE".to_owned(), "image".to_owned())];
    let with = Job {
        image: "steps".to_owned(),
        variables: vec![
            Variable::new("IAM_ROLE", "author"),
            Variable::new("FF_CONCRETE", "true"),
        ],
        ..job(&engine)
    };
    let running = start(&engine, "environment = [\"IAM_ROLE=runner\"]", &with, &[image]).await;
    let env = probe(&running, Kind::Build).await.ask(Env {}, SOON).await.unwrap();
    assert_eq!((env.value("IAM_ROLE"), env.value("CI_JOB_ID")), (Some("image"), None));
    running.cleanup().await.unwrap();
}

pub(crate) async fn a_service_with_ports_is_waited_for_and_the_wait_container_goes(engine: Engine) {
    let mut image = JobImage::plain("redis:7");
    image.exposed_ports = vec!["6379/tcp".to_owned()];
    let with = Job {
        services: vec![service("redis:7", "")],
        ..job(&engine)
    };
    let running = start(&engine, "", &with, &[image]).await;
    assert_eq!(of_job(&engine).await.0, 3);
    running.cleanup().await.unwrap();
}

pub(crate) async fn a_bridge_address_and_capability_can_be_chosen(engine: Engine) {
    let spec = NetworkSpec {
        bridge: Some(format!("br-it{}", engine.job)),
        subnets: vec![
            format!("172.29.{}.0/24", engine.job),
            format!("fd29:{}::/64", engine.job),
        ],
        ..NetworkSpec::named(&format!("shared-{}", engine.job))
    };
    create_network(&engine.docker, &spec).await.unwrap();
    let address: IpAddr = format!("172.29.{}.77", engine.job).parse().unwrap();
    let mut around = around(&engine, &[]).await;
    around.placement.build_address = Some(address);
    let more = format!(
        "[runners.docker]\nnetwork_mode = \"{}\"\ncap_add = [\"NET_ADMIN\"]",
        spec.name
    );
    let plan = plan(&config(&more), &job(&engine), &around).unwrap();
    let running = launch(&engine.docker, &plan, Setting::Build).await.unwrap();
    let build = running.build().unwrap();
    assert_eq!(build.ipv4().await.unwrap(), address);
    assert!(build.addresses().await.unwrap().iter().any(|(_, ip)| ip.is_ipv6()));
    let probe = build.probe().await.unwrap();
    let extra = format!("172.29.{}.99/32", engine.job);
    let change = Address {
        add: Some(extra.clone()),
        del: None,
        dev: "eth0".to_owned(),
    };
    probe.ask(change, SOON).await.unwrap();
    let seen = probe.ask(Interfaces {}, SOON).await.unwrap();
    assert!(
        seen.interfaces
            .iter()
            .any(|interface| interface.addresses.contains(&extra))
    );
    assert!(seen.gateways.contains(&format!("172.29.{}.1", engine.job)));
    let change = Address {
        add: None,
        del: Some(extra),
        dev: "eth0".to_owned(),
    };
    probe.ask(change, SOON).await.unwrap();
    running.cleanup().await.unwrap();
    remove_network(&engine.docker, &spec.name).await.unwrap();
}

pub(crate) async fn a_second_network_can_be_joined_while_running(engine: Engine) {
    let running = start(&engine, "", &job(&engine), &[]).await;
    let spec = NetworkSpec::named(&format!("second-{}", engine.job));
    create_network(&engine.docker, &spec).await.unwrap();
    let build = running.build().unwrap();
    build.connect(&spec.name, None).await.unwrap();
    assert!(
        build
            .addresses()
            .await
            .unwrap()
            .iter()
            .any(|(name, _)| *name == spec.name)
    );
    running.cleanup().await.unwrap();
    remove_network(&engine.docker, &spec.name).await.unwrap();
}

pub(crate) async fn images_have_the_id_that_was_computed_and_share_one_layer(engine: Engine) {
    let mut other = JobImage::plain("group/other:1");
    other.labels = vec![("k".to_owned(), "v".to_owned())];
    let one = engine.images.ensure(&JobImage::plain("app")).await.unwrap();
    let two = engine.images.ensure(&other).await.unwrap();
    assert_ne!(one, two);
    let mut layers = Vec::new();
    for (id, name) in [(one, "app"), (two, "group/other:1")] {
        let inspect = engine.docker.inspect_image(name).await.unwrap();
        assert_eq!(inspect.id, Some(id));
        layers.push(inspect.root_fs.unwrap().layers.unwrap());
    }
    assert_eq!(layers.first(), layers.last());
}

pub(crate) async fn the_unmodified_sdk_runs_in_the_image(engine: Engine) {
    let body = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                <Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><UserId>AROA:s</UserId><Account>123456789012</Account>\
                </GetCallerIdentityResult></GetCallerIdentityResponse>";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let with = Job {
        variables: vec![
            Variable::new("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
            Variable::new("AWS_SECRET_ACCESS_KEY", "secret"),
            Variable::new("AWS_SESSION_TOKEN", "token"),
            Variable::new("AWS_REGION", "eu-central-1"),
            Variable::new("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:8099"),
        ],
        ..job(&engine)
    };
    let running = start(&engine, "", &with, &[]).await;
    let probe = probe(&running, Kind::Build).await;
    let listen = Listen {
        name: "sts".to_owned(),
        at: "127.0.0.1:8099".to_owned(),
        answer: Some(answer.as_str().into()),
    };
    probe.ask(listen, SOON).await.unwrap();
    let found = probe.ask(Sdk::default(), SOON).await.unwrap();
    assert_eq!(found.credentials.access_key_id, "ASIAEXAMPLE");
    assert_eq!(found.identity.account, "123456789012");
    running.cleanup().await.unwrap();
}

pub(crate) async fn a_container_that_dies_is_told_as_such(engine: Engine) {
    let running = start(&engine, "", &job(&engine), &[]).await;
    let build = running.build().unwrap();
    let probe = build.probe().await.unwrap();
    build.stop().await.unwrap();
    let error = probe.ask(Ping {}, SOON).await.unwrap_err();
    assert!(error.to_string().contains("has ended"), "{error}");
    running.cleanup().await.unwrap();
}

pub(crate) async fn cleanup_leaves_nothing_of_the_job(engine: Engine) {
    let with = Job {
        variables: vec![Variable::new("FF_NETWORK_PER_BUILD", "true")],
        services: vec![service("app", "db")],
        ..job(&engine)
    };
    let running = start(&engine, "", &with, &[]).await;
    assert_eq!(of_job(&engine).await, (3, 1));
    running.cleanup().await.unwrap();
    assert_eq!(of_job(&engine).await, (0, 0));
    running.cleanup().await.unwrap();
}

pub(crate) async fn a_volume_of_the_job_is_opened_first_and_goes_with_it(engine: Engine) {
    let with = Job {
        variables: vec![Variable::new("GIT_STRATEGY", "clone")],
        ..job(&engine)
    };
    let running = start(&engine, "[runners.docker]\nvolumes = [\"/cache\"]", &with, &[]).await;
    // The cache-init containers have ended and gone: predefined and build remain.
    assert_eq!(of_job(&engine).await.0, 2);
    let mounts = running.build().unwrap().inspect().await.unwrap().mounts.unwrap();
    let mut mounted: Vec<_> = mounts.into_iter().filter_map(|mount| mount.destination).collect();
    mounted.sort();
    assert_eq!(mounted, ["/builds", "/cache"]);
    assert_eq!(volumes_of(&engine).await, ["/builds", "/cache"]);
    running.cleanup().await.unwrap();
    // The next job of the project finds what this one cached.
    assert_eq!(volumes_of(&engine).await, ["/cache"]);
}

pub(crate) async fn what_a_crash_left_under_a_name_goes_before_the_name_is_used_again(engine: Engine) {
    let with = Job {
        services: vec![service("app", "db")],
        ..job(&engine)
    };
    let crashed = start(&engine, "", &with, &[]).await;
    let left = crashed.member(Kind::Service, 0).unwrap();
    assert!(left.pid().await.is_ok());
    let next = start(&engine, "", &with, &[]).await;
    let new = next.member(Kind::Service, 0).unwrap();
    assert_eq!(new.name, left.name);
    assert_ne!(new.id, left.id);
    assert!(left.inspect().await.is_err());
    assert_eq!(of_job(&engine).await.0, 3);
    next.cleanup().await.unwrap();
}

/// The destinations of the volumes that carry the job's label.
async fn volumes_of(engine: &Engine) -> Vec<String> {
    let label = vec![format!("{LABEL_PREFIX}job.id={}", engine.job)];
    let filters = HashMap::from([("label".to_owned(), label)]);
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let listed = engine.docker.list_volumes(Some(options)).await.unwrap();
    let destination =
        |volume: bollard::models::Volume| volume.labels.get(&format!("{LABEL_PREFIX}destination")).cloned();
    let mut destinations: Vec<String> = listed
        .volumes
        .unwrap_or_default()
        .into_iter()
        .filter_map(destination)
        .collect();
    destinations.sort();
    destinations
}

/// How many containers and networks carry the job's label.
async fn of_job(engine: &Engine) -> (usize, usize) {
    let label = vec![format!("{LABEL_PREFIX}job.id={}", engine.job)];
    let filters = HashMap::from([("label".to_owned(), label)]);
    let containers = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let networks = ListNetworksOptionsBuilder::default().filters(&filters).build();
    (
        engine.docker.list_containers(Some(containers)).await.unwrap().len(),
        engine.docker.list_networks(Some(networks)).await.unwrap().len(),
    )
}
