//! Proof that callers can be told apart on this machine (rule A9): a container of our own calls the endpoint, and what comes back must be its
//! id. Once before anything is served, and from then on, now and then, against the proxy that serves; a stranger then, which must get nothing.
//! Knows nothing of roles.

mod call;
mod canary;
pub mod image;
mod probe;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use call::{CallError, call};
pub use canary::{Canary, Flight, Met};
use probe::sweep;

use crate::caller::{Attestor, Connection, Unattested};
use crate::engine::{Engine, EngineError};

/// The subcommand that calls [`call()`].
const SUBCOMMAND: &str = "self-test-call";
/// With this word it asks for what it must not get.
const STRANGER: &str = "stranger";
/// From the probe's start to its request.
const ARRIVAL: Duration = Duration::from_secs(15);
/// For the first bytes of a connection that arrived.
const REQUEST: Duration = Duration::from_secs(2);
/// Connections judged at once.
const TOGETHER: usize = 1024;
/// More than a probe's request is long.
const REQUEST_BYTES: usize = 1024;
const GRANTED: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
const NOT_YET: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Why the proxy cannot tell callers apart on this machine.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The image could not be made of our own files.
    #[error("reading the program's own files for the self-test's image")]
    Image(#[source] io::Error),
    /// The probe container could not be made or started.
    #[error("the self-test's container could not be run")]
    Engine(#[from] EngineError),
    /// Accepting failed.
    #[error("accepting the self-test's connection")]
    Accept(#[source] io::Error),
    /// Its request never came.
    #[error(
        "the self-test's container called the endpoint and its request did not arrive within {} s{}: \
         the redirect to the proxy's port is missing, or another firewall drops it",
        ARRIVAL.as_secs(), exited(*.exit_code)
    )]
    NotArrived {
        /// How the probe ended, if it did.
        exit_code: Option<i64>,
    },
    /// Its request came, and the kernel could not say whose it was.
    #[error("the self-test's connection could not be attested ({reason}): {}", explain(*.reason))]
    Unattested {
        /// What was missing.
        reason: Unattested,
    },
    /// It ended without a request of it having come to the proxy that serves.
    #[error(
        "the self-test's container called the endpoint, and its request did not come to this proxy ({words}): the redirect to the proxy's port \
         is missing, another firewall drops it, or somebody else answers"
    )]
    Lost {
        /// What it said.
        words: String,
    },
    /// It was told apart, and answered otherwise than it should be.
    #[error("the self-test's container, for which there is no rule, was not answered as it should be: {words}")]
    Answered {
        /// What it said.
        words: String,
    },
    /// Its request came, and was taken for another container's.
    #[error("the self-test's connection was attested as container {attested}, and came from {expected}")]
    Mistaken {
        /// Whose it was taken for.
        attested: String,
        /// Whose it was.
        expected: String,
    },
    /// The proxy stops.
    #[error("the self-test was broken off: the proxy stops")]
    BrokenOff,
}

/// The path that only the probe knows.
fn path(nonce: &str) -> String {
    format!("/{SUBCOMMAND}/{nonce}")
}

fn exited(code: Option<i64>) -> String {
    code.map(|code| format!(" (it ended with exit code {code})"))
        .unwrap_or_default()
}

/// What this machine lacks, by what was missing.
const fn explain(reason: Unattested) -> &'static str {
    match reason {
        Unattested::NoCgroup => {
            "the kernel gives no cgroup v2 id of the connection's owner. That needs Linux 5.8, cgroup v2 or hybrid cgroups with a \
             runtime that uses both, and below Linux 5.15 no use of net_cls or net_prio; attestation.level = \"netns\" does without"
        }
        Unattested::UnknownAddress => {
            "the connection does not come from the container's own address: a rootless engine, a userland proxy or address \
             translation stands in between"
        }
        Unattested::NoSuchSocket | Unattested::NotEstablished | Unattested::Orphaned | Unattested::AnotherSocket => {
            "the kernel shows no such connection in the container's network namespace: the proxy needs CAP_SYS_ADMIN and \
             CAP_NET_ADMIN in the engine's own PID and network namespaces, and nothing may translate addresses in between"
        }
        Unattested::DirectConnection => {
            "the original destination was lost: connection tracking is off, or something else redirects the endpoint"
        }
        Unattested::NotRunning | Unattested::Raced | Unattested::Ambiguous | Unattested::SharedNetwork => {
            "the container's process, cgroup and network namespace do not fit together: the proxy must see the engine's own /proc \
             and cgroups, and no second engine may use the same addresses"
        }
        Unattested::Unfiltered => {
            "nothing keeps other containers on the same bridge from taking the container's address: the host's nftables must have the bridge \
             family, and the container must be a port of a bridge; bridges.shared = \"allow\" does without"
        }
        Unattested::EngineUnavailable => "the engine did not answer",
    }
}

/// Runs the proof. `accept` takes connections from the proxy's own listener, which must not serve anybody yet: who else calls
/// meanwhile is told to come back. `nonce` must not be guessable.
///
/// # Errors
/// The machine cannot attest, and the reason.
pub async fn prove<A, W>(
    engine: &Engine,
    attestor: &A,
    mut accept: impl AsyncFnMut() -> io::Result<(W, Connection)>,
    endpoint: SocketAddr,
    nonce: &str,
) -> Result<(), SelfTestError>
where
    A: Attestor,
    W: AsyncRead + AsyncWrite + Unpin,
{
    let proof = async {
        probe::import(engine, nonce).await?;
        let probe = probe::create(engine, endpoint, nonce, None).await?;
        probe::start(engine, &probe).await?;
        match timeout(ARRIVAL, watch(attestor, &mut accept, &probe, nonce)).await {
            Ok(judged) => judged,
            Err(_) => Err(SelfTestError::NotArrived {
                exit_code: probe::exit_code(engine, &probe).await,
            }),
        }
    };
    swept(engine, Box::pin(proof)).await
}

/// Runs the proof again, against the proxy that serves: `canary` is what its serving looks at. With `is_refused` the probe asks for a token and
/// for a role as well, and must be refused. Everybody else is served as ever. `nonce` must not be guessable. Once the proxy is to `stop` it is broken
/// off, and has to be waited for all the same: the engine goes on to make a container of which it was asked by somebody who has gone, and
/// shows it before it can be removed.
///
/// # Errors
/// The proxy does not tell callers apart any more, gives a stranger something, or could not be asked; or it stops.
pub async fn repeat(
    engine: &Engine,
    canary: &Canary,
    endpoint: SocketAddr,
    nonce: &str,
    is_refused: bool,
    stop: &CancellationToken,
) -> Result<(), SelfTestError> {
    let proof = async {
        probe::import(engine, nonce).await?;
        if stop.is_cancelled() {
            return Err(SelfTestError::BrokenOff);
        }
        let probe = probe::create(engine, endpoint, nonce, is_refused.then_some(STRANGER)).await?;
        let flight = canary.send_out(&probe, &path(nonce));
        probe::start(engine, &probe).await?;
        let ended = tokio::select! {
            ended = probe::wait(engine, &probe) => ended,
            () = stop.cancelled() => return Err(SelfTestError::BrokenOff),
        };
        match (flight.met(), ended) {
            (Some(Met::Other(attested)), _) => Err(SelfTestError::Mistaken {
                attested,
                expected: probe,
            }),
            (Some(Met::Nobody(reason)), _) => Err(SelfTestError::Unattested { reason }),
            (Some(Met::Itself), Ok(0)) => Ok(()),
            (_, Err(error)) => Err(error.into()),
            (Some(Met::Itself), Ok(_)) => Err(SelfTestError::Answered {
                words: probe::last_words(engine, &probe).await,
            }),
            (None, Ok(_)) => Err(SelfTestError::Lost {
                words: probe::last_words(engine, &probe).await,
            }),
        }
    };
    swept(engine, Box::pin(proof)).await
}

/// Makes a proof where nothing of an earlier one is left, and leaves nothing of it.
async fn swept<T>(engine: &Engine, proof: impl Future<Output = T>) -> T {
    sweep(engine).await;
    let proven = proof.await;
    sweep(engine).await;
    proven
}

/// Takes connections until the probe's own has been judged. Many at once: a job that connects and says nothing must not keep the proxy from
/// starting.
async fn watch<A, W>(
    attestor: &A,
    accept: &mut impl AsyncFnMut() -> io::Result<(W, Connection)>,
    probe: &str,
    nonce: &str,
) -> Result<(), SelfTestError>
where
    A: Attestor,
    W: AsyncRead + AsyncWrite + Unpin,
{
    let mut judging = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(verdict) = judging.next(), if !judging.is_empty() => if let Some(verdict) = verdict {
                return verdict;
            },
            accepted = accept() => {
                let (stream, connection) = accepted.map_err(SelfTestError::Accept)?;
                if judging.len() < TOGETHER {
                    judging.push(judge(attestor, stream, connection, probe, nonce));
                }
            }
        }
    }
}

/// Judges one connection; None if it is not the probe's.
async fn judge<A, W>(
    attestor: &A,
    mut stream: W,
    connection: Connection,
    probe: &str,
    nonce: &str,
) -> Option<Result<(), SelfTestError>>
where
    A: Attestor,
    W: AsyncRead + AsyncWrite + Unpin,
{
    let attested = attestor.attest(&connection).await;
    let mut request = Vec::new();
    let mut limited = (&mut stream).take(u64::try_from(REQUEST_BYTES).unwrap_or(0));
    let read = timeout(REQUEST, async {
        while !request.ends_with(b"\r\n\r\n") && limited.read_buf(&mut request).await? > 0 {}
        io::Result::Ok(())
    });
    // Whatever came by then is looked at.
    let _ = read.await;
    let is_probe = request.windows(nonce.len()).any(|window| window == nonce.as_bytes());
    let verdict = match attested {
        _ if !is_probe => None,
        Ok((facts, _)) if facts.run.container_id != probe => Some(Err(SelfTestError::Mistaken {
            attested: facts.run.container_id.clone(),
            expected: probe.to_owned(),
        })),
        Ok((_, pin)) => Some(
            attestor
                .confirm(&pin)
                .map_err(|reason| SelfTestError::Unattested { reason }),
        ),
        Err(reason) => Some(Err(SelfTestError::Unattested { reason })),
    };
    let answer = if verdict.as_ref().is_some_and(Result::is_ok) {
        GRANTED
    } else {
        NOT_YET
    };
    let _ = timeout(REQUEST, stream.write_all(answer)).await;
    let _ = timeout(REQUEST, stream.shutdown()).await;
    verdict
}

#[cfg(test)]
mod tests;
