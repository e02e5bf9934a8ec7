//! From configuration and job to the exact requests that GitLab Runner 19.4 would make of an engine. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{ContainerCreateBody, NetworkCreateRequest};

use super::bodies::{Planner, helper_image};
use super::config::RunnerConfig;
use super::environment::{Surroundings, parse_lines, temporary, unexpanded};
use super::expansion::{expand, expand_value};
use super::feature_flags::FeatureFlags;
use super::job::Job;
use super::labels::Labels;
use super::names::{rfc1123, short_token};
use super::network::NetworkSpec;
use super::requests::{ContainerRequest, Kind, NetworkRequest, ServiceAddress, VolumeRequest};
use super::volumes::Volumes;

/// The helper image where the configuration names none.
pub const HELPER_IMAGE: &str = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:x86_64-v19.4.0";
/// An image as the engine knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedImage {
    /// Its id.
    pub id: String,
    /// The ports that it exposes; the runner waits for services that expose any.
    pub ports: Vec<u16>,
}

/// What chance or the machine decides for one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The runner's slot, `CI_CONCURRENT_ID`.
    pub concurrent: u64,
    /// The slot within the project: in names and labels.
    pub project_concurrent: u64,
    /// Sixteen hexadecimal digits that make names unique.
    pub unique: String,
    /// The runner manager's system id.
    pub system_id: String,
    /// The engine's API version.
    pub api_version: (u32, u32),
    /// The images that jobs may name. The helper image goes by the name in the configuration or [`HELPER_IMAGE`].
    pub images: BTreeMap<String, ResolvedImage>,
    /// Where to put the containers, beyond what the runner can be told.
    pub placement: Placement,
}

/// What a scenario asks for beyond what the runner does: still real settings of the engine, and never labels or environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// A fixed address for the build container on the job's user-defined network.
    pub build_address: Option<IpAddr>,
    /// How the network per build is shaped (bridge name, subnets); its name and labels stay the runner's.
    pub network: Option<NetworkSpec>,
}

/// Why a job cannot be planned: the runner would fail it too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No such image.
    #[error("no image {image:?}; name one that the scenario defines")]
    Image {
        /// The name after expansion.
        image: String,
    },
    /// The job names no image and the runner has none.
    #[error("neither the job nor [runners.docker] names an image")]
    NoImage,
    /// A service without a name.
    #[error("service {index} has no image name")]
    Service {
        /// Its place, from 0.
        index: usize,
    },
}

/// Every request of one job. What later containers must know of running services is added when it is known.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// The network per build.
    pub network: Option<NetworkRequest>,
    /// The cache volumes in order, each opened by a cache-init container.
    pub volumes: Vec<VolumeRequest>,
    /// Services in order.
    pub services: Vec<ContainerRequest>,
    /// How long to wait for services in seconds; none: not at all.
    pub wait_seconds: Option<u64>,
    /// Whether wait containers stay, as they do while their service does not answer.
    pub(super) waits_last: bool,
    predefined: ContainerRequest,
    build: ContainerRequest,
    wait: ContainerCreateBody,
    pub(super) labels: Labels,
}

/// Plans a job.
pub fn plan(config: &RunnerConfig, job: &Job, around: &Circumstances) -> Result<JobPlan, PlanError> {
    let short = short_token(&config.token);
    let payload = job.payload(&config.url);
    let flags = FeatureFlags::resolve(&config.feature_flags, &parse_lines(&config.environment), &payload);
    let base = rfc1123(&format!(
        "runner-{short}-project-{}-concurrent-{}",
        job.project_id, around.project_concurrent
    ));
    let network_name = rfc1123(&format!(
        "runner-{short}-{}-{}-{}",
        job.project_id, around.project_concurrent, job.id
    ));
    let per_build = flags.is_on("FF_NETWORK_PER_BUILD");
    let surroundings = Surroundings {
        short_token: &short,
        concurrent: around.concurrent,
        project_concurrent: around.project_concurrent,
        flags: &flags,
        network: per_build.then_some(network_name.as_str()),
    };
    let named = if job.image.is_empty() {
        &config.docker.image
    } else {
        &job.image
    };
    let temporary = temporary(config, job);
    // CI_JOB_IMAGE is itself expanded in the same pass.
    let all = expand(&unexpanded(config, job, named, &surroundings), &temporary);
    let slot = (around.concurrent, around.project_concurrent);
    let labels = Labels::new(config, job, &payload, &short, slot, &around.system_id);
    let mode = match (config.docker.network_mode.as_str(), per_build) {
        ("", true) => network_name.clone(),
        (mode, _) => mode.to_owned(),
    };
    let network = (config.docker.network_mode.is_empty() && per_build)
        .then(|| network_request(config, &network_name, &labels, around.placement.network.as_ref()));
    let prefix = format!("{base}-{}", around.unique);
    let volumes = Volumes {
        config,
        job,
        around,
        labels: &labels,
        all: &all,
        prefix: &prefix,
        helper: helper_image(config, around)?,
    };
    let (binds, volumes) = volumes.plan();
    let planner = Planner {
        config,
        around,
        labels: &labels,
        all: &all,
        temporary: &temporary,
        mode: &mode,
        prefix,
        binds: &binds,
    };
    let hostname = if config.docker.hostname.is_empty() {
        base
    } else {
        config.docker.hostname.clone()
    };
    let native = job.native_steps || flags.is_on("FF_CONCRETE") || flags.is_on("FF_SCRIPT_TO_STEP_MIGRATION");
    let image = expand_value(&all, named);
    if image.is_empty() {
        return Err(PlanError::NoImage);
    }
    Ok(JobPlan {
        network,
        volumes,
        services: planner.services(job)?,
        wait_seconds: match config.docker.wait_for_services_timeout {
            // common.DefaultWaitForServicesTimeout
            0 => Some(30),
            seconds => u64::try_from(seconds).ok(),
        },
        waits_last: false,
        predefined: planner.predefined(&hostname)?,
        build: planner.build(job, &image, &hostname, native)?,
        wait: planner.wait()?,
        labels: labels.clone(),
    })
}

fn network_request(config: &RunnerConfig, name: &str, labels: &Labels, shape: Option<&NetworkSpec>) -> NetworkRequest {
    let mut options = HashMap::new();
    if config.docker.network_mtu > 0 {
        let mtu = config.docker.network_mtu.to_string();
        options.insert("com.docker.network.driver.mtu".to_owned(), mtu);
    }
    let plain = NetworkCreateRequest {
        name: name.to_owned(),
        labels: Some(labels.managed(&[])),
        enable_ipv6: Some(config.docker.enable_ipv6),
        options: Some(options),
        ..NetworkCreateRequest::default()
    };
    NetworkRequest {
        name: name.to_owned(),
        body: match shape {
            Some(shape) => shape.shape(plain),
            None => plain,
        },
    }
}

impl JobPlan {
    /// The container that waits for a service; none where its image exposes no port.
    pub fn wait(&self, service: &ServiceAddress) -> Option<ContainerRequest> {
        if service.ports.is_empty() || self.wait_seconds.is_none() {
            return None;
        }
        let mut env = vec![format!("WAIT_FOR_SERVICE_TCP_ADDR={}", service.short_id())];
        let ports = service.ports.iter();
        env.extend(ports.map(|port| format!("WAIT_FOR_SERVICE_{port}_TCP_PORT={port}")));
        let mut body = self.wait.clone();
        body.env = Some(env);
        body.labels = Some(self.labels.managed(&[("type", "wait"), ("wait", &service.id)]));
        if let (Some(host), Some(ip)) = (body.host_config.as_mut(), service.ip) {
            host.extra_hosts = Some(vec![format!("{}:{ip}", service.short_id())]);
        }
        Some(ContainerRequest {
            name: format!("{}-wait-for-service", service.name),
            kind: Kind::Wait,
            aliases: Vec::new(),
            ports: Vec::new(),
            body,
        })
    }

    /// The predefined container, knowing the running services.
    pub fn predefined(&self, services: &[ServiceAddress]) -> ContainerRequest {
        with_services(&self.predefined, services)
    }

    /// The build container, knowing the running services.
    pub fn build(&self, services: &[ServiceAddress]) -> ContainerRequest {
        with_services(&self.build, services)
    }

    /// The same plan with build and predefined container in the network namespace of another container. Docker takes no host name of their own there.
    #[must_use]
    pub fn sharing(mut self, container: &str) -> Self {
        for request in [&mut self.predefined, &mut self.build] {
            request.body.hostname = None;
            request.body.networking_config = None;
            request.body.host_config.get_or_insert_default().network_mode = Some(format!("container:{container}"));
        }
        self
    }

    /// The same plan without cache volumes, for scenarios in which no container reads or writes one: making and opening them takes longer than the rest.
    #[must_use]
    pub fn without_volumes(mut self) -> Self {
        let made: Vec<String> = self
            .volumes
            .drain(..)
            .map(|volume| format!("{}:", volume.name))
            .collect();
        let services = self.services.iter_mut();
        for request in services.chain([&mut self.predefined, &mut self.build]) {
            if let Some(host) = request.body.host_config.as_mut()
                && let Some(binds) = host.binds.as_mut()
            {
                binds.retain(|bind| !made.iter().any(|name| bind.starts_with(name)));
            }
        }
        self
    }

    /// The same plan with wait containers that go on waiting beside the job, for scenarios in which one of them asks.
    #[must_use]
    pub fn with_lasting_waits(mut self) -> Self {
        self.waits_last = true;
        self
    }

    /// The same plan with these labels on the build container instead of the runner's: what others than a runner make of the engine.
    #[must_use]
    pub fn with_raw_labels(mut self, labels: Option<HashMap<String, String>>) -> Self {
        if labels.is_some() {
            self.build.body.labels = labels;
        }
        self
    }

    /// The same plan with these entries at the end of the build container's `Env`, as they are: what no runner sends, but any client of the engine can.
    #[must_use]
    pub fn with_raw_env(mut self, entries: &[String]) -> Self {
        if !entries.is_empty() {
            self.build.body.env.get_or_insert_default().extend_from_slice(entries);
        }
        self
    }
}

/// Services are named in `/etc/hosts`, also on a network of their own (services.go:52-56, docker.go:1209).
fn with_services(request: &ContainerRequest, services: &[ServiceAddress]) -> ContainerRequest {
    let mut request = request.clone();
    let mut lines = Vec::new();
    for service in services {
        let Some(ip) = service.ip else { continue };
        lines.extend(service.aliases.iter().map(|alias| format!("{alias}:{ip}")));
        lines.push(format!("{}:{ip}", service.short_id()));
    }
    if let Some(host) = request.body.host_config.as_mut()
        && !lines.is_empty()
    {
        host.extra_hosts.get_or_insert_default().extend(lines);
    }
    request
}
