//! A job as GitLab hands it to a runner: what the server states and what the pipeline's author wrote. Pure data.

use serde::Deserialize;

/// One variable of the job's payload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value, unexpanded.
    pub value: String,
    /// `expand: false`.
    #[serde(default)]
    pub raw: bool,
    /// A file variable: the environment holds a path.
    #[serde(default)]
    pub file: bool,
    /// Whether services may see it. Variables from YAML are public; those of a project or group are not.
    #[serde(default)]
    pub public: bool,
    /// Hidden in logs; changes nothing for containers.
    #[serde(default)]
    pub masked: bool,
    /// Made by the runner; services see it.
    #[serde(skip)]
    pub internal: bool,
}

impl Variable {
    /// A variable as YAML makes it: public, expanded.
    pub fn new(key: &str, value: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: value.to_owned(),
            public: true,
            ..Self::default()
        }
    }

    /// A variable as a project's settings make it: not public.
    pub fn hidden(key: &str, value: &str) -> Self {
        Self {
            public: false,
            ..Self::new(key, value)
        }
    }

    pub(super) fn internal(key: &str, value: &str) -> Self {
        Self {
            internal: true,
            ..Self::hidden(key, value)
        }
    }
}

/// One entry of the job's `services:`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The image.
    pub name: String,
    /// Aliases, separated by spaces or commas.
    #[serde(default)]
    pub alias: String,
    /// Its own variables, which come last.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// Replaces the image's entrypoint.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Replaces the image's command.
    #[serde(default)]
    pub command: Vec<String>,
    /// `docker:user`.
    #[serde(default)]
    pub user: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// The project that the pipeline runs in (the parent, for a merge request from a fork).
    pub project_id: u64,
    /// The path of that project.
    pub project_path: String,
    /// Branch, tag or `refs/merge-requests/N/head`: labels do not tell which.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The commit.
    #[serde(default = "some_commit")]
    pub sha: String,
    /// The commit before.
    #[serde(default = "no_commit")]
    pub before_sha: String,
    /// The pipeline.
    pub pipeline_id: u64,
    /// The job token, in `CI_JOB_TOKEN`.
    #[serde(default)]
    pub token: String,
    /// Whether the ref is protected.
    #[serde(default)]
    pub protected: bool,
    /// `image:`; the runner's own where empty.
    #[serde(default)]
    pub image: String,
    /// `image: entrypoint:`.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// `image: docker: user:`.
    #[serde(default)]
    pub user: String,
    /// The payload's variables after those that GitLab itself predefines, in the server's order, duplicates kept.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// What `secrets:` brought: names are the author's.
    #[serde(default)]
    pub secrets: Vec<Variable>,
    /// `services:`.
    #[serde(default)]
    pub services: Vec<Service>,
    /// The job's timeout in seconds.
    #[serde(default = "an_hour")]
    pub timeout: u64,
    /// Whether the job uses `run:` instead of `script:`.
    #[serde(default)]
    pub native_steps: bool,
}

fn some_commit() -> String {
    "1ecfd275763eff1d6b4844ea3168962458c9f27a".to_owned()
}

fn no_commit() -> String {
    "0".repeat(40)
}

fn an_hour() -> u64 {
    3600
}

impl Job {
    /// A job with nothing but its identity.
    pub fn new(id: u64, project_id: u64, project_path: &str, git_ref: &str) -> Self {
        Self {
            id,
            project_id,
            project_path: project_path.to_owned(),
            git_ref: git_ref.to_owned(),
            sha: some_commit(),
            before_sha: no_commit(),
            pipeline_id: id + 1,
            token: String::new(),
            protected: false,
            image: String::new(),
            entrypoint: Vec::new(),
            user: String::new(),
            variables: Vec::new(),
            secrets: Vec::new(),
            services: Vec::new(),
            timeout: an_hour(),
            native_steps: false,
        }
    }

    /// The payload's variables: GitLab's predefined ones first, in the order of `Ci::Build#base_variables`, then everybody else's.
    pub(super) fn payload(&self, server: &str) -> Vec<Variable> {
        let url = format!("{}/{}", server.trim_end_matches('/'), self.project_path);
        let host = host(server);
        let shown = |key: &str, value: &str| Variable::new(key, value);
        let mut variables = vec![
            shown("CI_PIPELINE_ID", &self.pipeline_id.to_string()),
            shown("CI_PIPELINE_URL", &format!("{url}/-/pipelines/{}", self.pipeline_id)),
            shown("CI_JOB_ID", &self.id.to_string()),
            shown("CI_JOB_URL", &format!("{url}/-/jobs/{}", self.id)),
            Variable {
                masked: true,
                ..Variable::hidden("CI_JOB_TOKEN", &self.token)
            },
            shown("CI_REGISTRY_USER", "gitlab-ci-token"),
            shown("CI", "true"),
            shown("GITLAB_CI", "true"),
            shown("CI_SERVER_URL", server.trim_end_matches('/')),
            shown("CI_SERVER_HOST", host),
            shown("CI_PROJECT_ID", &self.project_id.to_string()),
            shown(
                "CI_PROJECT_NAME",
                self.project_path.rsplit('/').next().unwrap_or_default(),
            ),
            shown("CI_PROJECT_PATH", &self.project_path),
            shown("CI_PROJECT_URL", &url),
            shown("CI_COMMIT_SHA", &self.sha),
            shown("CI_COMMIT_BEFORE_SHA", &self.before_sha),
            shown("CI_COMMIT_REF_NAME", &self.git_ref),
            shown("CI_COMMIT_REF_PROTECTED", if self.protected { "true" } else { "false" }),
        ];
        variables.extend(self.variables.iter().cloned());
        variables
    }
}

/// The host in a URL.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}
