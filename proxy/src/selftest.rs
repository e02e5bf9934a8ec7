//! Proof, before anything is served, that callers can be told apart on this machine (rule A9): a container of our own calls the
//! endpoint, and what comes back must be its id. Knows nothing of roles and answers.

pub mod image;

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder, StartContainerOptions,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::caller::{Attestor, Connection, Unattested};
use crate::engine::{Engine, EngineError, within_time};

/// Marks the probe container, so that one that a crash left behind is found and removed.
const LABEL: &str = "metadata-proxy.self-test";
/// The image's repository.
const REPOSITORY: &str = "metadata-proxy-self-test";
/// The subcommand that calls [`call`].
const SUBCOMMAND: &str = "self-test-call";
/// For the image to be imported: some ten megabytes over a Unix socket.
const IMPORT: Duration = Duration::from_secs(60);
/// For any other question to the engine. Nobody waits for an answer yet, and a busy host starts containers slowly: 3 s were too little.
const QUESTION: Duration = Duration::from_secs(20);
/// From the probe's start to its request.
const ARRIVAL: Duration = Duration::from_secs(15);
/// For the first bytes of a connection that arrived.
const REQUEST: Duration = Duration::from_secs(2);
/// For one step of the probe's own call.
const CALL: Duration = Duration::from_secs(5);
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
    /// Its request came, and was taken for another container's.
    #[error("the self-test's connection was attested as container {attested}, and came from {expected}")]
    Mistaken {
        /// Whose it was taken for.
        attested: String,
        /// Whose it was.
        expected: String,
    },
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
             runtime that uses both, and below Linux 5.15 no use of net_cls or net_prio"
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
    sweep(engine).await;
    let proven = async {
        import(engine, nonce).await?;
        let probe = start(engine, endpoint, nonce).await?;
        match timeout(ARRIVAL, watch(attestor, &mut accept, &probe, nonce)).await {
            Ok(judged) => judged,
            Err(_) => Err(SelfTestError::NotArrived {
                exit_code: exit_code(engine, &probe).await,
            }),
        }
    };
    let proven = proven.await;
    sweep(engine).await;
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    let image = format!("{REPOSITORY}:{nonce}");
    // What cannot be removed now costs space, and nothing else.
    let _ = within_time(
        QUESTION,
        "removing the self-test's image",
        engine.docker().remove_image(&image, Some(options), None),
    )
    .await;
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

async fn import(engine: &Engine, nonce: &str) -> Result<(), SelfTestError> {
    let doing = "importing the self-test's image";
    let body = bollard::body_try_stream(image::stream_image().map_err(SelfTestError::Image)?);
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(REPOSITORY)
        .tag(nonce)
        .build();
    let mut progress = Box::pin(engine.docker().create_image(Some(options), Some(body), None));
    let imported = async {
        while let Some(step) = progress.next().await {
            step.map_err(|source| EngineError::Api {
                doing,
                source: Box::new(source),
            })?;
        }
        Ok(())
    };
    timeout(IMPORT, imported)
        .await
        .unwrap_or(Err(EngineError::TimedOut {
            doing,
            patience: IMPORT,
        }))
        .map_err(SelfTestError::Engine)
}

async fn start(engine: &Engine, endpoint: SocketAddr, nonce: &str) -> Result<String, EngineError> {
    let words = [image::PROGRAM, SUBCOMMAND, &endpoint.to_string(), nonce].map(ToOwned::to_owned);
    let body = ContainerCreateBody {
        image: Some(format!("{REPOSITORY}:{nonce}")),
        cmd: Some(words.to_vec()),
        env: Some(vec![format!("LD_LIBRARY_PATH={}", image::LIBRARIES)]),
        labels: Some(HashMap::from([(LABEL.to_owned(), nonce.to_owned())])),
        host_config: Some(HostConfig {
            cap_drop: Some(vec!["ALL".to_owned()]),
            readonly_rootfs: Some(true),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let docker = engine.docker();
    let create = docker.create_container(None::<CreateContainerOptions>, body);
    let created = within_time(QUESTION, "creating the self-test's container", create).await?;
    let start = docker.start_container(&created.id, None::<StartContainerOptions>);
    within_time(QUESTION, "starting the self-test's container", start).await?;
    Ok(created.id)
}

async fn exit_code(engine: &Engine, probe: &str) -> Option<i64> {
    let inspect = engine.docker().inspect_container(probe, None);
    let state = within_time(QUESTION, "inspecting the self-test's container", inspect)
        .await
        .ok()?
        .state?;
    if state.running == Some(false) {
        state.exit_code
    } else {
        None
    }
}

/// Removes probe containers: this one's, and those that a crash left behind.
async fn sweep(engine: &Engine) {
    let docker = engine.docker();
    let filters = HashMap::from([("label", vec![LABEL])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let listed = within_time(
        QUESTION,
        "listing the self-test's containers",
        docker.list_containers(Some(options)),
    )
    .await;
    for id in listed.into_iter().flatten().filter_map(|container| container.id) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        let removed = within_time(
            QUESTION,
            "removing the self-test's container",
            docker.remove_container(&id, Some(options)),
        )
        .await;
        if let Err(error) = removed {
            tracing::warn!(%error, container = %id, "a container of the self-test could not be removed");
        }
    }
}

/// The probe's own call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not an endpoint and a nonce.
    #[error("usage: {SUBCOMMAND} ADDRESS:PORT NONCE")]
    Usage,
    /// The endpoint could not be asked.
    #[error("calling {endpoint}")]
    Io {
        /// Whom.
        endpoint: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer was another one.
    #[error("{endpoint} answered {answer:?}")]
    Answer {
        /// Who.
        endpoint: SocketAddr,
        /// What.
        answer: String,
    },
}

/// What the probe does in its container: one request that carries the nonce.
///
/// # Errors
/// The endpoint did not answer as a proxy that runs the self-test does.
pub fn call(arguments: &[String]) -> Result<(), CallError> {
    let [endpoint, nonce] = arguments else {
        return Err(CallError::Usage);
    };
    let endpoint: SocketAddr = endpoint.parse().map_err(|_| CallError::Usage)?;
    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&endpoint, CALL)?;
        stream.set_read_timeout(Some(CALL))?;
        stream.set_write_timeout(Some(CALL))?;
        write!(stream, "GET /{SUBCOMMAND}/{nonce} HTTP/1.1\r\nHost: {endpoint}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream
            .take(u64::try_from(GRANTED.len()).unwrap_or(0))
            .read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|source| CallError::Io { endpoint, source })?;
    if answer == GRANTED {
        return Ok(());
    }
    Err(CallError::Answer {
        endpoint,
        answer: String::from_utf8_lossy(&answer).into_owned(),
    })
}

#[cfg(test)]
mod tests;
