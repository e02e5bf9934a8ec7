//! Puts the parts together and serves, from a configuration to SIGTERM. Decides nothing about requests.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::ambient;
use crate::attest::{KernelAttestor, StartError};
use crate::audit::{self, AuditLog, Sink};
use crate::caller::Attestor;
use crate::config::{Audit, Config, Control, HostAccess, Shared};
use crate::control::{self, Order, Peer, Reply};
use crate::credentials::{AssumeRole, Cache, NoBase, Sts};
use crate::engine::{Engine, EngineError};
use crate::firewall::{self, CONTAINER_ENDPOINT, Difference, ENDPOINTS, FirewallError, HostPlan, Plan};
use crate::health::{Health, Phase, SelfTest};
use crate::instance::{Imds, Instance, NoEndpoint};
use crate::metrics::{self, BindFault, Metrics};
use crate::policy::Policy;
use crate::reload::{self, Loaded, Origin, Unusable};
use crate::selftest::{self, SelfTestError};
use crate::serve::{
    self, Accept as _, CONNECTIONS_MAX, CONNECTIONS_OF_ONE, Counts, InForce, ListenFault, Listener, Service, Terms,
};
use crate::token::Tokens;
use crate::watch::FileWatch;

/// Between two looks at the rules. Until then a job without redirect meets the routing's black hole, never the real endpoint.
const VERIFY_EVERY: Duration = Duration::from_secs(5);
/// How long the last audit records may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Files that the process needs beside connections: each container costs a few.
const FILES_BESIDE: u64 = 16_384;

/// Why the proxy does not serve.
#[derive(Debug, Error)]
pub enum RunError {
    /// The proxy's port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenFault),
    /// Metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] BindFault),
    /// The engine does not answer.
    #[error("the container engine cannot be used")]
    Engine(#[from] EngineError),
    /// Callers cannot be told apart here.
    #[error("callers cannot be attested on this machine")]
    Attest(#[from] StartError),
    /// The firewall cannot be read or written.
    #[error("the firewall cannot be managed")]
    Firewall(#[from] FirewallError),
    /// The rules were applied and are not there.
    #[error("the firewall is not as it was applied: {}", list(differences))]
    NotApplied {
        /// What differs.
        differences: Vec<Difference>,
    },
    /// The proof failed that callers can be told apart.
    #[error("the self-test failed")]
    SelfTest(#[from] SelfTestError),
    /// The client of the real endpoint cannot be made.
    #[error(transparent)]
    Endpoint(#[from] NoEndpoint),
    /// There are no credentials to ask STS with.
    #[error(transparent)]
    Base(#[from] NoBase),
    /// Decisions cannot be recorded.
    #[error("cannot write audit records to {path}")]
    Audit {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No orders can be taken where the operator wants to give them.
    #[error("cannot make the socket {path} for orders")]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something of the operating system.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

fn list(differences: &[Difference]) -> String {
    differences
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl RunError {
    fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}

/// Serves until SIGTERM or SIGINT, and reads `origin` again on SIGHUP. `announce` prints a line to stdout.
///
/// # Errors
/// When the proxy cannot start; it then serves nobody.
pub async fn run(loaded: &Loaded, origin: &Origin, announce: impl Fn(&str)) -> Result<(), RunError> {
    let config = &loaded.config;
    let stop = CancellationToken::new();
    follow_signals(stop.clone())?;
    // From the first moment: unheard, the signal would end the process. Until it serves, it waits.
    let hangup = signal(SignalKind::hangup()).map_err(RunError::system("wait for SIGHUP"))?;
    let watch = config.reload.watch.then(|| FileWatch::new(&origin.path)).transpose();
    let watch = watch.map_err(RunError::system("watch the configuration"))?;
    raise_file_limit();
    let clock = ambient::clock();
    let metrics = Metrics::new();
    let health = Arc::new(Health::new(config.firewall.manage));
    // The rules come before everything that can fail: a port that is taken or an engine that is down must not leave the endpoint open
    // (NET-13). Only where any free port will do must the port be found first.
    let mut listeners = match NonZeroU16::new(config.listen.port) {
        Some(port) => {
            close_endpoint(config, Plan::new(port), &metrics, &health, &stop).await?;
            Listener::bind(port.get())?
        }
        None => {
            let listeners = Listener::bind(0)?;
            close_endpoint(config, plan_for(&listeners)?, &metrics, &health, &stop).await?;
            listeners
        }
    };
    // Before everything that takes time, so that a proxy that does not come up says what it waits for.
    if let Some(address) = &config.listen.metrics {
        let place = metrics::serve(address, Arc::clone(&metrics), Arc::clone(&health), stop.clone()).await?;
        tracing::info!(%place, "serving metrics and health");
    }
    let engine = Engine::connect(&config.engine.socket, config.engine.tls.as_ref()).await?;
    let mut endpoints = ENDPOINTS.to_vec();
    if config.container_credentials.enabled {
        endpoints.push(CONTAINER_ENDPOINT);
    }
    let mut attestor = KernelAttestor::start(engine.clone(), &endpoints, stop.clone()).await?;
    if config.bridges.shared == Shared::Filter {
        attestor = attestor.guard_sources(stop.clone()).await;
    }
    let watched = attestor.clone();
    health.follow_engine(move || watched.is_in_step());
    if config.attestation.self_test {
        prove(&engine, &attestor, &mut listeners).await?;
        health.tell_self_test(SelfTest::Passed);
    } else {
        health.tell_self_test(SelfTest::Skipped);
    }
    let sts = Sts::new(&config.aws, &clock, ambient::variable)?;
    let credentials = Cache::new(
        sts,
        clock.clone(),
        u64::from_ne_bytes(ambient::random()),
        config.credentials.rates,
        Arc::new((Arc::clone(&metrics), Arc::clone(&health))),
    );
    let instance = Instance::new(Imds::new(&clock)?);
    let arrivals = attestor.arrivals();
    let (audit, audit_thread) = start_audit(config, &metrics)?;
    let service = Arc::new(Service {
        attestor,
        policy: InForce::new(Policy::new(config)),
        terms: Terms {
            tokens: Tokens::new(ambient::random()),
            region: config.aws.region.to_string(),
            container_endpoint: config.container_credentials.enabled,
            started: clock.now(),
        },
        credentials,
        instance,
        clock,
        nonce: Box::new(ambient::random),
        audit,
        metrics,
        containers: Counts::new(CONNECTIONS_OF_ONE),
    });
    if config.credentials.prefetch {
        tokio::spawn(serve::prepare(Arc::clone(&service), arrivals, stop.clone()));
    }
    take_orders(config, &service, &stop)?;
    for listener in &listeners {
        let address = listener
            .address()
            .map_err(RunError::system("read the listening address"))?;
        announce(&format!("listening on http://{address}"));
    }
    health.tell_phase(Phase::Serving);
    let stopping = async {
        stop.cancelled().await;
        health.tell_phase(Phase::Stopping);
    };
    tokio::join!(
        stopping,
        follow_file(
            hangup,
            watch,
            loaded,
            origin,
            Arc::clone(&service),
            stop.clone(),
            &announce
        ),
        serve::run(service, listeners, stop.clone())
    );
    // Nobody is answered any more, and the addresses of containers that end now will belong to others.
    if config.bridges.shared == Shared::Filter
        && let Err(error) = firewall::remove_sources().await
    {
        tracing::warn!(%error, "the filter of bridges stays until it lapses");
    }
    // Every holder of the log is gone now, so that the thread ends after the last line.
    let ended = tokio::task::spawn_blocking(move || audit_thread.join());
    if tokio::time::timeout(FAREWELL, ended).await.is_err() {
        tracing::warn!("audit records are lost: nobody reads them");
    }
    Ok(())
}

/// Obeys an operator from here on, where the configuration says so. The service is held weakly: audit ends with the last who serves.
fn take_orders<A: Attestor, S: AssumeRole>(
    config: &Config,
    service: &Arc<Service<A, S>>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let Some(Control { path, is_stated }) = &config.listen.control else {
        return Ok(());
    };
    let service = Arc::downgrade(service);
    let obey = move |order: Order, peer: Peer| match service.upgrade() {
        Some(service) => service.obey_and_record(&order, peer),
        None => Reply::Refused {
            why: "the proxy is ending".to_owned(),
        },
    };
    match control::serve(path, obey, stop.clone()) {
        Ok(()) => tracing::info!(path = %path.display(), "taking orders"),
        Err(source) if *is_stated => {
            return Err(RunError::Control {
                path: path.clone(),
                source,
            });
        }
        Err(error) => tracing::warn!(%error, path = %path.display(), "no orders can be taken: `revoke` does not work"),
    }
    Ok(())
}

/// The rules for the port that was bound.
fn plan_for(listeners: &[Listener]) -> Result<Plan, RunError> {
    let address = listeners
        .first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable));
    let address = address
        .and_then(Listener::address)
        .map_err(RunError::system("read the listening address"))?;
    let port = NonZeroU16::new(address.port()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable));
    port.map(Plan::new).map_err(RunError::system("read the listening port"))
}

/// Puts the rules in place and looks after them from then on, if that is ours to do.
async fn close_endpoint(
    config: &Config,
    plan: Plan,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    if config.firewall.manage {
        let rules = Rules {
            plan: plan.with_container_endpoint(config.container_credentials.enabled),
            host: match &config.firewall.host {
                HostAccess::Closed { cgroups } => Some(HostPlan::new(cgroups)?.with_itself()?),
                HostAccess::Open => None,
            },
        };
        rules.apply().await?;
        let differences = rules.verify().await?;
        if !differences.is_empty() {
            return Err(RunError::NotApplied { differences });
        }
        health.tell_verified(true);
        tokio::spawn(keep_firewall(
            rules,
            Arc::clone(metrics),
            Arc::clone(health),
            stop.clone(),
        ));
    }
    Ok(())
}

/// All the rules of a running proxy.
#[derive(Debug)]
struct Rules {
    plan: Plan,
    /// For the host's own processes; absent: all may ask.
    host: Option<HostPlan>,
}

impl Rules {
    async fn apply(&self) -> Result<(), FirewallError> {
        firewall::apply(self.plan).await?;
        match &self.host {
            Some(host) => firewall::close_host(host).await,
            None => firewall::open_host().await,
        }
    }

    async fn verify(&self) -> Result<Vec<Difference>, FirewallError> {
        let mut differences = firewall::verify(self.plan).await?;
        if let Some(host) = &self.host {
            differences.extend(firewall::verify_host(host).await?);
        }
        Ok(differences)
    }
}

/// Looks at the rules again and again, and repairs what somebody changed (P18).
async fn keep_firewall(rules: Rules, metrics: Arc<Metrics>, health: Arc<Health>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(VERIFY_EVERY) => {}
        }
        match rules.verify().await {
            Ok(differences) if differences.is_empty() => health.tell_verified(true),
            Ok(differences) => {
                health.tell_verified(false);
                tracing::error!(
                    differences = list(&differences),
                    "the firewall is not as planned; repairing it"
                );
                metrics.count_repair();
                if let Err(error) = rules.apply().await {
                    tracing::error!(%error, "the firewall cannot be repaired");
                }
            }
            Err(error) => tracing::error!(%error, "the firewall cannot be verified"),
        }
    }
}

/// Proves that callers can be told apart, before anybody is served.
async fn prove(engine: &Engine, attestor: &KernelAttestor, listeners: &mut [Listener]) -> Result<(), RunError> {
    let Some(first) = listeners.first_mut() else {
        return Ok(());
    };
    let [endpoint, _] = ENDPOINTS;
    let mut nonce = String::new();
    for byte in ambient::random::<16>() {
        let _infallible = write!(nonce, "{byte:02x}");
    }
    selftest::prove(engine, attestor, async || first.accept().await, endpoint, &nonce).await?;
    tracing::info!("self-test passed: the kernel tells callers apart");
    Ok(())
}

fn follow_signals(stop: CancellationToken) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::system("wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::system("wait for SIGINT"))?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; firewall rules stay in place");
        stop.cancel();
    });
    Ok(())
}

/// Reads the configuration again at each SIGHUP, and when the file has changed if the operator wants that: its rules take the place of
/// those in force, or nothing changes at all.
async fn follow_file<A: Attestor, S: AssumeRole>(
    mut hangup: Signal,
    mut watch: Option<FileWatch>,
    loaded: &Loaded,
    origin: &Origin,
    service: Arc<Service<A, S>>,
    stop: CancellationToken,
    announce: &impl Fn(&str),
) {
    let Loaded { config, warnings } = loaded;
    let mut known = warnings.clone();
    loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = hangup.recv() => if received.is_none() { return },
            () = changed => tracing::info!("the configuration file has changed"),
        }
        let Some(new) = read_again(config, origin) else {
            service.metrics.count_reload(false);
            announce("policy not reloaded: the one of before stays in force");
            continue;
        };
        let Loaded { config: new, warnings } = new;
        for warning in warnings.iter().filter(|warning| !known.contains(warning)) {
            tracing::warn!("{warning}");
        }
        known = warnings;
        let replaced = service.replace_policy(&new);
        tracing::info!(
            rules = replaced.rules,
            withdrawn = replaced.withdrawn.join(", "),
            forgotten = replaced.forgotten,
            "the policy is replaced"
        );
        service.metrics.count_reload(true);
        announce(&format!("policy reloaded: {} in force", count(replaced.rules, "rule")));
    }
}

/// The configuration as it is now, if it can take over. Faults are told in the words of `check`.
fn read_again(config: &Config, origin: &Origin) -> Option<Loaded> {
    match origin.read() {
        Ok(new) => match reload::compare(config, &new.config) {
            Ok(()) => return Some(new),
            Err(needs_restart) => tracing::error!("{}: {needs_restart}", origin.path.display()),
        },
        Err(Unusable::Faulty(faults)) => faults.0.iter().for_each(|fault| tracing::error!("{fault}")),
        Err(unreadable @ Unusable::Unreadable { .. }) => {
            tracing::error!(cause = unreadable.source().map(ToString::to_string), "{unreadable}");
        }
    }
    None
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn start_audit(config: &Config, metrics: &Arc<Metrics>) -> Result<(AuditLog, std::thread::JoinHandle<()>), RunError> {
    let sink: Sink = match &config.audit {
        Audit::Stdout => Box::new(io::stdout()),
        Audit::File(path) => audit::open(path).map_err(|source| RunError::Audit {
            path: path.clone(),
            source,
        })?,
    };
    let metrics = Arc::clone(metrics);
    AuditLog::start(sink, move || metrics.lose_record()).map_err(RunError::system("start the audit thread"))
}

/// Takes as many open files as the system gives without asking an administrator. Fewer is no fault: accepting waits then.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(CONNECTIONS_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(FILES_BESIDE);
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|now| now < current)
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(current),
                ..limit
            },
        )
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
