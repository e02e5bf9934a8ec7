//! Puts the parts together and serves, from a configuration to SIGTERM. Decides nothing about requests.

mod fault;
mod proving;
mod reloading;
mod revoked;
mod rules;

use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use fault::RunError;
use proving::{Proofs, prove};
use reloading::{Occasions, follow_file, status};
use rules::{close_endpoint, port_of};

use crate::ambient;
use crate::attest::KernelAttestor;
use crate::audit::{self, AuditLog, Sink};
use crate::caller::Attestor;
use crate::config::{Audit, Config, Control, Shared};
use crate::control::{self, Order, Peer, Reply};
use crate::credentials::{AssumeRole, Cache, Sts, write_time};
use crate::engine::Engine;
use crate::firewall::{self, CONTAINER_ENDPOINT, ENDPOINTS};
use crate::gitlab::{Servers, Verdicts};
use crate::health::{Health, Phase};
use crate::instance::{Imds, Instance};
use crate::metrics::{self, Metrics};
use crate::policy::Policy;
use crate::reload::{Loaded, Origin};
use crate::selftest::Canary;
use crate::serve::{self, CONNECTIONS_MAX, CONNECTIONS_OF_ONE, Counts, InForce, Listener, Service, Standings, Terms};
use crate::supervisor::{Supervisor, Word};
use crate::token::Tokens;
use crate::upstream;
use crate::watch::FileWatch;

/// Between two looks for callers who have fallen silent while records of theirs were left out.
const SETTLE_EVERY: Duration = Duration::from_secs(30);
/// How long the last audit records may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Files that the process needs beside connections: each container costs a few.
const FILES_BESIDE: u64 = 16_384;

/// Serves until SIGTERM or SIGINT, and reads `origin` again on SIGHUP. `announce` prints a line to stdout.
///
/// # Errors
/// When the proxy cannot start; it then serves nobody.
pub async fn run(loaded: &Loaded, origin: &Origin, announce: impl Fn(&str)) -> Result<(), RunError> {
    let config = &loaded.config;
    let supervisor = Supervisor::find(ambient::variable, std::process::id());
    let stop = CancellationToken::new();
    follow_signals(stop.clone())?;
    // From the first moment: unheard, the signal would end the process. Until it serves, it waits.
    let hangup = signal(SignalKind::hangup()).map_err(RunError::system("wait for SIGHUP"))?;
    let watch = config.reload.watch.then(|| FileWatch::new(&origin.path)).transpose();
    let watch = watch.map_err(RunError::system("watch the configuration"))?;
    raise_file_limit();
    let clock = ambient::clock();
    let metrics = Metrics::new();
    let health = Arc::new(Health::new(config.firewall.manage, config.is_observing()));
    // The rules come before everything that can fail: a port that is taken or an engine that is down must not leave the endpoint open
    // (NET-13). Only where any free port will do must the port be found first.
    let mut listeners = match NonZeroU16::new(config.listen.port) {
        Some(port) => {
            close_endpoint(config, port, &metrics, &health, &stop).await?;
            Listener::bind(port.get())?
        }
        None => {
            let listeners = Listener::bind(0)?;
            close_endpoint(config, port_of(&listeners)?, &metrics, &health, &stop).await?;
            listeners
        }
    };
    let (register, mut revocations) = revoked::load(config)?;
    // Before everything that takes time, so that a proxy that does not come up says what it waits for.
    if let Some(address) = &config.listen.metrics {
        let place = metrics::serve(address, Arc::clone(&metrics), Arc::clone(&health), stop.clone()).await?;
        tracing::info!(%place, "serving metrics and health");
    }
    let engine = Engine::connect(&config.engine.socket, config.engine.tls.as_ref()).await?;
    revoked::tidy(&mut revocations, &register, &engine, clock.now()).await?;
    metrics.show_revoked(revocations.iter().count());
    let level = config.attestation.level;
    metrics.show_attestation(level);
    let mut endpoints = ENDPOINTS.to_vec();
    if config.container_credentials.enabled {
        endpoints.push(CONTAINER_ENDPOINT);
    }
    let mut attestor = KernelAttestor::start(engine.clone(), &endpoints, level, stop.clone()).await?;
    if config.bridges.shared == Shared::Filter {
        attestor = attestor.guard_sources(stop.clone()).await;
    }
    let watched = attestor.clone();
    health.follow_engine(move || watched.is_in_step());
    if config.attestation.self_test {
        prove(&engine, &attestor, &mut listeners).await?;
        health.tell_proof(Ok(()));
        metrics.show_proven(clock.now());
    } else {
        health.tell_unproven();
    }
    let http = upstream::client();
    let sts = Sts::new(&config.aws, &clock, &http, ambient::variable)?;
    let (audit, audit_thread) = start_audit(config, &metrics)?;
    let counting = Arc::new((Arc::clone(&metrics), Arc::clone(&health)));
    let credentials = Cache::new(
        sts,
        clock.clone(),
        u64::from_ne_bytes(ambient::random()),
        config.credentials.rates,
        Arc::new((counting, Arc::new(audit.clone()))),
    );
    let instance = Instance::new(Imds::new(&clock, &http)?);
    let verdicts = Verdicts::new(
        &config.gitlab,
        Servers::new(&config.gitlab)?,
        Arc::<Metrics>::clone(&metrics),
    );
    let arrivals = attestor.arrivals();
    let service = Arc::new(Service {
        attestor,
        policy: InForce::new(Policy::new(config), revocations),
        terms: Terms {
            tokens: Tokens::new(ambient::random()),
            region: config.aws.region.to_string(),
            attestation: level,
            container_endpoint: config.container_credentials.enabled,
            started: clock.now(),
        },
        verdicts,
        credentials,
        instance,
        clock: clock.clone(),
        nonce: Box::new(ambient::random),
        audit: audit.clone(),
        metrics,
        containers: Counts::new(CONNECTIONS_OF_ONE),
        standings: Standings::default(),
        canary: Canary::default(),
        register,
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
    if config.is_observing() {
        tracing::warn!("NOTHING IS ENFORCED: what the rules refuse is observed (compat.mode)");
    }
    health.tell_phase(Phase::Serving);
    // Callers who come now wait in the listeners' queues for no longer than it takes to get there.
    supervisor.tell(Word::Ready, Some(&status(config.rules.len()))).await;
    let stopping = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = supervisor.assure(|| health.pulse().stuck()) => {}
        }
        health.tell_phase(Phase::Stopping);
        supervisor.tell(Word::Stopping, Some("letting connections end")).await;
    };
    let now = || write_time(clock.now()).unwrap_or_default();
    let settling = async {
        while !stopped_within(SETTLE_EVERY, &stop).await {
            audit.settle(&now(), false);
        }
    };
    let proofs = config.attestation.self_test_every.map(|every| Proofs {
        engine,
        canary: service.canary.clone(),
        every,
        is_enforcing: !config.is_observing(),
        metrics: Arc::clone(&service.metrics),
        health: Arc::clone(&health),
        audit: audit.clone(),
        clock: clock.clone(),
    });
    let proving = async {
        if let Some(proofs) = proofs {
            proofs.keep(stop.clone()).await;
        }
    };
    tokio::join!(
        stopping,
        settling,
        proving,
        follow_file(
            Occasions { hangup, watch },
            (loaded, origin),
            Arc::clone(&service),
            &supervisor,
            stop.clone(),
            &announce
        ),
        serve::run(service, listeners, health.pulse(), stop.clone())
    );
    // Nobody is answered any more, and the addresses of containers that end now will belong to others.
    if config.bridges.shared == Shared::Filter
        && let Err(error) = firewall::remove_sources().await
    {
        tracing::warn!(%error, "the filter of bridges stays until it lapses");
    }
    audit.settle(&now(), true);
    drop(audit);
    // Every holder of the log is gone now, or as soon as STS has answered, so that the thread ends after the last line.
    let ended = tokio::task::spawn_blocking(move || audit_thread.join());
    if tokio::time::timeout(FAREWELL, ended).await.is_err() {
        tracing::warn!("audit records may be lost: nobody reads them, or STS is still being asked");
    }
    Ok(())
}

/// Waits that long; whether the proxy is to stop meanwhile.
async fn stopped_within(time: Duration, stop: &CancellationToken) -> bool {
    tokio::time::timeout(time, stop.cancelled()).await.is_ok()
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
