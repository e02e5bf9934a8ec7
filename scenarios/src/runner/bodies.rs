//! The bodies of the requests that create a job's containers. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::config::{DockerConfig, RunnerConfig};
use super::environment::{of_service, parse_lines};
use super::expansion::{expand_value, string_list};
use super::job::{Job, Service, Variable};
use super::labels::Labels;
use super::names::service_name;
use super::plan::{Circumstances, HELPER_IMAGE, PlanError, ResolvedImage};
use super::requests::{ContainerRequest, Kind};

/// What the build container runs: the runner looks for a shell and hands it the script on standard input. Shortened, since nothing reads it.
const DETECT_SHELL: &str = "if [ -x /usr/local/bin/bash ]; then\n\texec /usr/local/bin/bash \nelif [ -x /bin/bash ]; then\n\texec /bin/bash \nelif [ -x /bin/sh ]; then\n\texec /bin/sh \nelse\n\techo shell not found\n\texit 1\nfi\n\n";
/// The variable that alone remains of a build container's environment with native steps (commands/steps).
const STEPS_ARGV: &str = "_GITLAB_RUNNER_HELPER_NATIVE_STEPS_ARGV";
/// What the build container runs with native steps.
const STEPS_COMMAND: [&str; 3] = ["gitlab-runner-helper", "steps", "serve"];
/// The engine API from which on every container states its endpoint.
const API_WITH_ENDPOINTS: (u32, u32) = (1, 44);

/// Whether Docker takes the mode for the name of a network (`NetworkMode.IsUserDefined`).
fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, "" | "default" | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

fn image<'a>(around: &'a Circumstances, name: &str) -> Result<&'a ResolvedImage, PlanError> {
    let found = around.images.get(name);
    found.ok_or_else(|| PlanError::Image { image: name.to_owned() })
}

/// The image of predefined, wait and cache-init containers.
pub(super) fn helper_image<'a>(
    config: &RunnerConfig,
    around: &'a Circumstances,
) -> Result<&'a ResolvedImage, PlanError> {
    let helper = &config.docker.helper_image;
    image(around, if helper.is_empty() { HELPER_IMAGE } else { helper })
}

/// What the bodies of one job's containers depend on.
pub(super) struct Planner<'a> {
    pub(super) config: &'a RunnerConfig,
    pub(super) around: &'a Circumstances,
    pub(super) labels: &'a Labels,
    pub(super) all: &'a [Variable],
    pub(super) temporary: &'a str,
    pub(super) mode: &'a str,
    pub(super) prefix: String,
    pub(super) binds: &'a [String],
}

impl Planner<'_> {
    fn docker(&self) -> &DockerConfig {
        &self.config.docker
    }

    fn image(&self, name: &str) -> Result<&ResolvedImage, PlanError> {
        image(self.around, name)
    }

    pub(super) fn services(&self, job: &Job) -> Result<Vec<ContainerRequest>, PlanError> {
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

    pub(super) fn predefined(&self, hostname: &str) -> Result<ContainerRequest, PlanError> {
        let image = helper_image(self.config, self.around)?;
        let host = HostConfig {
            pid_mode: None,
            ..self.job_host()
        };
        let cmd = vec!["gitlab-runner-build".to_owned()];
        Ok(self.of_job(Kind::Predefined, image, hostname, cmd, host))
    }

    pub(super) fn build(
        &self,
        job: &Job,
        image: &str,
        hostname: &str,
        native: bool,
    ) -> Result<ContainerRequest, PlanError> {
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

    pub(super) fn wait(&self) -> Result<ContainerCreateBody, PlanError> {
        let image = helper_image(self.config, self.around)?;
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
            binds: some(self.binds),
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
