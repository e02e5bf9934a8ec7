//! Stands between the proxy and the engine: as a socket proxy that lets through what the documentation lists, or as an engine that speaks TLS.
//! Told so by SIGHUP it does to the stream of events, in turn, what a bad connection does: see [`Events`].

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What the proxy asks of the engine while it serves: nothing here changes anything.
const READS: [&str; 7] = [
    "/version",
    "/events",
    "/containers/json",
    "/containers/*/json",
    "/images/*/json",
    "/networks",
    "/networks/*",
];
const HEAD_MAX: usize = 16 * 1024;

/// What becomes of streams of events. Whatever comes next, those that are open are cut then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Events {
    /// They are let through.
    Open,
    /// They are cut at once.
    Cut,
    /// They stay open, and nothing comes.
    Silent,
}

impl Events {
    const fn next(self) -> Self {
        match self {
            Self::Open => Self::Cut,
            Self::Cut => Self::Silent,
            Self::Silent => Self::Open,
        }
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// `relay LISTEN SOCKET [CERTIFICATE KEY AUTHORITY]`
pub(crate) fn main(words: &[String]) -> ExitCode {
    let relay = || -> Result<Infallible, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(words))
    };
    match relay() {
        Ok(never) => match never {},
        Err(fault) => {
            drop(writeln!(io::stderr(), "{fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[String]) -> Result<Infallible, Fault> {
    let [listen, socket, tls @ ..] = words else {
        return Err("relay LISTEN SOCKET [CERTIFICATE KEY AUTHORITY]".into());
    };
    let acceptor = match tls {
        [certificate, key, authority] => Some(acceptor(certificate.as_ref(), key.as_ref(), authority.as_ref())?),
        _ => None,
    };
    let listener = TcpListener::bind(listen).await?;
    drop(writeln!(io::stdout(), "listening on {listen}"));
    let (tell, events) = watch::channel(Events::Open);
    let mut turns = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while turns.recv().await.is_some() {
            tell.send_modify(|events| *events = events.next());
            drop(writeln!(io::stdout(), "events now {:?}", *tell.borrow()));
        }
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let (socket, acceptor, events) = (socket.clone(), acceptor.clone(), events.clone());
        tokio::spawn(async move {
            let relayed = match acceptor {
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => relay(stream, &socket, events).await,
                    Err(error) => Err(error),
                },
                None => relay(stream, &socket, events).await,
            };
            if let Err(error) = relayed {
                drop(writeln!(io::stderr(), "{error}"));
            }
        });
    }
}

/// One request of one connection; the client makes a new one for each.
async fn relay(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    socket: &str,
    mut events: watch::Receiver<Events>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 || head.len() > HEAD_MAX {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&head)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    if !is_read(&line) {
        drop(writeln!(io::stdout(), "refused {line}"));
        return client
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
    }
    let mut engine = UnixStream::connect(socket).await?;
    engine.write_all(&head).await?;
    if !line.contains("/events") {
        return copy_bidirectional(&mut client, &mut engine).await.map(drop);
    }
    let now = *events.borrow_and_update();
    drop(writeln!(io::stdout(), "stream {now:?}"));
    match now {
        Events::Open => tokio::select! {
            copied = copy_bidirectional(&mut client, &mut engine) => copied.map(drop),
            _ = events.changed() => Ok(()),
        },
        Events::Cut => Ok(()),
        Events::Silent => events.changed().await.map_err(io::Error::other),
    }
}

fn is_read(line: &str) -> bool {
    let Some(target) = line.strip_prefix("GET ").and_then(|rest| rest.split([' ', '?']).next()) else {
        return false;
    };
    let path = match target.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((_, path)) => format!("/{path}"),
        None => target.to_owned(),
    };
    READS.iter().any(|read| match read.split_once('*') {
        None => path == *read,
        Some((before, after)) => path
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|id| !id.is_empty() && !id.contains('/')),
    })
}

fn acceptor(certificate: &Path, key: &Path, authority: &Path) -> Result<TlsAcceptor, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let config = ServerConfig::builder().with_client_cert_verifier(clients);
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
