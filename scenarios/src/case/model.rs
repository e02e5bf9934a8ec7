//! A scenario as its author writes it. Data only: what the words mean is in `play`, what is allowed where is in `shape` and `check`.

use std::collections::BTreeMap;

use serde::Deserialize;

pub use super::defence::Defence;
pub use super::external::Question;
pub use super::hole::{Hole, Opening, WeakRole};
pub use super::job::{IdToken, Image, Job, Service, Variable};
use crate::verdict::Expected;

/// One scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The catalogue's number, `ROLE-02`.
    pub id: String,
    /// A few words with hyphens; with the id it names the folder.
    pub name: String,
    /// One line for tables.
    pub title: String,
    /// What the attack or use is, why it works where it works, and what stops it.
    pub doc: String,
    /// Where this is known from.
    #[serde(default)]
    pub references: Vec<String>,
    /// The scenario disturbs its instance, or needs faults that others would feel: it gets one of its own.
    #[serde(default)]
    pub exclusive: bool,
    /// Of an exclusive scenario: its steps take back what they changed on the host and in the engine, so that another can have the instance next.
    #[serde(default)]
    pub restores: bool,
    /// The engine's default bridge has IPv6 too (`ipv6` and `fixed-cidr-v6` in its daemon.json), which it has not by default.
    #[serde(default)]
    pub default_bridge_ipv6: bool,
    /// Roles of this scenario; the world's name for `own` is `<id>-own` in lower case.
    #[serde(default, rename = "role")]
    pub roles: Vec<CaseRole>,
    /// What the operator sanctions.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// The runner's configuration.
    #[serde(default)]
    pub runner: RunnerSection,
    /// User-defined networks that exist before the jobs start.
    #[serde(default, rename = "network")]
    pub networks: Vec<Network>,
    /// The jobs; `[[job]]` a is addressed as `a.build`, `a.predefined`, `a.<service alias>`.
    #[serde(default, rename = "job")]
    pub jobs: Vec<Job>,
    /// What happens, in order.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
    /// What each defence may answer to every attempt that says nothing else.
    pub expect: BTreeMap<Defence, Expected>,
    /// How each defence shows that it works at all; see [`Control`].
    #[serde(default)]
    pub control: BTreeMap<Defence, Control>,
    /// Defences that it is not run against, and why not.
    #[serde(default)]
    pub unasked: BTreeMap<Defence, String>,
    /// What it asks of an external proxy too; all others excuse it of that.
    #[serde(default)]
    pub asks: Vec<Question>,
    /// What opens the hole that this scenario exists for.
    pub hole: Hole,
}

impl Case {
    /// The defences of which the case must say what they may answer: those of the endpoint or, where a case is about STS alone, ID tokens.
    pub fn stated(&self) -> &'static [Defence] {
        let says = |defence: &Defence| self.expect.contains_key(defence);
        if Defence::STATED.iter().any(says) || !says(&Defence::Oidc) {
            &Defence::STATED
        } else {
            &[Defence::Oidc]
        }
    }

    /// Whether the case says anything of a defence, or of one that it is like.
    pub fn is_for(&self, defence: Defence) -> bool {
        self.stated().iter().any(|stated| defence.is_like(*stated))
    }

    /// Whose expectation counts where something else stands in its place.
    pub fn main_defence(&self) -> Defence {
        if self.is_for(Defence::Proxy) {
            Defence::Proxy
        } else {
            Defence::Oidc
        }
    }

    /// What a defence may answer to a step: what the step or the case says of it or, where neither does, what follows from the defence it is like.
    pub fn expected(&self, step: &Step, defence: Defence) -> Expected {
        let like = self.stated().iter().copied().find(|stated| defence.is_like(*stated));
        let like = like.unwrap_or(defence);
        let stated = |defence| step.expect.get(&defence).or_else(|| self.expect.get(&defence));
        // A step's own word on the stated defence goes before the case's general one on the other.
        match (
            step.expect.get(&defence),
            step.expect.get(&like),
            self.expect.get(&defence),
        ) {
            (Some(expected), _, _) | (None, None, Some(expected)) => expected.clone(),
            _ => {
                let derived = stated(like).map(|stated| defence.derive(stated)).unwrap_or_default();
                self.fair(step, defence, derived)
            }
        }
    }
}

impl Step {
    /// Whether the step is taken under a defence.
    pub fn applies(&self, defence: Defence) -> bool {
        defence.is_among(&self.only)
    }
}

/// A role of the simulated account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRole {
    /// The case's own short name.
    pub name: String,
    /// Demanded by the trust policy.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The trust policy denies the instance's role (explicitly).
    #[serde(default)]
    pub untrusting: bool,
    /// Its trust policy, JSON; one that trusts the instance's role when absent.
    #[serde(default)]
    pub trust: Option<String>,
    /// Its identity policy, JSON; none when absent.
    #[serde(default)]
    pub policy: Option<String>,
    /// `MaxSessionDuration`; an hour when absent.
    #[serde(default)]
    pub max_session_seconds: Option<u32>,
}

/// One rule of the operator's policy, for one job's project.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The job whose project the rule is for.
    pub job: String,
    /// Container kinds; `["build"]` when absent.
    #[serde(default)]
    pub kind: Vec<String>,
    /// The sanctioned role's short name.
    #[serde(default)]
    pub role: Option<String>,
    /// Short names that `IAM_ROLE` may select.
    #[serde(default)]
    pub selectable: Vec<String>,
    /// Passed to STS.
    #[serde(default)]
    pub external_id: Option<String>,
    /// Git refs; any when empty.
    #[serde(default, rename = "ref")]
    pub refs: Vec<String>,
    /// Passed to STS: an inline session policy.
    #[serde(default)]
    pub session_policy: Option<String>,
    /// Passed to STS: managed session policies.
    #[serde(default)]
    pub policy_arns: Vec<String>,
    /// Passed to STS; the proxy's own when absent.
    #[serde(default)]
    pub duration_seconds: Option<u32>,
    /// Jobs whose images, by id, are the only ones; any when empty.
    #[serde(default)]
    pub image_of: Vec<String>,
    /// `key=value`: instead of the job's project, containers that the operator starts himself with this label. The job named is then one with raw labels.
    #[serde(default)]
    pub container: Option<String>,
}

/// The `[runner]` table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerSection {
    /// An excerpt of GitLab Runner's `config.toml`: the keys below one `[[runners]]`.
    #[serde(default)]
    pub config: String,
}

/// A user-defined bridge network.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The case's own short name.
    pub name: String,
    /// `com.docker.network.bridge.name`; Docker's choice when absent.
    #[serde(default)]
    pub bridge: Option<String>,
    /// With an IPv6 subnet.
    #[serde(default)]
    pub ipv6: bool,
    /// Its IPv4 subnet; Docker's choice when absent. Fixed addresses need one.
    #[serde(default)]
    pub subnet: Option<String>,
}

/// One step. Which keys an action takes is checked when the case is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Where: `a.build`, a service as `a.db`, `a` for a job, `host` for a process on the instance, `upstream` for another machine, `lab` for the lab itself.
    #[serde(rename = "in")]
    pub place: String,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
    /// Why, for the report.
    pub note: String,
    /// Only under these defences; all when empty.
    pub only: Vec<Defence>,
    /// The step once for each, with `${each}` put in.
    pub each: Vec<String>,
    /// Keeps what came back (a token, a body) as `${saved.NAME}`.
    pub save: Option<String>,
    /// Whether its verdict counts; the action's own default when absent.
    pub attempt: Option<bool>,
    /// Instead of the case's own expectation.
    pub expect: BTreeMap<Defence, Expected>,
    /// `imds`: protocol version, 1 or 2.
    pub version: Option<u8>,
    /// `imds`, `get`, `token`: the host part of the URL; default `169.254.169.254`.
    pub host: Option<String>,
    /// `imds`: asks for this role instead of the first one listed.
    pub role: Option<String>,
    /// `get`: the request target, sent exactly so.
    pub path: Option<String>,
    /// `get`: default GET.
    pub method: Option<String>,
    /// `get`: `own` (a fresh one; the default), `none`, or the token itself.
    pub token: Option<String>,
    /// `get`, `token`: further headers.
    pub headers: Vec<(String, String)>,
    /// `raw`, `send`, `listen`: bytes, with `\r`, `\n`, `\\` and `\xNN` understood.
    pub send: Option<String>,
    /// `raw`, `open`: address and port.
    pub to: Option<String>,
    /// `raw`, `receive`: how long to read, in milliseconds; 3000 when absent.
    pub read_ms: Option<u64>,
    /// `imds`: credentials that live no longer than those saved under this name are not what was asked for.
    pub newer_than: Option<String>,
    /// `sdk`: a role to assume with the credentials found.
    pub assume: Option<String>,
    /// `assume`: credentials saved under this name sign the request.
    pub with: Option<String>,
    /// `assume`: `RoleSessionName`; one that names the job when absent.
    pub session_name: Option<String>,
    /// `assume`: `DurationSeconds`.
    pub duration_seconds: Option<u32>,
    /// `assume`: a session policy. `lint`: the policy to judge.
    pub policy: Option<String>,
    /// `id_token`: the job whose token it looks like.
    pub of: Option<String>,
    /// `id_token`: the issuer that signs; the job's own GitLab when absent.
    pub issuer: Option<String>,
    /// `id_token`: `aud`, instead of the job's.
    pub aud: Vec<String>,
    /// `id_token`: JSON: claims that stand over the job's; null takes one away.
    pub claims: Option<String>,
    /// `id_token`: JSON: parameters that stand over the header's; null takes one away.
    pub header: Option<String>,
    /// `id_token`: the payload, exactly so.
    pub payload: Option<String>,
    /// `id_token`: what stands for a signature: `issuer`, `kept` (of the token that was changed), `nobody` or `public-key`.
    pub signature: Option<String>,
    /// `lint`: the policy is of the role of an instance.
    pub instance: bool,
    /// `lint`: rules that must be among the findings.
    pub finds: Vec<String>,
    /// `rush`: containers that ask at the same time.
    pub places: Vec<String>,
    /// `rush`: how often each asks. `fault`: how many requests meet it; all when absent.
    pub times: Option<u64>,
    /// `expired`: stop that many seconds earlier.
    pub early_seconds: Option<u64>,
    /// `get`, `raw`, `open`: source address, or address and port.
    pub bind: Option<String>,
    /// `open`, `send`, `receive`, `close`, `listen`, `accepted`: the connection's or listener's name. `hold`, `release`: the hold's.
    pub name: Option<String>,
    /// `listen`: address and port.
    pub at: Option<String>,
    /// `accepted`: more connections than that are unexpected.
    pub at_most: Option<u64>,
    /// `ip`: arguments of ip(8) inside the container.
    pub args: Vec<String>,
    /// `give`: the container that takes the connection.
    pub taker: Option<String>,
    /// `connect`, `disconnect`: the network.
    pub network: Option<String>,
    /// `connect`: a fixed address there.
    pub address: Option<String>,
    /// `run`: the program; `args` are its arguments.
    pub program: Option<String>,
    /// `close`: by a reset, not by an orderly end.
    pub reset: bool,
    /// `knock`: `udp` or `icmp`.
    pub protocol: Option<String>,
    /// `proxy`, `engine`, `rules`: what happens to it.
    pub signal: Option<String>,
    /// `proxy` with `reload`: jobs whose rules the operator takes out of the policy.
    pub without: Vec<String>,
    /// `fault`: facts of the request it is for.
    #[serde(rename = "match")]
    pub matching: BTreeMap<String, String>,
    /// `fault`: what happens, as the fakes' control API takes it.
    pub effect: Option<toml::Table>,
    /// `fault`: `sts` (default) or `imds`.
    pub service: Option<String>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A client's whole flow: token, role list, credentials.
    #[default]
    Imds,
    /// One request.
    Get,
    /// The token request.
    Token,
    /// Bytes.
    Raw,
    /// The unmodified AWS SDK: default credential chain, then GetCallerIdentity.
    Sdk,
    /// A harmless request over the route that leads to the endpoint.
    Reach,
    /// Opens a connection that lives across steps.
    Open,
    /// Writes on it.
    Send,
    /// Reads from it.
    Receive,
    /// Closes it.
    Close,
    /// Listens in the container.
    Listen,
    /// Looks who connected to the listener.
    Accepted,
    /// ip(8) in the container.
    Ip,
    /// Starts a `later` job.
    Launch,
    /// Ends a container or a whole job as the runner does: disconnect, remove.
    Remove,
    /// SIGKILL, container stays.
    Kill,
    /// Starts it again.
    Start,
    /// Kills it and starts it again: the same id, another run.
    Restart,
    /// Freezes its processes; it keeps its address.
    Pause,
    /// Lets them go on.
    Unpause,
    /// Gives it another name.
    Rename,
    /// Another process in it, as a web terminal starts one; the steps that follow speak from there.
    Exec,
    /// Moves its first process into a control group below its own that is named after another container.
    Nest,
    /// One datagram: does it reach the address?
    Knock,
    /// A program of the host that changes rules or routes.
    Run,
    /// The rules of the defence are removed or applied.
    Rules,
    /// What happens to the engine.
    Engine,
    /// Joins a network.
    Connect,
    /// Leaves a network.
    Disconnect,
    /// A signal to the proxy.
    Proxy,
    /// A fault of a fake.
    Fault,
    /// Waits until a request is held by the fault of that name.
    Hold,
    /// Lets held answers go.
    Release,
    /// Waits until the credentials saved under `name` have expired.
    Expired,
    /// Several containers go through the client's whole flow at the same time, again and again.
    Rush,
    /// What the entrypoint of an image that asks at once got, in its first moment.
    Began,
    /// Hands an open connection to the process of another container that waits for it, over a volume that both have; both have it then.
    Give,
    /// Waits until the container is older than its job's timeout.
    Outlast,
    /// Asks STS for a role: with a web identity token, or with credentials that an earlier step saved.
    Assume,
    /// Makes an ID token, as GitLab would or as nobody should, and saves it.
    IdToken,
    /// Whether a saved token's time is as short as it should be.
    Lives,
    /// Whether an ID token is in the environment of a container's processes.
    Environment,
    /// Something happens to the issuer's keys.
    Issuer,
    /// Whether the policy linter finds what is wrong with a policy.
    Lint,
}

impl Action {
    /// Whether its verdict counts unless the step says otherwise.
    pub const fn is_attempt(self) -> bool {
        matches!(
            self,
            Self::Imds
                | Self::Get
                | Self::Token
                | Self::Raw
                | Self::Sdk
                | Self::Receive
                | Self::Accepted
                | Self::Knock
                | Self::Rush
                | Self::Began
                | Self::Assume
                | Self::Lives
                | Self::Environment
                | Self::Lint
        )
    }
}

/// How a scenario shows, before and after its attempts, that the defence works at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// In each attempting container the sanctioned request works.
    Sanctioned,
    /// A twin job of the same project, without the attack's ingredients, gets its sanctioned role; the attempting containers reach a neighbour of the endpoint.
    Twin,
    /// The attempting containers reach a neighbour of the endpoint on the same route.
    Reach,
    /// The sanctioned request works before; afterwards (the step broke the proxy on purpose) only the neighbour is asked.
    SanctionedBefore,
}
