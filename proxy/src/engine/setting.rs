//! How a container was set up, as far as that bears on isolation: what the operator's tools look at, and no decision ever. Pure.

use std::collections::BTreeSet;

use bollard::models::{ContainerInspectResponse, Network};

use crate::caller::JOB_URL;

/// How a container was set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setting {
    /// Full id.
    pub id: String,
    /// Its name, without the slash that the engine writes before it.
    pub name: String,
    /// The number of its first process; 0 if it does not run.
    pub pid: i32,
    /// `com.gitlab.gitlab-runner.job.url`, which tells one job from another.
    pub job: Option<String>,
    /// `host`, `none`, `container:ID`, `default` or a network's name.
    pub network_mode: String,
    /// The ids of its networks.
    pub networks: BTreeSet<String>,
    /// Whether it has every right on the host.
    pub is_privileged: bool,
    /// Capabilities that were added to the default ones, without `CAP_`.
    pub capabilities: BTreeSet<String>,
    /// Whether it sees the host's processes.
    pub shares_processes: bool,
    /// Places of the host that are mounted into it.
    pub mounts: BTreeSet<String>,
}

impl Setting {
    /// None if the answer has no id.
    #[must_use]
    pub fn read(answer: ContainerInspectResponse) -> Option<Self> {
        let host = answer.host_config.unwrap_or_default();
        let labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
        let networks = answer
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let pid = answer.state.and_then(|state| state.pid).unwrap_or_default();
        let capability = |name: String| name.to_uppercase().trim_start_matches("CAP_").to_owned();
        Some(Self {
            id: answer.id?,
            name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            pid: i32::try_from(pid).unwrap_or_default(),
            job: labels.get(JOB_URL).cloned(),
            network_mode: host.network_mode.unwrap_or_default(),
            networks: networks
                .into_values()
                .filter_map(|endpoint| endpoint.network_id)
                .collect(),
            is_privileged: host.privileged.unwrap_or_default(),
            capabilities: host.cap_add.unwrap_or_default().into_iter().map(capability).collect(),
            shares_processes: host.pid_mode.as_deref() == Some("host"),
            mounts: answer
                .mounts
                .unwrap_or_default()
                .into_iter()
                .filter_map(|mount| mount.source)
                .filter(|source| source.starts_with('/'))
                .collect(),
        })
    }

    /// Whether both belong to one job, as the runner's label says.
    #[must_use]
    pub fn is_of_job_of(&self, other: &Self) -> bool {
        self.job.is_some() && self.job == other.job
    }
}

/// One network of the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSetting {
    /// Full id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge`, `macvlan`, `host` …
    pub driver: String,
}

impl NetworkSetting {
    /// None if the answer has no id.
    #[must_use]
    pub fn read(answer: Network) -> Option<Self> {
        Some(Self {
            id: answer.id?,
            name: answer.name.unwrap_or_default(),
            driver: answer.driver.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_holds_what_bears_on_isolation() {
        let answer = r#"{"Id":"aa","Name":"/job","State":{"Pid":7},"Config":{"Labels":{"com.gitlab.gitlab-runner.job.url":"u"}},
            "HostConfig":{"NetworkMode":"host","Privileged":true,"PidMode":"host","CapAdd":["CAP_SYS_ADMIN","net_admin"]},
            "Mounts":[{"Type":"bind","Source":"/var/run/docker.sock"},{"Type":"volume","Source":""}],
            "NetworkSettings":{"Networks":{"bridge":{"NetworkID":"nn"}}}}"#;
        let setting = Setting::read(serde_json::from_str(answer).unwrap()).unwrap();
        assert_eq!(
            setting,
            Setting {
                id: "aa".to_owned(),
                name: "job".to_owned(),
                pid: 7,
                job: Some("u".to_owned()),
                network_mode: "host".to_owned(),
                networks: ["nn".to_owned()].into(),
                is_privileged: true,
                capabilities: ["SYS_ADMIN", "NET_ADMIN"].map(ToOwned::to_owned).into(),
                shares_processes: true,
                mounts: ["/var/run/docker.sock".to_owned()].into(),
            }
        );
        assert!(setting.is_of_job_of(&setting.clone()));
        let plain = Setting::read(serde_json::from_str(r#"{"Id":"bb"}"#).unwrap()).unwrap();
        assert!(!plain.is_of_job_of(&plain.clone()), "nobody says so of either");
    }
}
