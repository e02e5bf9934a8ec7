//! Puts the parts together and serves, from a configuration to SIGTERM. Decides nothing about requests.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::ambient;
use crate::attest::{KernelAttestor, StartError};
use crate::audit::{self, AuditLog, Sink};
use crate::config::{Audit, Config};
use crate::credentials::{Cache, NoClient, Sts};
use crate::engine::{Engine, EngineError};
use crate::metrics::{self, BindFault, Metrics};
use crate::policy::Policy;
use crate::serve::{self, CONNECTIONS_MAX, CONNECTIONS_OF_ONE, Counts, ENDPOINTS, ListenFault, Listener, Service, Terms};
use crate::token::Tokens;

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
    /// The client of STS cannot be made.
    #[error(transparent)]
    Sts(#[from] NoClient),
    /// Decisions cannot be recorded.
    #[error("cannot write audit records to {path}")]
    Audit {
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

impl RunError {
    fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}

/// Serves until SIGTERM or SIGINT. `announce` prints a line to stdout.
///
/// # Errors
/// When the proxy cannot start; it then serves nobody.
pub async fn run(config: &Config, announce: impl Fn(&str)) -> Result<(), RunError> {
    let stop = CancellationToken::new();
    follow_signals(stop.clone())?;
    raise_file_limit();
    let clock = ambient::clock();
    let metrics = Metrics::new();
    let listeners = Listener::bind(config.listen.port)?;
    let engine = Engine::connect(&config.engine.socket).await?;
    let attestor = KernelAttestor::start(engine, &ENDPOINTS, stop.clone()).await?;
    let sts = Sts::new(&config.aws, &clock)?;
    let credentials =
        Cache::new(sts, clock.clone(), u64::from_ne_bytes(ambient::random()), Arc::clone(&metrics) as Arc<_>);
    let (audit, audit_thread) = start_audit(config, &metrics)?;
    let service = Arc::new(Service {
        attestor,
        policy: Policy::new(config),
        terms: Terms {
            tokens: Tokens::new(ambient::random()),
            require_token: config.imds.require_token,
            region: config.aws.region.to_string(),
            started: clock.now(),
        },
        credentials,
        session_seconds: config.aws.session_seconds,
        clock,
        nonce: Box::new(ambient::random),
        audit,
        metrics: Arc::clone(&metrics),
        containers: Counts::new(CONNECTIONS_OF_ONE),
    });
    if let Some(address) = &config.listen.metrics {
        let place = metrics::serve(address, metrics, stop.clone()).await?;
        tracing::info!(%place, "serving metrics");
    }
    for listener in &listeners {
        let address = listener.address().map_err(RunError::system("read the listening address"))?;
        announce(&format!("listening on http://{address}"));
    }
    serve::run(service, listeners, stop).await;
    // Every holder of the log is gone now, so that the thread ends after the last line.
    let ended = tokio::task::spawn_blocking(move || audit_thread.join());
    if tokio::time::timeout(std::time::Duration::from_secs(2), ended).await.is_err() {
        tracing::warn!("audit records are lost: nobody reads them");
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

fn start_audit(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<(AuditLog, std::thread::JoinHandle<()>), RunError> {
    let sink: Sink = match &config.audit {
        Audit::Stdout => Box::new(io::stdout()),
        Audit::File(path) => audit::open(path).map_err(|source| RunError::Audit { path: path.clone(), source })?,
    };
    let metrics = Arc::clone(metrics);
    AuditLog::start(sink, move || metrics.lose_record()).map_err(RunError::system("start the audit thread"))
}

/// Takes as many open files as the system gives without asking an administrator. Fewer is no fault: accepting waits then.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(CONNECTIONS_MAX).unwrap_or(u64::MAX).saturating_add(FILES_BESIDE);
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|now| now < current)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
