//! The sockets: one wildcard for each IP version, and for each connection where it really wanted to go.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::attest;
use crate::caller::Connection;

const BACKLOG: i32 = 4096;
/// How long an answer may stay unacknowledged. GitLab Runner takes the network away before it removes a container, so that no FIN comes:
/// without this the kernel would retransmit the answer to the next container with that address for minutes (rule A4).
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Why the proxy cannot listen.
#[derive(Debug, Error)]
#[error("cannot listen on {address}")]
pub struct ListenFault {
    address: SocketAddr,
    source: io::Error,
}

/// A byte stream that can be cut off, so that what is unsent never arrives.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// From now on, dropping the stream resets the connection.
    fn arm_reset(&self);
}

impl Wire for TcpStream {
    fn arm_reset(&self) {
        // It can only fail on a socket that is closed already.
        drop(SockRef::from(self).set_linger(Some(Duration::ZERO)));
    }
}

/// Whatever gives connections. The production implementation is [`Listener`]; tests bring their own.
pub trait Accept: Send + 'static {
    /// The streams it gives.
    type Wire: Wire;

    /// Waits for one connection.
    ///
    /// # Errors
    /// When this one cannot be had; the next may.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Wire, Connection)>> + Send;
}

/// One listening socket of the proxy.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on every IPv4 address and, where the kernel has IPv6, on every IPv6 address, on the same port.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn bind(port: u16) -> Result<Vec<Self>, ListenFault> {
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let first = bind(v4).map_err(|source| ListenFault { address: v4, source })?;
        let port = first
            .local_addr()
            .map_err(|source| ListenFault { address: v4, source })?
            .port();
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let mut all = vec![Self(first)];
        match bind(v6) {
            Ok(second) => all.push(Self(second)),
            // A kernel without IPv6: no job can come that way either.
            Err(error) if matches!(error.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL)) => {}
            Err(source) => return Err(ListenFault { address: v6, source }),
        }
        Ok(all)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

const EAFNOSUPPORT: i32 = 97;
const EADDRNOTAVAIL: i32 = 99;

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Inherited by every connection.
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Accept for Listener {
    type Wire = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Connection)> {
        let (stream, _) = self.0.accept().await?;
        let connection = attest::connection(&stream)?;
        Ok((stream, connection))
    }
}
