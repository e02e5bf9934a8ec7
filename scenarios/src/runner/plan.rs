//! From configuration and job to the exact requests that GitLab Runner 19.4 would make of an engine. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkCreateRequest, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};

use super::config::{DockerConfig, RunnerConfig};
use super::environment::{Surroundings, of_service, parse_lines, temporary, unexpanded};
use super::expansion::{expand, expand_value, string_list};
use super::feature_flags::FeatureFlags;
use super::job::{Job, Service, Variable};
use super::labels::Labels;
use super::names::{rfc1123, service_name, short_token};
use super::network::NetworkSpec;
use super::requests::{ContainerRequest, Kind, NetworkRequest, ServiceAddress};

/// The helper image where the configuration names none.
pub const HELPER_IMAGE: &str = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:x86_64-v19.4.0";
/// What the build container runs: the runner looks for a shell and hands it the script on standard input. Shortened, since nothing reads it.
const DETECT_SHELL: &str = "if [ -x /usr/local/bin/bash ]; then\n\texec /usr/local/bin/bash \nelif [ -x /bin/bash ]; then\n\texec /bin/bash \nelif [ -x /bin/sh ]; then\n\texec /bin/sh \nelse\n\techo shell not found\n\texit 1\nfi\n\n";
/// The variable that alone remains of a build container's environment with native steps (commands/steps).
const STEPS_ARGV: &str = "_GITLAB_RUNNER_HELPER_NATIVE_STEPS_ARGV";
/// What the build container runs with native steps.
const STEPS_COMMAND: [&str; 3] = ["gitlab-runner-helper", "steps", "serve"];
/// The engine API from which on every container states its endpoint.
const API_WITH_ENDPOINTS: (u32, u32) = (1, 44);

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
    /// Services in order.
    pub services: Vec<ContainerRequest>,
    /// How long to wait for services in seconds; none: not at all.
    pub wait_seconds: Option<u64>,
    predefined: ContainerRequest,
    build: ContainerRequest,
    wait: ContainerCreateBody,
    labels: Labels,
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
    let planner = Planner {
        config,
        around,
        labels: &labels,
        all: &all,
        temporary: &temporary,
        mode: &mode,
        prefix: format!("{base}-{}", around.unique),
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
        services: planner.services(job)?,
        wait_seconds: match config.docker.wait_for_services_timeout {
            // common.DefaultWaitForServicesTimeout
            0 => Some(30),
            seconds => u64::try_from(seconds).ok(),
        },
        predefined: planner.predefined(&hostname)?,
        build: planner.build(job, &image, &hostname, native)?,
        wait: planner.wait()?,
        labels: labels.clone(),
    })
}

/// Whether Docker takes the mode for the name of a network (`NetworkMode.IsUserDefined`).
fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, "" | "default" | "bridge" | "host" | "none") && !mode.starts_with("container:")
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

struct Planner<'a> {
    config: &'a RunnerConfig,
    around: &'a Circumstances,
    labels: &'a Labels,
    all: &'a [Variable],
    temporary: &'a str,
    mode: &'a str,
    prefix: String,
}

impl Planner<'_> {
    fn docker(&self) -> &DockerConfig {
        &self.config.docker
    }

    fn image(&self, name: &str) -> Result<&ResolvedImage, PlanError> {
        self.around
            .images
            .get(name)
            .ok_or_else(|| PlanError::Image { image: name.to_owned() })
    }

    fn services(&self, job: &Job) -> Result<Vec<ContainerRequest>, PlanError> {
        // The operator's services come first (services.go, getServicesDefinitions).
        let of_runner = self.docker().services.iter().map(|service| Service {
            name: expand_value(self.all, &service.name),
            alias: expand_value(self.all, &service.alias),
            variables: parse_lines(&service.environment),
            entrypoint: service.entrypoint.clone(),
            command: service.command.clone(),
            user: String::new(),
        });
        of_runner
            .chain(job.services.iter().cloned())
            .enumerate()
            .map(|(index, service)| self.service(index, &service))
            .collect()
    }

    fn service(&self, index: usize, service: &Service) -> Result<ContainerRequest, PlanError> {
        let parts = service_name(&service.name);
        if parts.service.is_empty() {
            return Err(PlanError::Service { index });
        }
        let image = self.image(&service.name)?;
        let mut aliases = parts.aliases;
        let own = service.alias.split([' ', ',']).filter(|alias| !alias.is_empty());
        aliases.extend(own.map(str::to_owned));
        let docker = self.docker();
        let host = HostConfig {
            privileged: Some(docker.services_privileged.unwrap_or(docker.privileged)),
            security_opt: some(&docker.services_security_opt),
            tmpfs: some_map(&docker.services_tmpfs),
            shm_size: Some(docker.shm_size),
            ..self.host()
        };
        Ok(ContainerRequest {
            name: format!("{}-{}-{index}", self.prefix, parts.service.replace('/', "__")),
            kind: Kind::Service,
            ports: image.ports.clone(),
            body: ContainerCreateBody {
                image: Some(image.id.clone()),
                env: Some(string_list(
                    &of_service(self.all, &service.variables, self.temporary),
                    self.temporary,
                )),
                labels: Some(self.labels.of_service(&parts.service, &parts.version)),
                cmd: some(&service.command),
                entrypoint: self.entrypoint(&service.entrypoint),
                user: (!service.user.is_empty()).then(|| service.user.clone()),
                host_config: Some(host),
                networking_config: Some(self.networking(&aliases, None)),
                ..ContainerCreateBody::default()
            },
            aliases,
        })
    }

    fn predefined(&self, hostname: &str) -> Result<ContainerRequest, PlanError> {
        let helper = &self.docker().helper_image;
        let image = self.image(if helper.is_empty() { HELPER_IMAGE } else { helper })?;
        let host = HostConfig {
            pid_mode: None,
            ..self.job_host()
        };
        let cmd = vec!["gitlab-runner-build".to_owned()];
        Ok(self.of_job(Kind::Predefined, image, hostname, cmd, host))
    }

    fn build(&self, job: &Job, image: &str, hostname: &str, native: bool) -> Result<ContainerRequest, PlanError> {
        let image = self.image(image)?;
        let cmd = if native {
            STEPS_COMMAND.map(str::to_owned).to_vec()
        } else {
            ["sh", "-c", DETECT_SHELL].map(str::to_owned).to_vec()
        };
        let mut request = self.of_job(Kind::Build, image, hostname, cmd, self.job_host());
        let user = if self.docker().user.is_empty() {
            &job.user
        } else {
            &self.docker().user
        };
        request.body.user = (!user.is_empty()).then(|| user.clone());
        if native {
            // Native steps carry the variables over another way, so the container's environment holds this one alone
            // (executors/docker/docker.go:1039-1051).
            let words: Vec<String> = STEPS_COMMAND.iter().map(|word| format!("\"{word}\"")).collect();
            let argv = STANDARD.encode(format!("[{}]", words.join(",")));
            request.body.env = Some(vec![format!("{STEPS_ARGV}={argv}")]);
        } else {
            request.body.entrypoint = self.entrypoint(&job.entrypoint);
        }
        if let Some(address) = self.around.placement.build_address {
            let aliases = ["build".to_owned(), request.name.clone()];
            request.body.networking_config = Some(self.networking(&aliases, Some(address)));
        }
        Ok(request)
    }

    fn of_job(
        &self,
        kind: Kind,
        image: &ResolvedImage,
        hostname: &str,
        cmd: Vec<String>,
        host: HostConfig,
    ) -> ContainerRequest {
        let name = format!("{}-{}", self.prefix, kind.as_str());
        ContainerRequest {
            kind,
            aliases: Vec::new(),
            ports: Vec::new(),
            body: ContainerCreateBody {
                image: Some(image.id.clone()),
                hostname: Some(hostname.to_owned()),
                cmd: Some(cmd),
                tty: Some(false),
                attach_stdin: Some(true),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                open_stdin: Some(true),
                stdin_once: Some(true),
                env: Some(string_list(self.all, self.temporary)),
                labels: Some(self.labels.of_job(kind.as_str())),
                host_config: Some(host),
                networking_config: Some(self.networking(&["build".to_owned(), name.clone()], None)),
                ..ContainerCreateBody::default()
            },
            name,
        }
    }

    fn wait(&self) -> Result<ContainerCreateBody, PlanError> {
        let helper = &self.docker().helper_image;
        let image = self.image(if helper.is_empty() { HELPER_IMAGE } else { helper })?;
        Ok(ContainerCreateBody {
            image: Some(image.id.clone()),
            cmd: Some(["gitlab-runner-helper", "health-check"].map(str::to_owned).to_vec()),
            host_config: Some(HostConfig {
                network_mode: Some(self.mode.to_owned()),
                restart_policy: Some(never()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        })
    }

    fn entrypoint(&self, wanted: &[String]) -> Option<Vec<String>> {
        (!wanted.is_empty() && !self.docker().disable_entrypoint_overwrite).then(|| wanted.to_vec())
    }

    /// What services and jobs have in common: no capabilities are added or dropped here (docker.go:656-684).
    fn host(&self) -> HostConfig {
        let docker = self.docker();
        HostConfig {
            network_mode: Some(self.mode.to_owned()),
            restart_policy: Some(never()),
            extra_hosts: some(&docker.extra_hosts),
            dns: some(&docker.dns),
            dns_search: some(&docker.dns_search),
            binds: some(&docker.volumes),
            runtime: text(&docker.runtime),
            userns_mode: text(&docker.userns_mode),
            ..HostConfig::default()
        }
    }

    fn job_host(&self) -> HostConfig {
        let docker = self.docker();
        HostConfig {
            privileged: Some(docker.privileged),
            cap_add: some(&docker.cap_add),
            cap_drop: some(&docker.cap_drop),
            security_opt: some(&docker.security_opt),
            oom_kill_disable: Some(false),
            links: some(&docker.links),
            volumes_from: some(&docker.volumes_from),
            tmpfs: some_map(&docker.tmpfs),
            sysctls: some_map(&docker.sysctls),
            pid_mode: text(&docker.pid_mode),
            ipc_mode: text(&docker.ipc_mode),
            group_add: some(&docker.group_add),
            cgroup_parent: text(&docker.cgroup_parent),
            shm_size: Some(docker.shm_size),
            ..self.host()
        }
    }

    fn networking(&self, aliases: &[String], address: Option<IpAddr>) -> NetworkingConfig {
        let user_defined = is_user_defined(self.mode);
        let states_endpoint = user_defined || self.around.api_version >= API_WITH_ENDPOINTS;
        let name = if self.mode.is_empty() { "default" } else { self.mode };
        let endpoint = EndpointSettings {
            aliases: user_defined.then(|| aliases.to_vec()),
            mac_address: text(&self.docker().mac_address),
            ipam_config: address.map(|address| EndpointIpamConfig {
                ipv4_address: address.is_ipv4().then(|| address.to_string()),
                ipv6_address: address.is_ipv6().then(|| address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        NetworkingConfig {
            endpoints_config: states_endpoint.then(|| HashMap::from([(name.to_owned(), endpoint)])),
        }
    }
}

fn never() -> RestartPolicy {
    RestartPolicy {
        name: Some(RestartPolicyNameEnum::NO),
        maximum_retry_count: None,
    }
}

fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn some_map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
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
