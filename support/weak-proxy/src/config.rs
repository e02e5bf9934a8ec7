//! What this program needs of `metadata-proxy.toml`. It reads leniently, since `metadata-proxy check` is the judge of that file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The configuration file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not the TOML expected; the source names line and field.
    #[error("{path} is not a proxy configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: toml::de::Error,
    },
}

/// The part of the configuration that counts here.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// `[listen]`
    #[serde(default)]
    pub listen: Listen,
    /// `[engine]`
    #[serde(default)]
    pub engine: Engine,
    /// `[aws]`
    pub aws: Aws,
    /// `[imds]`
    #[serde(default)]
    pub imds: Imds,
    /// `[attestation]`
    #[serde(default)]
    pub attestation: Attestation,
    /// `[[rule]]`
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// There is no policy: a container has the role that its own `IAM_ROLE` names, as with the proxies that this one imitates.
    #[serde(skip)]
    pub by_variable: bool,
}

/// Where to listen.
#[derive(Debug, Clone, Deserialize)]
pub struct Listen {
    /// The port, on the wildcard of both families.
    #[serde(default = "default_port")]
    pub port: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self { port: default_port() }
    }
}

/// Where the engine is.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Engine {
    /// `unix:///path`; absent, `DOCKER_HOST` or Docker's default.
    pub socket: Option<String>,
}

/// The account, and how to reach STS.
#[derive(Debug, Clone, Deserialize)]
pub struct Aws {
    /// Twelve digits.
    pub account: String,
    /// The region of STS, and what `placement/region` answers.
    pub region: String,
    /// The partition of every ARN.
    #[serde(default = "default_partition")]
    pub partition: String,
    /// Overrides the SDK's endpoint.
    pub sts_endpoint: Option<String>,
    /// `DurationSeconds`.
    #[serde(default = "default_session_seconds")]
    pub session_seconds: i32,
}

/// Token rules.
#[derive(Debug, Clone, Deserialize)]
pub struct Imds {
    /// IMDSv2 only.
    #[serde(default = "default_require_token")]
    pub require_token: bool,
}

impl Default for Imds {
    fn default() -> Self {
        Self {
            require_token: default_require_token(),
        }
    }
}

/// How callers are told apart.
#[derive(Debug, Clone, Deserialize)]
pub struct Attestation {
    /// How much longer than `job.timeout` a container is served.
    #[serde(default = "default_grace_seconds")]
    pub grace_seconds: i64,
}

impl Default for Attestation {
    fn default() -> Self {
        Self {
            grace_seconds: default_grace_seconds(),
        }
    }
}

/// One sanctioned use.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Rule {
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Label `runner.id`.
    #[serde(default)]
    pub runner: String,
    /// Host in label `job.url`.
    #[serde(default)]
    pub gitlab: String,
    /// Label `project.id`.
    #[serde(default)]
    pub project: OneOrMany<u64>,
    /// Instead of these: containers of no job.
    pub container: Option<Marker>,
    /// Label `type`.
    #[serde(default = "default_kind")]
    pub kind: OneOrMany<String>,
    /// Label `job.ref`, exact.
    #[serde(default, rename = "ref")]
    pub refs: Option<OneOrMany<String>>,
    /// Image id or digest.
    #[serde(default)]
    pub image: Option<OneOrMany<String>>,
    /// The role for a container that names none.
    pub role: Option<String>,
    /// The roles that `IAM_ROLE` may select beside it.
    #[serde(default)]
    pub selectable: Vec<String>,
    /// `ExternalId` of AssumeRole.
    pub external_id: Option<String>,
    /// What narrows its sessions.
    #[serde(flatten)]
    pub session: Session,
}

/// How the operator marks containers that he starts himself.
#[derive(Debug, Clone, Deserialize)]
pub struct Marker {
    /// `key=value`, a label that the image has not.
    pub label: String,
}

/// What narrows the sessions of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct Session {
    /// `Policy` of AssumeRole.
    #[serde(rename = "session_policy")]
    pub policy: Option<String>,
    /// `PolicyArns` of AssumeRole.
    #[serde(default)]
    pub policy_arns: Vec<String>,
    /// `DurationSeconds` of AssumeRole; absent: that of all rules.
    pub duration_seconds: Option<i32>,
}

/// A value or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// `project = 20`
    One(T),
    /// `project = [20, 21]`
    Many(Vec<T>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

const fn default_port() -> u16 {
    8000
}

fn default_partition() -> String {
    "aws".to_owned()
}

const fn default_session_seconds() -> i32 {
    3600
}

const fn default_require_token() -> bool {
    true
}

const fn default_grace_seconds() -> i64 {
    600
}

fn default_kind() -> OneOrMany<String> {
    OneOrMany::One("build".to_owned())
}

impl Config {
    /// What the environment says where there is no file: `PORT`, `DOCKER_HOST`, `AWS_REGION`, `AWS_ENDPOINT_URL_STS`, `DEFAULT_ACCOUNT_ID`.
    #[must_use]
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let port = variable("PORT").and_then(|port| port.parse().ok());
        Self {
            listen: Listen {
                port: port.unwrap_or_else(default_port),
            },
            engine: Engine {
                socket: variable("DOCKER_HOST"),
            },
            aws: Aws {
                // Without one, only ARNs name roles.
                account: variable("DEFAULT_ACCOUNT_ID").unwrap_or_default(),
                region: variable("AWS_REGION").unwrap_or_else(|| "us-east-1".to_owned()),
                partition: default_partition(),
                sts_endpoint: variable("AWS_ENDPOINT_URL_STS"),
                session_seconds: default_session_seconds(),
            },
            imds: Imds::default(),
            // Nothing says how long a container may be served after its job, so not at all.
            attestation: Attestation { grace_seconds: 0 },
            rules: Vec::new(),
            by_variable: true,
        }
    }

    /// Reads and parses `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a proxy configuration.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_the_environment_says_what_other_proxies_read_there() {
        let config = Config::of_environment(|name| match name {
            "PORT" => Some("8001".to_owned()),
            "DOCKER_HOST" | "AWS_REGION" => Some(name.to_lowercase()),
            _ => None,
        });
        assert!(config.by_variable && config.rules.is_empty());
        assert_eq!(config.listen.port, 8001);
        assert_eq!(config.engine.socket.as_deref(), Some("docker_host"));
        assert_eq!(
            (config.aws.region.as_str(), config.aws.account.as_str()),
            ("aws_region", "")
        );
        assert_eq!(Config::of_environment(|_| None).listen.port, 8000);
    }

    #[test]
    fn the_production_file_is_understood_and_what_is_not_needed_ignored() {
        let config: Config = toml::from_str(
            r#"
            [listen]
            port = 0
            metrics = "unix:/run/metadata-proxy/metrics.sock"
            [engine]
            socket = "unix:///var/run/docker.sock"
            [aws]
            account = "123456789012"
            region = "eu-central-1"
            [attestation]
            self_test = true
            [[rule]]
            name = "deploy"
            runner = "Ab3dEf9_x"
            gitlab = "gitlab.example.com"
            project = [20, 21]
            ref = ["main"]
            role = "deploy"
            session_policy = '{"Statement":[]}'
            duration_seconds = 900
            "#,
        )
        .unwrap();
        assert_eq!(config.listen.port, 0);
        assert_eq!(config.aws.partition, "aws");
        assert_eq!(config.aws.session_seconds, 3600);
        assert!(config.imds.require_token);
        assert_eq!(config.rules[0].project.as_slice(), [20, 21]);
        assert_eq!(config.rules[0].kind.as_slice(), ["build"]);
        assert_eq!(config.rules[0].session.duration_seconds, Some(900));
        assert_eq!(config.rules[0].session.policy.as_deref(), Some(r#"{"Statement":[]}"#));
    }
}
