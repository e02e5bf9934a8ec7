//! Connecting, with the difference between refused, silent and unreachable kept. Knows nothing of what is sent afterwards.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::protocol::{CONNECT_MS, Connect, Failure, FailureKind, MAX_MS};

/// A duration from a request, or the default, within the bound.
pub(super) fn bounded(wanted: Option<u64>, otherwise: u64) -> Duration {
    Duration::from_millis(wanted.unwrap_or(otherwise).min(MAX_MS))
}

/// The address that `to` means: `IP:port`, or the first of `name:port`.
pub(super) async fn destination(to: &str) -> Result<SocketAddr, Failure> {
    if let Ok(address) = to.parse() {
        return Ok(address);
    }
    let name = |message: String| Failure {
        kind: FailureKind::Name,
        message,
    };
    let lookup = tokio::time::timeout(Duration::from_millis(MAX_MS), tokio::net::lookup_host(to));
    match lookup.await {
        Ok(Ok(mut addresses)) => addresses
            .next()
            .ok_or_else(|| name(format!("{to} resolves to nothing"))),
        Ok(Err(error)) => Err(name(format!("cannot resolve {to}: {error}"))),
        Err(_) => Err(name(format!("cannot resolve {to} in time"))),
    }
}

/// Connects from `bind` (an address, or address and port) to `to`. The first error is the request's fault, the second the network's.
pub(super) async fn connect(
    to: &str,
    bind: Option<&str>,
    connect_ms: Option<u64>,
) -> Result<Result<TcpStream, Connect>, Failure> {
    let source = bind.map(source).transpose()?;
    let destination = destination(to).await?;
    let socket = match socket(destination, source) {
        Ok(socket) => socket,
        Err(error) => return Ok(Err(Connect::Error(words(&error)))),
    };
    let attempt = tokio::time::timeout(bounded(connect_ms, CONNECT_MS), socket.connect(destination));
    Ok(match attempt.await {
        Ok(Ok(stream)) => {
            // Byte-exact attacks send small pieces and care when they leave.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(Connect::Timeout),
    })
}

fn source(bind: &str) -> Result<SocketAddr, Failure> {
    bind.parse::<SocketAddr>()
        .or_else(|_| {
            bind.trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
                .map(|address| SocketAddr::new(address, 0))
        })
        .map_err(|_| Failure {
            kind: FailureKind::Request,
            message: "bind is neither IP nor IP:port".to_owned(),
        })
}

fn socket(destination: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpSocket> {
    let socket = reusable(destination)?;
    if let Some(source) = source {
        socket.bind(&source.into())?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Both reuse options: one source port towards several destinations, and a listener beside it, are attacks in themselves.
fn reusable(family: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(family), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A listening socket that may share its port with connections.
pub(super) fn listener(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = reusable(at)?;
    socket.bind(&at.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

fn classify(error: &io::Error) -> Connect {
    use io::ErrorKind as Kind;
    // Kinds that matter are named; the rest is the system's business and told in its words.
    if error.kind() == Kind::ConnectionRefused {
        Connect::Refused
    } else if error.kind() == Kind::TimedOut {
        Connect::Timeout
    } else if matches!(
        error.kind(),
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::PermissionDenied
    ) {
        // A `prohibit` route and a local REJECT rule answer EACCES and EPERM.
        Connect::Unreachable
    } else {
        Connect::Error(words(error))
    }
}

fn words(error: &io::Error) -> String {
    error.kind().to_string()
}
