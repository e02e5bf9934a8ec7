//! The labels that the runner sets (internal/labels/labels.go). Pure.

use std::collections::{BTreeMap, HashMap};

use super::config::RunnerConfig;
use super::expansion::{expand_value, last_value};
use super::job::{Job, Variable};
use super::names::go_duration;

/// What every label key of the runner starts with.
pub const PREFIX: &str = "com.gitlab.gitlab-runner.";

/// The labels of everything that belongs to one job.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    common: BTreeMap<String, String>,
    custom: BTreeMap<String, String>,
}

impl Labels {
    pub(super) fn new(
        config: &RunnerConfig,
        job: &Job,
        payload: &[Variable],
        short_token: &str,
        slot: (u64, u64),
        system_id: &str,
    ) -> Self {
        let (concurrent, project_concurrent) = slot;
        // The server's number where it sent one; else a variable, which an author may set (labels.go:32-35).
        let pipeline = if job.pipeline_id == 0 {
            last_value(payload, "CI_PIPELINE_ID").map_or_else(String::new, |variable| variable.value.clone())
        } else {
            job.pipeline_id.to_string()
        };
        let url = format!(
            "{}/{}/-/jobs/{}",
            config.url.trim_end_matches('/'),
            job.project_path,
            job.id
        );
        let common = [
            ("job.id", job.id.to_string()),
            ("job.url", url),
            ("job.sha", job.sha.clone()),
            ("job.before_sha", job.before_sha.clone()),
            ("job.ref", job.git_ref.clone()),
            ("job.timeout", go_duration(job.timeout)),
            ("project.id", job.project_id.to_string()),
            ("project.runner_id", project_concurrent.to_string()),
            ("pipeline.id", pipeline),
            ("runner.id", short_token.to_owned()),
            ("runner.local_id", concurrent.to_string()),
            ("runner.system_id", system_id.to_owned()),
            ("managed", "true".to_owned()),
        ];
        // Values are expanded against the job's payload alone: a `$` in them is the author's (executors/docker/docker.go:2078).
        let custom = config.docker.container_labels.iter();
        Self {
            common: common.map(|(key, value)| (format!("{PREFIX}{key}"), value)).into(),
            custom: custom
                .map(|(key, value)| (key.clone(), expand_value(payload, value)))
                .collect(),
        }
    }

    /// The labels of networks, wait and cache-init containers: without the operator's own.
    pub(super) fn managed(&self, more: &[(&str, &str)]) -> HashMap<String, String> {
        let mut labels = self.common.clone();
        labels.extend(
            more.iter()
                .map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())),
        );
        labels.into_iter().collect()
    }

    /// The labels of build and predefined containers: the operator's own come last and may replace the runner's.
    pub(super) fn of_job(&self, kind: &str) -> HashMap<String, String> {
        let mut labels = self.managed(&[("type", kind)]);
        labels.extend(self.custom.clone());
        labels
    }

    /// The labels of services: the operator's own stand there twice, the second time under the runner's prefix (docker.go:697-706).
    pub(super) fn of_service(&self, service: &str, version: &str) -> HashMap<String, String> {
        let mut labels = self.managed(&[("type", "service"), ("service", service), ("service.version", version)]);
        labels.extend(self.custom.clone());
        let again = self.custom.iter();
        labels.extend(again.map(|(key, value)| (format!("{PREFIX}{key}"), value.clone())));
        labels
    }
}
