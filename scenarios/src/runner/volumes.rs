//! The cache volumes of a job, and the containers that open each of them to every user (executors/docker/volume.go, docker.go createVolumes and
//! createBuildVolume, internal/volumes/manager.go, internal/volumes/permission/linux_set.go). Pure.

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, VolumeCreateRequest};
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::config::RunnerConfig;
use super::environment::{builds_dir, project_dir};
use super::expansion::last_value;
use super::job::{Job, Variable};
use super::labels::Labels;
use super::plan::{Circumstances, ResolvedImage};
use super::requests::{ContainerRequest, Kind, VolumeRequest};

/// Where a cache-init container has the volume.
const MOUNT: &str = "/gitlab-runner-cache-init";

/// What volumes depend on.
pub(super) struct Volumes<'a> {
    pub(super) config: &'a RunnerConfig,
    pub(super) job: &'a Job,
    pub(super) around: &'a Circumstances,
    pub(super) labels: &'a Labels,
    /// The job's variables, expanded.
    pub(super) all: &'a [Variable],
    /// The prefix of the job's containers, unique to this one run of it.
    pub(super) prefix: &'a str,
    pub(super) helper: &'a ResolvedImage,
}

impl Volumes<'_> {
    /// `HostConfig.Binds` of services, predefined and build, and the volumes among them that are made first.
    pub(super) fn plan(&self) -> (Vec<String>, Vec<VolumeRequest>) {
        let mut binds = Vec::new();
        let mut volumes: Vec<VolumeRequest> = Vec::new();
        let mut taken = Vec::new();
        let mut make = |binds: &mut Vec<String>, destination: &str, is_reusable| {
            let volume = self.volume(destination, is_reusable);
            binds.push(format!("{}:{destination}", volume.name));
            volumes.push(volume);
        };
        for volume in &self.config.docker.volumes {
            match volume.split(':').nth(1) {
                Some(destination) => {
                    taken.push(destination.to_owned());
                    binds.push(volume.clone());
                }
                // Where caches are disabled the runner warns and goes on without.
                None if self.config.docker.disable_cache => {}
                None => {
                    let destination = self.absolute(volume);
                    make(&mut binds, &destination, true);
                    taken.push(destination);
                }
            }
        }
        let builds = builds_dir(self.config).to_owned();
        if !taken.contains(&builds) {
            // A checkout that is fetched into is kept for the next job of the project in this slot; any other goes with the job.
            let strategy = last_value(self.all, "GIT_STRATEGY").map_or("", |variable| variable.value.as_str());
            let is_kept = matches!(strategy, "" | "fetch") && !self.config.docker.disable_cache;
            make(&mut binds, &builds, is_kept);
        }
        (binds, volumes)
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", project_dir(self.config, self.job))
        }
    }

    fn volume(&self, destination: &str, is_reusable: bool) -> VolumeRequest {
        let owner = if is_reusable {
            unique_name(&self.config.token, self.around, self.job.project_id)
        } else {
            self.prefix.to_owned()
        };
        let protected = if self.job.protected { "-protected" } else { "" };
        let name = format!("{owner}-cache-{}{protected}", hexadecimal(&Md5::digest(destination)));
        let labels = self.labels.managed(&[
            ("type", "cache"),
            ("destination", destination),
            ("protected", if self.job.protected { "true" } else { "false" }),
            ("reusable", if is_reusable { "true" } else { "false" }),
        ]);
        VolumeRequest {
            body: VolumeCreateRequest {
                name: Some(name.clone()),
                labels: Some(labels),
                ..VolumeCreateRequest::default()
            },
            init: self.init(&name),
            destination: destination.to_owned(),
            is_temporary: !is_reusable,
            name,
        }
    }

    /// It has no environment, and the default bridge whatever network the job has.
    fn init(&self, volume: &str) -> ContainerRequest {
        let digest = Sha256::digest(format!("{volume} {}", self.around.unique));
        ContainerRequest {
            name: format!(
                "{volume}-set-permission-{}",
                hexadecimal(digest.get(..8).unwrap_or_default())
            ),
            kind: Kind::CacheInit,
            aliases: Vec::new(),
            ports: Vec::new(),
            body: ContainerCreateBody {
                image: Some(self.helper.id.clone()),
                cmd: Some(
                    ["gitlab-runner-helper", "cache-init", MOUNT]
                        .map(str::to_owned)
                        .to_vec(),
                ),
                labels: Some(self.labels.managed(&[("type", Kind::CacheInit.as_str())])),
                host_config: Some(HostConfig {
                    log_config: Some(HostConfigLogConfig {
                        typ: Some("json-file".to_owned()),
                        config: None,
                    }),
                    binds: Some(vec![format!("{volume}:{MOUNT}")]),
                    ..HostConfig::default()
                }),
                ..ContainerCreateBody::default()
            },
        }
    }
}

/// What volumes of one project in one slot of one runner are called by (common/build.go ProjectRealUniqueName).
fn unique_name(token: &str, around: &Circumstances, project: u64) -> String {
    let text = format!("{token}-{}-{project}-{}", around.system_id, around.project_concurrent);
    let digest = Sha256::digest(text);
    format!("runner-{}", hexadecimal(digest.get(..16).unwrap_or_default()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Placement;

    /// The values are those of the runner's own test of `ProjectRealUniqueName`; a manager without a system id calls itself unknown.
    #[test]
    fn volumes_are_called_as_the_runner_calls_them() {
        let around = |system: &str, slot| Circumstances {
            concurrent: 7,
            project_concurrent: slot,
            unique: String::new(),
            system_id: system.to_owned(),
            api_version: (1, 41),
            images: std::collections::BTreeMap::new(),
            placement: Placement::default(),
        };
        let token = "some-random-token-and-we-sure-don't-run-it-through-the-shortener";
        for (token, system, project, slot, name) in [
            ("", "unknown", 0, 0, "runner-f1969ebde09ffbae93df68a9aec385a8"),
            (token, "unknown", 0, 0, "runner-f563c42913906cc3c0c50d55b005ce86"),
            (token, "some-system-ID", 0, 0, "runner-576923f59d7b85f6258fe7e56d254ce0"),
            (
                token,
                "some-system-ID",
                42,
                0,
                "runner-896339b5ef9bebb3cbb72960ea8e89bb",
            ),
            (
                token,
                "some-system-ID",
                42,
                4242,
                "runner-9d75c021c38f7957cb372857766d74b4",
            ),
        ] {
            assert_eq!(unique_name(token, &around(system, slot), project), name);
        }
        assert_eq!(hexadecimal(&Md5::digest("/cache")), "3c3f060a0374fc8bc39395164f415a70");
        assert_eq!(hexadecimal(&Md5::digest("/builds")), "c33bcaa1fd2c77edfc3893b41966cea8");
    }
}
