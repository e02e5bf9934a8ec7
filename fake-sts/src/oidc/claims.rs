//! The claims of tokens that others issue: GitLab's for a job, a cluster's for a service account. What nobody states is derived from the
//! seed. It must not sign.

use fake_kit::seed::Seed;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Issuer;

/// How long GitLab's tokens live when the job's timeout is not shorter or longer.
const JOB_SECONDS: i64 = 300;

/// How long a projected service account token lives.
const POD_SECONDS: i64 = 86_400;

fn main_branch() -> String {
    "main".to_owned()
}

fn branch() -> String {
    "branch".to_owned()
}

fn push() -> String {
    "push".to_owned()
}

fn developer() -> String {
    "alice".to_owned()
}

/// A job of GitLab, as far as its token tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// `group/app`: the project whose commit runs. In a merge request's pipeline of a fork that is the fork.
    pub project: String,
    /// Where the pipeline runs, when that is another project (fork pipelines in the target project).
    #[serde(default)]
    pub job_project: Option<String>,
    /// The branch or tag.
    #[serde(default = "main_branch", rename = "ref")]
    pub git_ref: String,
    /// `branch` or `tag`; GitLab knows no other.
    #[serde(default = "branch")]
    pub ref_type: String,
    /// Whether the ref is protected.
    #[serde(default)]
    pub protected: bool,
    /// `aud`; the issuer's URL when the job names none.
    #[serde(default)]
    pub audience: Vec<String>,
    /// `push`, `web`, `merge_request_event`…
    #[serde(default = "push")]
    pub pipeline_source: String,
    /// Who started it.
    #[serde(default = "developer")]
    pub user: String,
    /// The job's environment.
    #[serde(default)]
    pub environment: Option<String>,
    /// Whether the environment is protected.
    #[serde(default)]
    pub environment_protected: bool,
    /// Lifetime, which GitLab takes from the job's timeout.
    #[serde(default)]
    pub timeout_seconds: Option<i64>,
}

/// A service account of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `aud`; `sts.amazonaws.com` when nobody names one.
    #[serde(default)]
    pub audience: Vec<String>,
}

/// One audience is a text, several are a list.
fn audience(stated: &[String], default: &str) -> Value {
    match stated {
        [] => json!(default),
        [one] => json!(one),
        several => json!(several),
    }
}

/// Numbers that differ for each label and stay the same for a seed.
fn number(seed: &Seed, label: &str) -> u32 {
    let [a, b, c, ..] = seed.bytes(label, 0);
    u32::from_be_bytes([0, a, b, c]) % 1_000_000 + 1
}

/// What GitLab writes for a job (`ci_id_token`, GitLab 18). Numbers are texts, all but the runner's.
#[must_use]
pub fn gitlab_claims(issuer: &Issuer, job: &Job, seed: &Seed, serial: u64, now: Timestamp) -> Value {
    let id = |kind: &str, name: &str| number(seed, &format!("{kind}:{name}")).to_string();
    let namespace = |project: &str| project.rsplit_once('/').map_or(project, |(space, _)| space).to_owned();
    let host = issuer.url().trim_start_matches("https://").trim_end_matches('/');
    let folder = if job.ref_type == "tag" { "tags" } else { "heads" };
    let ref_path = format!("refs/{folder}/{}", job.git_ref);
    let runs_in = job.job_project.as_deref().unwrap_or(&job.project);
    let parts = issuer
        .sub_components()
        .iter()
        .map(|component| match component.as_str() {
            "project_path" => format!("project_path:{}", job.project),
            "ref_type" => format!("ref_type:{}", job.ref_type),
            _ => format!("ref:{}", job.git_ref),
        });
    let sub = parts.collect::<Vec<_>>().join(":");
    let issued = now.as_second();
    let sha = hex::encode(seed.bytes(&format!("commit:{}:{}", job.project, job.git_ref), 0));
    let sha = sha.get(..40).unwrap_or_default();
    let mut claims = json!({
        "iss": issuer.url(),
        "sub": sub,
        "aud": audience(&job.audience, issuer.url()),
        "exp": issued + job.timeout_seconds.unwrap_or(JOB_SECONDS),
        "nbf": issued - 5,
        "iat": issued,
        "jti": uuid(seed, "jti", serial),
        "namespace_id": id("namespace", &namespace(&job.project)),
        "namespace_path": namespace(&job.project),
        "project_id": id("project", &job.project),
        "project_path": job.project,
        "job_namespace_id": id("namespace", &namespace(runs_in)),
        "job_namespace_path": namespace(runs_in),
        "job_project_id": id("project", runs_in),
        "job_project_path": runs_in,
        "user_id": id("user", &job.user),
        "user_login": job.user,
        "user_email": format!("{}@example.com", job.user),
        "user_access_level": "developer",
        "pipeline_id": (1_000 + serial).to_string(),
        "pipeline_source": job.pipeline_source,
        "job_id": (5_000 + serial).to_string(),
        "ref": job.git_ref,
        "ref_type": job.ref_type,
        "ref_path": ref_path,
        "ref_protected": job.protected.to_string(),
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": sha,
        "project_visibility": "private",
        "ci_config_ref_uri": format!("{host}/{runs_in}//.gitlab-ci.yml@{ref_path}"),
        "ci_config_sha": sha,
    });
    if let (Some(name), Some(table)) = (&job.environment, claims.as_object_mut()) {
        let more = [
            ("environment", name.as_str()),
            (
                "environment_protected",
                if job.environment_protected { "true" } else { "false" },
            ),
            (
                "deployment_tier",
                if name == "production" { "production" } else { "other" },
            ),
            ("environment_action", "start"),
        ];
        table.extend(more.map(|(name, value)| (name.to_owned(), json!(value))));
    }
    claims
}

/// What a cluster writes into a pod's projected token.
#[must_use]
pub fn kubernetes_claims(issuer: &Issuer, account: &ServiceAccount, seed: &Seed, serial: u64, now: Timestamp) -> Value {
    let issued = now.as_second();
    let audiences = match account.audience.as_slice() {
        [] => vec!["sts.amazonaws.com".to_owned()],
        stated => stated.to_vec(),
    };
    let name = &account.name;
    json!({
        "iss": issuer.url(),
        "sub": format!("system:serviceaccount:{}:{name}", account.namespace),
        "aud": audiences,
        "exp": issued + POD_SECONDS,
        "nbf": issued,
        "iat": issued,
        "jti": uuid(seed, "jti", serial),
        "kubernetes.io": {
            "namespace": account.namespace,
            "pod": { "name": format!("{name}-0"), "uid": uuid(seed, "pod", serial) },
            "serviceaccount": { "name": name, "uid": uuid(seed, &format!("account:{}:{name}", account.namespace), 0) },
        },
    })
}

/// A UUID (version 4 in form) out of the seed.
pub(crate) fn uuid(seed: &Seed, label: &str, serial: u64) -> String {
    let digits = hex::encode(seed.bytes(label, serial));
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}
