//! What the pipeline's author gives to a job, as a case writes it. Data only.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::defence::Defence;

/// What the pipeline's author gives to one job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The case's own short name.
    pub name: String,
    /// The image the author built.
    #[serde(default)]
    pub image: Image,
    /// In payload order, duplicates kept.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// Results of `secrets:`, which come after everything else.
    #[serde(default)]
    pub secrets: Vec<Variable>,
    /// The Git ref the pipeline is for; `main` when absent.
    #[serde(default, rename = "ref")]
    pub git_ref: Option<String>,
    /// `services:`.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Native steps: the environment is replaced by one recovery variable.
    #[serde(default)]
    pub native_steps: bool,
    /// Raw entries put at the end of `Config.Env` through the engine's API, for what only a faulty runner would send (`IAM_ROLE` without `=`).
    #[serde(default)]
    pub raw_env: Vec<String>,
    /// Labels instead of the runner's: not a runner made this container, but somebody else who may ask the engine.
    #[serde(default)]
    pub raw_labels: Option<BTreeMap<String, String>>,
    /// The short id of another runner on the same host that takes the job.
    #[serde(default)]
    pub runner: Option<String>,
    /// The host of another GitLab server that sends the job.
    #[serde(default)]
    pub gitlab: Option<String>,
    /// Belongs to the project of that other job.
    #[serde(default)]
    pub project_of: Option<String>,
    /// Starts at a `launch` step instead of at the beginning.
    #[serde(default)]
    pub later: bool,
    /// A fixed address for the build container, on a network with a subnet.
    #[serde(default)]
    pub address: Option<String>,
    /// Shares the network namespace of that container, as `network_mode = "container:…"` does.
    #[serde(default)]
    pub shares: Option<String>,
    /// `timeout:` of the job in seconds; an hour when absent.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// The job once for each, with `${variant}` put in; the second and further ones only against the proxy, since nothing else reads what a job is made of.
    #[serde(default)]
    pub variants: Vec<String>,
    /// Launched only under these defences; under all when empty.
    #[serde(default)]
    pub only: Vec<Defence>,
    /// The path of its project; `lab/<id of the case>` when absent.
    #[serde(default)]
    pub path: Option<String>,
    /// The ref is a tag.
    #[serde(default)]
    pub tag: bool,
    /// The ref is protected.
    #[serde(default)]
    pub protected: bool,
    /// The fork that a merge request's pipeline runs for, in the project at `path`.
    #[serde(default)]
    pub fork: Option<String>,
    /// `id_tokens:`, by the variable's name.
    #[serde(default)]
    pub id_tokens: BTreeMap<String, IdToken>,
}

/// One entry of a job's `id_tokens:`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdToken {
    /// `aud:`, one or several.
    pub aud: Vec<String>,
}

/// An image of the author's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name in the engine; one of the scenario's own when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// `ENV`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `LABEL`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its entrypoint asks for credentials before anything else; `began` tells what it got.
    #[serde(default)]
    pub asks_at_once: bool,
}

/// One variable.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// `expand: false`.
    #[serde(default)]
    pub raw: bool,
    /// Of type file: the environment holds a path.
    #[serde(default)]
    pub file: bool,
}

/// A service of the job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its alias, by which steps address it.
    pub alias: String,
    /// Its own `variables:`.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// Its image.
    #[serde(default)]
    pub image: Image,
}

impl Job {
    /// Whether the job is there at all under a defence.
    pub fn is_launched_under(&self, defence: Defence) -> bool {
        defence.is_among(&self.only)
    }
}
