//! Everything that ends up in `Env`, in the runner's order (common/build.go:2062-2085). Pure.

use super::config::RunnerConfig;
use super::expansion::expand;
use super::feature_flags::{FeatureFlags, is_known};
use super::job::{Job, Variable};

/// The version that these containers look like.
const VERSION: &str = "19.4.0";
const REVISION: &str = "6a1e5a52";

/// What a job's variables depend on beside the job and the runner's configuration.
pub(super) struct Surroundings<'a> {
    pub(super) short_token: &'a str,
    pub(super) concurrent: u64,
    pub(super) project_concurrent: u64,
    pub(super) flags: &'a FeatureFlags,
    /// The network per build, where the flag for it is on.
    pub(super) network: Option<&'a str>,
}

/// The directory of the job's checkout.
pub(super) fn project_dir(config: &RunnerConfig, job: &Job) -> String {
    format!("{}/{}", builds_dir(config), job.project_path)
}

pub(super) fn builds_dir(config: &RunnerConfig) -> &str {
    if config.builds_dir.is_empty() {
        "/builds"
    } else {
        &config.builds_dir
    }
}

/// `KEY=VALUE` lines as variables; a line without `=` is dropped, as the runner does.
pub(super) fn parse_lines(lines: &[String]) -> Vec<Variable> {
    lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| Variable::internal(key.trim(), value))
        .collect()
}

/// The job's variables, duplicates and all, not yet expanded.
pub(super) fn unexpanded(config: &RunnerConfig, job: &Job, image: &str, around: &Surroundings<'_>) -> Vec<Variable> {
    let public = |key: &str, value: &str| Variable {
        public: true,
        ..Variable::internal(key, value)
    };
    let project_dir = project_dir(config, job);
    let mut variables = around.flags.variables();
    if !image.is_empty() {
        variables.push(public("CI_JOB_IMAGE", image));
    }
    variables.push(public("CI_RUNNER_SHORT_TOKEN", around.short_token));
    variables.extend(parse_lines(&config.environment));
    variables.extend([
        public("CI_BUILDS_DIR", builds_dir(config)),
        public("CI_PROJECT_DIR", &project_dir),
        public("CI_CONCURRENT_ID", &around.concurrent.to_string()),
        public("CI_CONCURRENT_PROJECT_ID", &around.project_concurrent.to_string()),
        public("CI_SERVER", "yes"),
        public("CI_JOB_STATUS", "running"),
        public("CI_JOB_TIMEOUT", &job.timeout.to_string()),
    ]);
    variables.extend(
        job.payload(&config.url)
            .into_iter()
            .filter(|variable| !is_known(&variable.key)),
    );
    variables.extend([
        public("CI_DISPOSABLE_ENVIRONMENT", "true"),
        public("CI_RUNNER_VERSION", VERSION),
        public("CI_RUNNER_REVISION", REVISION),
        public("CI_RUNNER_EXECUTABLE_ARCH", "linux/amd64"),
    ]);
    // The author chooses these names, and they come after everything else that has a value from outside.
    variables.extend(job.secrets.iter().cloned());
    variables.push(public("RUNNER_TEMP_PROJECT_DIR", &temporary(config, job)));
    if let Some(network) = around.network {
        variables.push(public("CI_BUILD_NETWORK_NAME", network));
    }
    variables
}

/// Where file variables lie.
pub(super) fn temporary(config: &RunnerConfig, job: &Job) -> String {
    format!("{}.tmp", project_dir(config, job))
}

/// A service's variables: what is public or the runner's own, then the service's, expanded together (common/build.go:2097-2102).
pub(super) fn of_service(expanded: &[Variable], own: &[Variable], temporary: &str) -> Vec<Variable> {
    let mut variables: Vec<Variable> = expanded
        .iter()
        .filter(|variable| variable.public || variable.internal)
        .cloned()
        .collect();
    variables.extend(own.iter().cloned());
    expand(&variables, temporary)
}
