//! An instance with a defence in it: the fakes upstream, the proxy or the rules on the host, and what watches them.

mod census;
pub mod control;
mod entrance;
mod external;
mod guard;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use lab::{Capture, CaptureError, Instance, InstanceSpec, Lab, Losses, Place, Process, Program};
use tokio::sync::OnceCell;

use crate::ambient::Ambient;
use crate::case::model::{Case, Defence, Opening};
use crate::compose::{self, InstanceSettings};
use crate::external::External;
use crate::image::{Base, Images};
use crate::kept::Kept;
use crate::oracle::canary::Canaries;
use crate::play::{PlayError, with_causes};
use crate::probe::protocol::READ_MS;
use crate::report::redact::Redactor;
use census::Census;
use control::Control;
pub use entrance::Entrance;
use guard::{Guard, POLICY_FILE, Rules};
pub use standing::Standing;

/// Where the fake STS listens: beside the endpoint, at the far end of the same route.
pub const STS_URL: &str = "http://10.200.0.1:8080";
/// Where the proxy listens; what the common recipes redirect to.
pub const PROXY_PORT: u16 = 8000;
/// How long a program may take to serve. The proxy proves its attestation with a container of its own first.
const SERVING: Duration = Duration::from_secs(30);
/// What the ledger of each fake may take: every request of a run must be in it, or the run is void.
const LEDGER: &str = "256MiB";
/// How long the news of a process's death takes at most.
const NEWS: Duration = Duration::from_secs(2);
/// What upstream answers to: the endpoint in both IP versions, and its siblings for container credentials.
const UPSTREAM: [&str; 5] = [
    "169.254.169.254",
    "fd00:ec2::254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::23",
];

/// Where the same secrets are to be had beside the endpoint: other ports of it, and its siblings, so that a hole there shows.
const SIBLINGS: [&str; 5] = [
    "169.254.169.254:8080",
    "169.254.169.254:51679",
    "169.254.170.2:80",
    "169.254.170.23:80",
    "[fd00:ec2::23]:80",
];

/// Why a stage could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the stage for {standing} cannot be built: {why}")]
pub struct StageError {
    standing: String,
    why: String,
}

impl StageError {
    /// What stood in the way.
    pub fn why(&self) -> &str {
        &self.why
    }
}

/// What every stage of a run shares.
#[derive(Debug)]
pub struct Workshop {
    /// The surroundings.
    pub ambient: Ambient,
    /// The run's lab.
    pub lab: Lab,
    /// Seed of every marker and id.
    pub seed: String,
    /// The job image's layer, gathered once.
    base: OnceCell<Base>,
    /// Takes the stages in when they have been played on, where they shall stay up.
    pub kept: Option<Kept>,
    /// The proxy that is the defence `external`.
    pub external: Option<External>,
    /// What that proxy wrote on all stages so far.
    written: Mutex<String>,
    /// Its image, where it is one.
    proxy_image: OnceCell<bytes::Bytes>,
}

impl Workshop {
    /// With nothing built yet; `keep` is whether stages and containers stay up after they have been played on.
    pub fn new(ambient: Ambient, lab: Lab, seed: String, keep: bool) -> Self {
        Self {
            ambient,
            lab,
            seed,
            base: OnceCell::new(),
            kept: keep.then(Kept::default),
            external: None,
            written: Mutex::default(),
            proxy_image: OnceCell::new(),
        }
    }

    /// What the external proxy wrote on all stages so far, secrets taken out.
    pub fn proxy_log(&self) -> String {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds what it wrote on a stage.
    pub(crate) fn keep_log(&self, stage: &Stage) {
        if stage.standing.own() != Defence::External {
            return;
        }
        let cases: Vec<&str> = stage.cases.iter().map(|case| case.id.as_str()).collect();
        let text = format!("== {}\n{}", cases.join(" "), stage.proxy_log());
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&text);
    }
}

/// An instance, ready for jobs.
pub struct Stage {
    /// What it stands for.
    pub standing: Standing,
    /// The surroundings.
    pub ambient: Ambient,
    /// Its engine.
    pub docker: Docker,
    /// Job images on that engine.
    pub images: Images,
    /// Every marker of this stage.
    pub canaries: Arc<Canaries>,
    /// Takes them out of what people see.
    pub redactor: Arc<Redactor>,
    /// Containers and networks stay when a case has been played.
    pub keeps: bool,
    /// What is played on it.
    cases: Vec<Case>,
    instance: Instance,
    imds: Control,
    sts: Control,
    processes: Vec<Process>,
    guard: Guard,
    capture: Capture,
    census: Census,
    probe: PathBuf,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

impl Stage {
    /// Builds an instance for these cases. Nothing of it stays if that fails.
    ///
    /// # Errors
    /// What could not be built, in the words of who refused.
    pub async fn build(workshop: &Workshop, standing: Standing, cases: &[&Case]) -> Result<Self, StageError> {
        let failed = |what: &str, error: &dyn std::error::Error| StageError {
            standing: standing.label(),
            why: format!("{what}: {}", with_causes(error)),
        };
        let addresses: Vec<IpAddr> = UPSTREAM.iter().filter_map(|address| address.parse().ok()).collect();
        let mut spec = InstanceSpec::new("scenarios", addresses);
        // For each container on a bridge with IPv6 the engine runs itself three times more, which is a fifth of what a container costs.
        if !cases.iter().any(|case| case.default_bridge_ipv6) {
            spec.default_bridge_v6 = None;
        }
        let instance = workshop
            .lab
            .instance(&spec)
            .await
            .map_err(|error| failed("the instance", &error))?;
        let capture = instance.capture().map_err(|error| failed("the capture", &error))?;
        let programs = &workshop.ambient.programs;
        let state = instance.state_dir().to_owned();
        let file = |name: &str, text: &str| {
            let path = state.join(name);
            std::fs::write(&path, text)
                .map(|()| path)
                .map_err(|error| failed(name, &error))
        };

        let settings = InstanceSettings::of(standing.own());
        let world = file("world.toml", &compose::world(cases, &settings, standing.opening()))?;
        let (sts_socket, imds_socket) = (state.join("sts.sock"), state.join("imds.sock"));
        let unix = |path: &PathBuf| format!("unix:{}", path.display());
        let sts_program = Program::new(programs.join("fake-sts"))
            .args([
                "--listen",
                STS_URL.trim_start_matches("http://"),
                "--control",
                &unix(&sts_socket),
            ])
            .args(match standing.opening() {
                Some(Opening::Sts(check)) => vec!["--skip-check", check],
                Some(Opening::Role(_) | Opening::Runner(_)) | None => Vec::new(),
            })
            .args(["--seed", &workshop.seed, "--world"])
            .arg(&world);
        let imds_program = Program::new(programs.join("fake-imds"))
            .args([
                "--listen",
                "169.254.169.254:80",
                "--listen",
                "[fd00:ec2::254]:80",
                "--control",
                &unix(&imds_socket),
            ])
            .args(SIBLINGS.iter().flat_map(|address| ["--listen", address]))
            .args([
                "--sts-control",
                &unix(&sts_socket),
                "--seed",
                &workshop.seed,
                "--profile",
                "lenient",
                "--world",
            ])
            .arg(&world);
        let mut processes = Vec::new();
        for (program, listeners) in [(sts_program, 2), (imds_program, 3 + SIBLINGS.len())] {
            let program = program.args(["--ledger", LEDGER]);
            let process = instance
                .spawn(Place::Upstream, &program)
                .map_err(|error| failed("a fake", &error))?;
            process
                .wait_for_lines("listening on", listeners, SERVING)
                .await
                .map_err(|error| failed("a fake", &error))?;
            processes.push(process);
        }
        let imds = Control::new("imds", &imds_socket).map_err(|error| failed("fake-imds", &error))?;
        let sts = Control::new("sts", &sts_socket).map_err(|error| failed("fake-sts", &error))?;
        let mut markers: BTreeMap<String, String> =
            imds.canaries().await.map_err(|error| failed("fake-imds", &error))?;
        markers.extend(sts.canaries().await.map_err(|error| failed("fake-sts", &error))?);

        let probe = programs.join("probe");
        let base = workshop
            .base
            .get_or_try_init(|| Base::gather(&probe))
            .await
            .map_err(|error| failed("the job image", &error))?;
        let mut stage = Self {
            ambient: workshop.ambient.clone(),
            docker: instance.docker(),
            census: Census::begin(instance.docker()),
            images: Images::new(instance.docker(), base.clone()),
            canaries: Arc::new(Canaries::new(&markers)),
            redactor: Arc::new(Redactor::new(&markers)),
            keeps: workshop.kept.is_some(),
            cases: cases.iter().map(|case| (*case).clone()).collect(),
            instance,
            imds,
            sts,
            processes,
            guard: Guard::default(),
            capture,
            probe,
            standing: standing.clone(),
        };
        if let Err(error) = stage.raise_defence(workshop).await {
            stage.strike().await;
            return Err(StageError {
                standing: standing.label(),
                why: error.to_string(),
            });
        }
        Ok(stage)
    }

    async fn raise_defence(&mut self, workshop: &Workshop) -> Result<(), PlayError> {
        let weak = match &self.standing {
            Standing::Defence(defence) | Standing::InPlaceOf(defence, _) | Standing::Opened(defence, _) => {
                if matches!(defence, Defence::Firewall | Defence::FirewallAndProxy | Defence::Oidc) {
                    self.guard.rules.push(Rules::Firewall);
                    self.change_rules("apply").await?;
                }
                if defence.like() != Defence::Proxy {
                    return Ok(());
                }
                None
            }
            Standing::Weak(hole) => Some(vec!["--hole".to_owned(), hole.clone()]),
            Standing::Closed => Some(Vec::new()),
        };
        let external = (self.standing.own() == Defence::External).then(|| {
            let named = workshop.external.as_ref();
            named.ok_or_else(|| PlayError::Lab {
                what: "starting the proxy under test".to_owned(),
                why: "none is named".to_owned(),
            })
        });
        let external = external.transpose()?;
        let programs = &workshop.ambient.programs;
        let state = self.instance.state_dir();
        let text = self.policy_text(|_, _| false);
        let config = state.join(POLICY_FILE);
        std::fs::write(&config, &text).map_err(|error| PlayError::lab(POLICY_FILE, &error))?;
        // The host is closed but for the real proxy's own cgroup, and others run in another.
        let open = state.join("open-host.toml");
        std::fs::write(&open, format!("{text}\n[firewall]\nhost = \"open\"\n"))
            .map_err(|error| PlayError::lab("open-host.toml", &error))?;
        let real = || {
            Program::new(programs.join("metadata-proxy"))
                .env("AWS_ENDPOINT_URL_STS", STS_URL)
                .env("AWS_REGION", crate::cast::REGION)
        };
        let is_real = weak.is_none() && external.is_none();
        let rules_file = if is_real { config.clone() } else { open };
        let rules = |verb| real().args(["firewall", verb, "--config"]).arg(&rules_file);
        let program = match (external, weak) {
            (Some(external), _) => {
                let rules = external.documented_rules().unwrap_or_else(|| Rules::proxy(rules));
                external.bring(workshop, &self.docker).await?;
                self.guard.client = external.handle(&workshop.ambient, &self.instance.docker_host());
                let program = external.program(&workshop.ambient, &self.instance.docker_host());
                let program = program.map_err(|error| PlayError::lab("starting the proxy under test", &error))?;
                self.guard.rules.push(rules);
                self.change_rules("apply").await?;
                self.guard.is_external = true;
                program
            }
            (None, None) => {
                self.guard.rules.push(Rules::proxy(rules));
                // As a service manager runs it: what else runs on the host is not taken for it.
                real().service("metadata-proxy").args(["run", "--config"]).arg(&config)
            }
            (None, Some(switches)) => {
                // The rules are the real proxy's own, unless the hole is in the rules.
                if !switches.iter().any(|switch| RULE_HOLES.contains(&switch.as_str())) {
                    self.guard.rules.push(Rules::proxy(rules));
                    self.change_rules("apply").await?;
                }
                Program::new(programs.join("weak-proxy"))
                    .env("AWS_ENDPOINT_URL_STS", STS_URL)
                    .env("AWS_REGION", crate::cast::REGION)
                    .arg("--config")
                    .arg(&config)
                    .args(switches)
            }
        };
        self.guard.program = Some(program);
        self.signal_proxy("start").await
    }

    /// How long an answer is waited for, in milliseconds. Where a hop limit eats answers nothing comes, however long one waits.
    pub fn patience(&self) -> u64 {
        match self.standing.own() {
            Defence::HopLimit | Defence::HopLimitV1 => 1000,
            Defence::None
            | Defence::Firewall
            | Defence::HopLimit2
            | Defence::InstanceProfile
            | Defence::Proxy
            | Defence::FirewallAndProxy
            | Defence::Oidc
            | Defence::OidcOnly
            | Defence::External => READ_MS,
        }
    }

    /// How many containers were started here so far, the proxy's own among them.
    pub fn containers(&self) -> usize {
        self.census.started()
    }

    /// The control listener of a fake.
    pub fn fake(&self, service: &str) -> &Control {
        if service == "imds" { &self.imds } else { &self.sts }
    }

    /// Whether the engine has died; a scenario during which it did has learnt nothing. In `doubt` (a request to it failed) its death may not be known
    /// yet, and is waited for a moment.
    pub async fn engine_died(&self, doubt: bool) -> bool {
        let mut states = self.instance.watch_engine();
        let patience = if doubt { NEWS } else { Duration::ZERO };
        let died = tokio::time::timeout(patience, states.wait_for(|state| !state.alive))
            .await
            .is_ok();
        died || !self.instance.engine_alive()
    }

    /// Runs the probe once in one of the instance's network namespaces and gives what it prints.
    ///
    /// # Errors
    /// When it cannot be run to its end in time.
    pub async fn run_probe(&self, place: Place, input: Vec<u8>, within: Duration) -> Result<Vec<u8>, PlayError> {
        let program = Program::new(&self.probe).arg("serve").stdin(input);
        let output = self
            .instance
            .run(place, &program, within)
            .await
            .map_err(|error| PlayError::lab("the probe", &error))?;
        Ok(output.stdout)
    }

    /// The host-side interfaces of a container, by the engine's process id for it.
    ///
    /// # Errors
    /// When the container is gone.
    pub fn interfaces_of(&self, pid: u32) -> Result<Vec<u32>, PlayError> {
        // A program is asked, in a few milliseconds: other scenarios go on meanwhile.
        let interfaces = tokio::task::block_in_place(|| self.instance.interfaces_of(pid));
        interfaces.map_err(|error| PlayError::lab("the container's interfaces", &error))
    }

    /// Which markers crossed each of these interfaces up to now, in either direction.
    ///
    /// # Errors
    /// When the capture failed or lost frames: evidence of absence would be worth nothing.
    pub async fn markers_on_wires(
        &self,
        interfaces: &BTreeSet<u32>,
    ) -> Result<BTreeMap<u32, BTreeSet<String>>, PlayError> {
        let failed = |error: CaptureError| PlayError::lab("the capture", &error);
        let mut seen: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for interface in interfaces {
            let found = seen.entry(*interface).or_default();
            for stream in self.capture.streams_of(*interface).await.map_err(failed)? {
                found.extend(self.canaries.find(&stream.bytes));
                for conflict in &stream.conflicts {
                    found.extend(self.canaries.find(&conflict.bytes));
                }
            }
            for frame in self
                .capture
                .frames_of(*interface)
                .await
                .map_err(failed)?
                .iter()
                .filter(|frame| frame.segment().is_none())
            {
                found.extend(self.canaries.find(&frame.bytes));
            }
        }
        let losses = self.capture.losses();
        if losses != Losses::default() {
            return Err(PlayError::Lab {
                what: "the capture".to_owned(),
                why: format!("frames are lost: {losses:?}"),
            });
        }
        Ok(seen)
    }

    /// Takes everything down. What cannot be taken down now is swept by the next run.
    pub async fn strike(self) {
        let Self {
            instance,
            processes,
            guard,
            ..
        } = self;
        drop(guard);
        drop(processes);
        if let Err(error) = instance.teardown().await {
            tracing::warn!(
                error = with_causes(&error),
                "an instance was not taken down whole; the next run sweeps it"
            );
        }
    }
}

/// Switches of weak-proxy that concern the firewall rules: there it brings its own.
const RULE_HOLES: [&str; 7] = [
    "docker0-only-rules",
    "ipv4-only-rules",
    "tcp80-only-rules",
    "endpoint-only-rules",
    "output-only-rules",
    "rules-removed-on-exit",
    "whole-network-trusted",
];
