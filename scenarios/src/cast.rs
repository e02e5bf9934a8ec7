//! Who is who in a run: the numbers and names a case's roles, runners, projects and jobs get in the simulated account. A function of the case alone, so that
//! a filtered run and a replay meet the same names.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::case::model::{Case, Job, Rule};

/// The simulated account.
pub const ACCOUNT: &str = "123456789012";
/// Its region.
pub const REGION: &str = "eu-central-1";
/// The instance's own role, whose credentials no job may have.
pub const HOST_ROLE: &str = "lab-host";
/// The GitLab server in every job's URL.
pub const GITLAB: &str = "gitlab.example.com";
/// A GitLab server whose tokens no account takes.
pub const STRANGER: &str = "gitlab.stranger.example";
/// A GitLab server behind a verifier that makes every claim a condition key, as AWS does not.
pub const IDS: &str = "gitlab-ids.example.com";
/// What ID tokens for AWS are for.
pub const AUDIENCE: &str = "https://aws.example.com";
/// What ID tokens for another service of the same company are for, which is registered too.
pub const OTHER_AUDIENCE: &str = "https://vault.example.com";
/// Name of the job that is added where a case's control is `twin`.
pub const TWIN: &str = "twin";

/// Names and numbers of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// `com.gitlab.gitlab-runner.runner.id`: nine characters.
    pub runner_id: String,
    /// Short role name → ARN.
    pub roles: BTreeMap<String, String>,
    /// Job name → (project id, job id).
    pub jobs: BTreeMap<String, (u64, u64)>,
}

impl Cast {
    /// Hands out names and numbers. Ids are taken from a digest of the case's id: 48 bits, so that two cases of a suite do not meet.
    pub fn new(case: &Case) -> Self {
        let digest = Sha256::digest(case.id.as_bytes());
        let number = digest
            .iter()
            .take(4)
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let letters: String = digest
            .iter()
            .skip(4)
            .take(6)
            .filter_map(|byte| {
                b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefgh"
                    .get(usize::from(*byte % 32))
                    .copied()
                    .map(char::from)
            })
            .collect();
        let roles = case
            .roles
            .iter()
            .map(|role| (role.name.clone(), role_arn(&world_role(&case.id, &role.name))))
            .collect();
        let names = case.jobs.iter().map(|job| job.name.as_str()).chain(
            // The twin is there for every case, so that asking for one control more does not renumber the jobs.
            (!case.jobs.iter().any(|job| job.name == TWIN)).then_some(TWIN),
        );
        let base = 1000 + number % 10_000_000 * 32;
        let own: BTreeMap<&str, u64> = names.clone().zip(base..).collect();
        let jobs = names
            .map(|name| {
                let of = case
                    .jobs
                    .iter()
                    .find(|job| job.name == name)
                    .and_then(|job| job.project_of.as_deref());
                let of = if name == TWIN && of.is_none() {
                    case.jobs.first().map(|job| job.name.as_str())
                } else {
                    of
                };
                let project = of
                    .and_then(|of| own.get(of))
                    .or_else(|| own.get(name))
                    .copied()
                    .unwrap_or(base);
                let job = own.get(name).copied().unwrap_or(base) + 1_000_000_000;
                (name.to_owned(), (project, job))
            })
            .collect();
        Self {
            runner_id: format!("Lab{letters}"),
            roles,
            jobs,
        }
    }

    /// What is known under a name before anything runs: roles, projects, issuers.
    pub fn known(&self, case: &Case, name: &str) -> Option<String> {
        match name.split_once('.') {
            _ if name == "account" => Some(ACCOUNT.to_owned()),
            _ if name == "jobs.ip" => Some(lab::plan::FORWARDED_V4.to_string()),
            _ if name == "issuer" => Some(GITLAB.to_owned()),
            _ if name == "issuer.stranger" => Some(STRANGER.to_owned()),
            _ if name == "issuer.ids" => Some(IDS.to_owned()),
            _ if name == "host.role" => Some(HOST_ROLE.to_owned()),
            _ if name == "host.arn" => Some(role_arn(HOST_ROLE)),
            _ if name == "runner.id" => Some(self.runner_id.clone()),
            Some(("role", role)) => self.roles.contains_key(role).then(|| world_role(&case.id, role)),
            Some(("arn", role)) => self.roles.get(role).cloned(),
            Some(("project", job)) => self.jobs.get(job).map(|(project, _)| project.to_string()),
            Some(("job", job)) => self.jobs.get(job).map(|(_, id)| id.to_string()),
            Some(("path", job)) => Some(project_path(case, case.jobs.iter().find(|known| known.name == job)?)),
            _ => None,
        }
    }

    /// The rules for a container of this job and kind.
    pub fn rules<'a>(&self, case: &'a Case, job: &str, kind: &str) -> impl Iterator<Item = &'a Rule> {
        let project = self.jobs.get(job).map(|(project, _)| *project);
        case.rules.iter().filter(move |rule| {
            self.jobs.get(&rule.job).map(|(project, _)| *project) == project && applies_to(rule, kind)
        })
    }

    /// World names of the roles that the operator sanctions for a container of this job and kind: the rule's role first, then what may be selected.
    pub fn sanctioned<'a>(&self, case: &'a Case, job: &str, kind: &str) -> Vec<&'a str> {
        self.rules(case, job, kind)
            .flat_map(|rule| rule.role.iter().chain(&rule.selectable).map(String::as_str))
            .collect()
    }
}

/// Whether a rule is for this kind of container; a rule that names none is for build containers.
pub fn applies_to(rule: &Rule, kind: &str) -> bool {
    if rule.kind.is_empty() {
        kind == "build"
    } else {
        rule.kind.iter().any(|allowed| allowed == kind)
    }
}

/// The path of the project that a job's pipeline runs in.
pub fn project_path(case: &Case, job: &Job) -> String {
    let of = job.project_of.as_deref();
    let owner = of.and_then(|of| case.jobs.iter().find(|other| other.name == of));
    let path = job
        .path
        .as_ref()
        .or_else(|| owner.and_then(|owner| owner.path.as_ref()));
    path.cloned()
        .unwrap_or_else(|| format!("lab/{}", case.id.to_lowercase()))
}

/// The name that a case's role has in the simulated account.
pub fn world_role(case_id: &str, role: &str) -> String {
    format!("{}-{role}", case_id.to_lowercase())
}

/// The ARN of a role of the simulated account.
pub fn role_arn(world_name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{world_name}")
}
