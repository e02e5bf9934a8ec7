//! The operator's configuration: `metadata-proxy.toml` as values that can be relied upon. Reads no file and no environment itself.

mod base;
mod compat;
mod engine;
mod fault;
mod gitlab;
mod identity;
mod names;
mod operation;
mod read;
mod refs;
mod rule;
mod session;
mod subject;
mod table;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::caller::Level;
use crate::compat::{Compat, Mode};
use crate::credentials::Rates;
use crate::instance::Leaf;

pub use base::Base;
pub use engine::{Engine, Tls};
pub use fault::{Fault, Faults};
pub use gitlab::{Gitlab, RefType, Verification};
pub use identity::{Identity, TAGS_MAX, TagKey};
pub use names::{
    Account, ExternalId, Home, Host, Image, NameFault, Partition, Ref, Region, Role, Runner, SystemId,
    is_role_character, parse_number,
};
pub use refs::{RefPattern, is_outside};
pub use rule::Rule;
pub use session::{POLICY_ARNS_MAX, PolicyArn, SESSION_POLICIES_MAX, Session, SessionPolicy};
pub use subject::{Jobs, Kind, Marker, RUNNER_PREFIX, Subject};
pub use template::{Field, Style, Template};

/// AWS gives at most one hour to a session that a role's session assumed (role chaining), and an instance profile is such a session.
pub const CHAINED_SESSION_SECONDS: u32 = 3600;

/// Settings of the environment. They fill what the file leaves open and override nothing that it states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `DOCKER_HOST`
    pub docker_host: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`
    pub sts_endpoint: Option<String>,
    /// `AWS_REGION`
    pub region: Option<String>,
    /// `STATE_DIRECTORY`, from systemd
    pub state_directory: Option<String>,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[listen]`
    pub listen: Listen,
    /// `[engine]`
    pub engine: Engine,
    /// `[aws]`
    pub aws: Aws,
    /// `[credentials]`
    pub credentials: Credentials,
    /// `[imds]`
    pub imds: Imds,
    /// `[container_credentials]`
    pub container_credentials: ContainerCredentials,
    /// `[firewall]`
    pub firewall: Firewall,
    /// `[bridges]`
    pub bridges: Bridges,
    /// `[attestation]`
    pub attestation: Attestation,
    /// `[audit]`
    pub audit: Audit,
    /// `[traces]`
    pub traces: Option<Traces>,
    /// `[revocations]`: the file where it is kept who is revoked; None: it is forgotten when the proxy ends.
    pub revocations: Option<PathBuf>,
    /// `[reload]`
    pub reload: Reload,
    /// `[runner]`
    pub runner: RunnerFile,
    /// `[compat]`
    pub compat: Option<Compat>,
    /// `[[gitlab]]`: no two of one host.
    pub gitlab: Vec<Gitlab>,
    /// `[[rule]]`, in the file's order. No two with different outcomes can provably match one container.
    pub rules: Vec<Rule>,
}

impl Config {
    /// Reads a configuration. `file` is only a name for the faults.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn read(file: &str, text: &str, environment: &Environment) -> Result<Self, Faults> {
        read::read(file, text, environment)
    }

    /// Whether what the rules refuse is not refused yet.
    #[must_use]
    pub fn is_observing(&self) -> bool {
        self.compat.as_ref().is_some_and(|compat| compat.mode == Mode::Observe)
    }

    /// What an operator should know although it is no fault.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        // First: nothing else matters as much.
        let mut warnings: Vec<String> = self.compat.iter().flat_map(Compat::warnings).collect();
        if self.aws.session_seconds > CHAINED_SESSION_SECONDS {
            warnings.push(format!(
                "aws.session_seconds is {}: if the proxy's own credentials are a role's session, AWS caps a session at {CHAINED_SESSION_SECONDS} \
                 seconds (role chaining) and refuses longer ones",
                self.aws.session_seconds
            ));
        }
        if self.aws.session_seconds < 1800 {
            warnings.push(format!(
                "aws.session_seconds is {}: credentials will at times be served with less than 15 minutes left, and some SDKs then ask again at every call",
                self.aws.session_seconds
            ));
        }
        warnings.extend(self.rules.iter().flat_map(Rule::warnings));
        warnings.extend(self.warn_of_servers());
        if self.imds.require_token {
            let lenient = self.rules.iter().filter(|rule| !rule.require_token);
            warnings.extend(lenient.map(|rule| {
                format!(
                    "rule {:?} has require_token = false: a request forged through a job's own server (SSRF) gets its credentials",
                    rule.name
                )
            }));
        } else {
            warnings.push(
                "imds.require_token is false: a request forged through a job's own server (SSRF) gets credentials"
                    .to_owned(),
            );
        }
        if !self.firewall.manage {
            warnings.push(
                "firewall.manage is false: nothing here keeps jobs from the real endpoint; see `firewall plan`"
                    .to_owned(),
            );
        }
        if self.bridges.shared == Shared::Allow {
            warnings.push(
                "bridges.shared is \"allow\": a job that shares a bridge with others can take their addresses and read the credentials that \
                 they are answered; give each job a network of its own (FF_NETWORK_PER_BUILD), or leave the filter on"
                    .to_owned(),
            );
        }
        warnings.extend(self.engine.warn_of_transport());
        if self.firewall.host == HostAccess::Open {
            warnings.push(
                "firewall.host is \"open\": host-network containers and rootless engines reach the real endpoint"
                    .to_owned(),
            );
        }
        if self.attestation.level == Level::Netns {
            warnings.push(
                "attestation.level is \"netns\": a connection is taken to be its network namespace's only container's, and nothing says which \
                 process opened it; containers that share a network namespace are all refused"
                    .to_owned(),
            );
        }
        if !self.attestation.self_test {
            warnings.push(
                "attestation.self_test is false: start-up does not prove that callers can be told apart".to_owned(),
            );
        }
        if self.rules.is_empty() && !self.is_observing() {
            warnings.push("there is no rule: every container is refused".to_owned());
        }
        warnings
    }
}

impl Config {
    /// GitLab servers that no rule has asked.
    fn warn_of_servers(&self) -> impl Iterator<Item = String> + '_ {
        let asks = |rule: &Rule, host: &Host| {
            rule.verify.is_some() && rule.subject.jobs().is_some_and(|jobs| jobs.gitlab == *host)
        };
        let unasked = self
            .gitlab
            .iter()
            .filter(move |server| !self.rules.iter().any(|rule| asks(rule, &server.host)));
        unasked.map(|server| {
            format!(
                "no rule of gitlab = \"{}\" has verify = true: its [[gitlab]] is never asked",
                server.host
            )
        })
    }
}

/// Where the proxy listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The port on every address of the host; the firewall redirects the endpoint to it. 0: any free one.
    pub port: u16,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<MetricsAddress>,
    /// Where an operator's orders (`revoke`) are taken, if anywhere.
    pub control: Option<Control>,
}

/// The socket file where orders are taken, made with mode 0600.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Its path.
    pub path: PathBuf,
    /// Whether the operator named it: only then is it a reason not to start that it cannot be made.
    pub is_stated: bool,
}

/// A place that no job can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// A socket file, made with mode 0600.
    Unix(PathBuf),
    /// A loopback address.
    Loopback(SocketAddr),
}

/// What every role has in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// Partition and account of every role.
    pub home: Home,
    /// The region of the STS endpoint, and what `placement/region` answers.
    pub region: Region,
    /// Where the proxy's own credentials come from.
    pub credentials: Base,
    /// The STS endpoint; absent: the SDK's regional one.
    pub sts_endpoint: Option<String>,
    /// `DurationSeconds` of every session, 900 to 43200.
    pub session_seconds: u32,
}

/// How STS is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// How often, at most.
    pub rates: Rates,
    /// Ask as soon as a container starts that will get a role, before it asks itself.
    pub prefetch: bool,
}

/// How the endpoint behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imds {
    /// IMDSv2 only.
    pub require_token: bool,
    /// What containers may read of the instance, unless their rule says otherwise.
    pub paths: BTreeSet<Leaf>,
}

/// The other endpoint at which SDKs look for credentials (`AWS_CONTAINER_CREDENTIALS_FULL_URI`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerCredentials {
    /// Answer at `http://169.254.170.2/v1/credentials`, to an `Authorization` that is a session token of the container.
    pub enabled: bool,
}

/// Who looks after the firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// `run` applies and verifies the rules. It never removes them.
    pub manage: bool,
    /// Which of the host's own processes may ask the endpoint.
    pub host: HostAccess,
}

/// Which of the host's own processes may ask the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAccess {
    /// The proxy, and the cgroups that are named (`/system.slice/amazon-ssm-agent.service`).
    Closed {
        /// cgroup v2 paths from the root of the hierarchy.
        cgroups: Vec<String>,
    },
    /// Every process, those of host-network containers and rootless engines included.
    Open,
}

/// Bridges of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bridges {
    /// Where several jobs share one.
    pub shared: Shared,
}

/// What keeps jobs that share a bridge from reading each other's answers (rule A10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// A filter keeps each container to its own addresses; who is not covered by it is refused.
    Filter,
    /// Nothing: the operator gives each job a network of its own, or takes the risk.
    Allow,
}

/// How callers are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attestation {
    /// By what: a weaker level than the default is the operator's choice, never the proxy's.
    pub level: Level,
    /// A probe container must be attested before the proxy serves.
    pub self_test: bool,
    /// How often the proof is made again while it serves, if at all.
    pub self_test_every: Option<Duration>,
    /// How much longer than `job.timeout` a container is served (rule A11): the runner cleans up after it.
    pub grace: Duration,
}

/// The runner's own `config.toml`, which is examined whenever this configuration is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RunnerFile {
    /// Where packages put it, if it is there.
    #[default]
    Usual,
    /// There, and nowhere else.
    At(PathBuf),
    /// None: the operator knows what is in it.
    Off,
}

/// Where packages put the runner's file.
pub const RUNNER_FILE: &str = "/etc/gitlab-runner/config.toml";

/// What makes the proxy read its configuration again, beside SIGHUP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reload {
    /// A file that has changed.
    pub watch: bool,
}

/// Where spans are sent, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// A collector on this machine: it takes OTLP over HTTP.
    pub collector: SocketAddr,
    /// Where it takes them.
    pub path: String,
    /// Of a hundred requests, so many are traced: 1 to 100.
    pub sample_percent: u8,
}

/// Where decisions are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audit {
    /// One JSON object a line on stdout.
    Stdout,
    /// The same, appended to a file.
    File(PathBuf),
}
