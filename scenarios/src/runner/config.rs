//! The runner's `config.toml`: the keys of `[[runners]]` that shape containers, read strictly. Pure.
//!
//! A key that this module does not know is refused, since a scenario would otherwise claim to test a setting that did nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

/// One `[[runners]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RunnerConfig {
    /// A description.
    pub name: String,
    /// GitLab's address; job labels start with it.
    pub url: String,
    /// The runner's number in GitLab; the labels carry the short token instead.
    pub id: u64,
    /// The authentication token.
    pub token: String,
    /// Always `docker` here.
    pub executor: String,
    /// How many jobs at once; without effect on a container.
    pub limit: u64,
    /// `KEY=VALUE` for every job; a job's variable of the same name comes later and wins.
    pub environment: Vec<String>,
    /// Where builds lie; `/builds` by default.
    pub builds_dir: String,
    /// `[runners.docker]`.
    pub docker: DockerConfig,
    /// `[runners.feature_flags]`: the author cannot change these.
    pub feature_flags: BTreeMap<String, bool>,
}

/// `[runners.docker]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DockerConfig {
    /// The image of jobs that name none.
    pub image: String,
    /// The image of predefined and wait containers.
    pub helper_image: String,
    /// Whether authors may not replace an image's entrypoint.
    pub disable_entrypoint_overwrite: bool,
    /// The build container's user; goes before the author's.
    pub user: String,
    /// The host name of build and predefined containers.
    pub hostname: String,
    /// An existing network, `host`, `none`, `bridge`; switches networks per build off.
    pub network_mode: String,
    /// IPv6 on networks per build.
    pub enable_ipv6: bool,
    /// MTU of networks per build.
    pub network_mtu: u64,
    /// Build and predefined containers only.
    pub cap_add: Vec<String>,
    /// Build and predefined containers only: services keep theirs.
    pub cap_drop: Vec<String>,
    /// Every container's `--security-opt`, services excepted.
    pub security_opt: Vec<String>,
    /// Services' `--security-opt`.
    pub services_security_opt: Vec<String>,
    /// Privileged containers, services included unless stated.
    pub privileged: bool,
    /// Whether services are privileged.
    pub services_privileged: Option<bool>,
    /// `HOST:IP` lines.
    pub extra_hosts: Vec<String>,
    /// Old-style links to other containers.
    pub links: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Labels of build, predefined and service containers; values are expanded with the job's variables.
    pub container_labels: BTreeMap<String, String>,
    /// Services of every job.
    pub services: Vec<RunnerService>,
    /// How long to wait for services in seconds; negative: not at all.
    pub wait_for_services_timeout: i64,
    /// `HOST:CONTAINER[:ro]` binds; a container path alone is a cache volume.
    pub volumes: Vec<String>,
    /// Containers whose volumes are mounted.
    pub volumes_from: Vec<String>,
    /// tmpfs mounts of build and predefined containers.
    pub tmpfs: BTreeMap<String, String>,
    /// tmpfs mounts of services.
    pub services_tmpfs: BTreeMap<String, String>,
    /// Kernel settings of build and predefined containers.
    pub sysctls: BTreeMap<String, String>,
    /// `host` gives build containers the host's processes.
    pub pid_mode: String,
    /// IPC namespace.
    pub ipc_mode: String,
    /// User namespace.
    pub userns_mode: String,
    /// Further groups.
    pub group_add: Vec<String>,
    /// The cgroup under which containers run.
    pub cgroup_parent: String,
    /// Size of `/dev/shm`.
    pub shm_size: i64,
    /// OCI runtime.
    pub runtime: String,
    /// Link-layer address.
    pub mac_address: String,
    /// No cache volumes; the builds directory's goes with the job.
    pub disable_cache: bool,
    /// Without effect here: the engine is the instance's own.
    pub tls_verify: bool,
    /// Without effect here: the engine is the instance's own.
    pub host: String,
}

/// One `[[runners.docker.services]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RunnerService {
    /// The image; expanded with the job's variables.
    pub name: String,
    /// Aliases; expanded with the job's variables.
    pub alias: String,
    /// `KEY=VALUE`, which come last.
    pub environment: Vec<String>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Vec<String>,
    /// Replaces the image's command.
    pub command: Vec<String>,
}

/// One fault in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// The line, from 1.
    pub line: usize,
    /// The key, with the tables it is in.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", render(file, faults))]
pub struct ConfigError {
    /// The file, as the caller named it.
    pub file: String,
    /// Every fault.
    pub faults: Vec<ConfigFault>,
}

fn render(file: &str, faults: &[ConfigFault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| {
            format!(
                "{file}:{}: {}: {}; {}",
                fault.line, fault.field, fault.problem, fault.remedy
            )
        })
        .collect();
    lines.join("\n")
}

/// Keys before the first table: they concern the manager, not containers.
const GLOBAL: &[&str] = &["concurrent", "check_interval", "log_level", "runners"];
const RUNNER: &[&str] = &[
    "name",
    "url",
    "id",
    "token",
    "executor",
    "limit",
    "environment",
    "builds_dir",
    "docker",
    "feature_flags",
    "request_concurrency",
];
const DOCKER: &[&str] = &[
    "image",
    "helper_image",
    "disable_entrypoint_overwrite",
    "user",
    "hostname",
    "network_mode",
    "enable_ipv6",
    "network_mtu",
    "cap_add",
    "cap_drop",
    "security_opt",
    "services_security_opt",
    "privileged",
    "services_privileged",
    "extra_hosts",
    "links",
    "dns",
    "dns_search",
    "container_labels",
    "services",
    "wait_for_services_timeout",
    "volumes",
    "volumes_from",
    "tmpfs",
    "services_tmpfs",
    "sysctls",
    "pid_mode",
    "ipc_mode",
    "userns_mode",
    "group_add",
    "cgroup_parent",
    "shm_size",
    "runtime",
    "mac_address",
    "pull_policy",
    "disable_cache",
    "tls_verify",
    "host",
    "tls_cert_path",
    "oom_kill_disable",
    "volume_keep",
];
const SERVICE: &[&str] = &["name", "alias", "environment", "entrypoint", "command"];

#[derive(Deserialize)]
struct File {
    runners: Vec<RunnerConfig>,
}

impl RunnerConfig {
    /// Reads a `config.toml` with exactly one runner. `file` only names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let mut runners = Self::parse_all(file, text)?;
        match (runners.pop(), runners.is_empty()) {
            (Some(runner), true) => Ok(runner),
            (_, _) => Err(ConfigError {
                file: file.to_owned(),
                faults: vec![ConfigFault {
                    line: 1,
                    field: "runners".to_owned(),
                    problem: "a job runs on exactly one runner".to_owned(),
                    remedy: "write one [[runners]] table".to_owned(),
                }],
            }),
        }
    }

    /// Reads every `[[runners]]` of a `config.toml`.
    pub fn parse_all(file: &str, text: &str) -> Result<Vec<Self>, ConfigError> {
        let refuse = |faults| ConfigError {
            file: file.to_owned(),
            faults,
        };
        let fault = |error: &toml::de::Error| ConfigFault {
            line: line(text, error.span().map_or(0, |span| span.start)),
            field: "toml".to_owned(),
            problem: error.message().to_owned(),
            remedy: "correct the value".to_owned(),
        };
        let table = DeTable::parse(text).map_err(|error| refuse(vec![fault(&error)]))?;
        let mut faults = Vec::new();
        unknown(text, table.get_ref(), "", &mut faults);
        if !faults.is_empty() {
            return Err(refuse(faults));
        }
        let file: File = toml::from_str(text).map_err(|error| refuse(vec![fault(&error)]))?;
        Ok(file.runners)
    }
}

/// The keys that a table may have; `None` where any key is a name of the operator's own.
fn keys(path: &str) -> Option<&'static [&'static str]> {
    match path {
        "" => Some(GLOBAL),
        "runners" => Some(RUNNER),
        "runners.docker" => Some(DOCKER),
        "runners.docker.services" => Some(SERVICE),
        _ => None,
    }
}

fn unknown(text: &str, table: &DeTable<'_>, path: &str, faults: &mut Vec<ConfigFault>) {
    for (key, value) in table {
        let name = key.get_ref();
        let field = if path.is_empty() {
            name.to_string()
        } else {
            format!("{path}.{name}")
        };
        if keys(path).is_some_and(|keys| !keys.contains(&name.as_ref())) {
            faults.push(ConfigFault {
                line: line(text, key.span().start),
                field,
                problem: "unknown key".to_owned(),
                remedy: "use a key of config.toml that shapes containers, or leave it out".to_owned(),
            });
            continue;
        }
        match value.get_ref() {
            DeValue::Table(inner) => unknown(text, inner, &field, faults),
            DeValue::Array(items) => {
                for item in items {
                    if let DeValue::Table(inner) = item.get_ref() {
                        unknown(text, inner, &field, faults);
                    }
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
}

fn line(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
