//! One accepted connection: where it comes from, and its socket, so that an answer can say how far its packets may travel.
//! It must not know the protocol spoken over it.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How much of a request that never became one is kept for the ledger.
const TAP_BYTES: usize = 8 * 1024;

/// How long the kernel offers again what the peer does not confirm, once a hop limit is set: the answer may never arrive, and a socket that still waits for it
/// would take the next caller's connection from the same address and port for its own, and answer that one with as short a reach.
const UNCONFIRMED: Duration = Duration::from_millis(500);

/// A shared view of an accepted connection. Cloning does not duplicate the descriptor.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Accepted>);

#[derive(Debug)]
struct Accepted {
    stream: Stream,
    source: String,
    local: String,
    local_ip: Option<IpAddr>,
    over_v6: bool,
    /// What was read since the last request was understood.
    tap: Mutex<Vec<u8>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    pub(crate) fn tcp(stream: TcpStream, source: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        Ok(Self(Arc::new(Accepted {
            source: canonical(source).to_string(),
            local: canonical(local).to_string(),
            local_ip: Some(canonical(local).ip()),
            over_v6: local.is_ipv6(),
            stream: Stream::Tcp(stream),
            tap: Mutex::default(),
        })))
    }

    pub(crate) fn unix(stream: UnixStream, path: &str) -> Self {
        Self(Arc::new(Accepted {
            stream: Stream::Unix(stream),
            source: "unix".to_owned(),
            local: format!("unix:{path}"),
            local_ip: None,
            over_v6: false,
            tap: Mutex::default(),
        }))
    }

    /// The peer's address and port, an IPv4 one in IPv4 form also on a wildcard listener; `unix` over a Unix socket.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The address and port that the peer reached.
    pub fn local(&self) -> &str {
        &self.0.local
    }

    /// The address that the peer reached, an IPv4 one in IPv4 form; none over a Unix socket.
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.0.local_ip
    }

    /// Sets how many hops packets of this connection may travel from now on, retransmits included. What never arrives is soon given up.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        let Stream::Tcp(stream) = &self.0.stream else {
            return Ok(());
        };
        let socket = SockRef::from(stream);
        socket.set_tcp_user_timeout(Some(UNCONFIRMED))?;
        if self.0.over_v6 {
            socket.set_unicast_hops_v6(u32::from(hops))?;
        }
        // An IPv4 peer of an IPv6 wildcard listener is bound by IP_TTL, any other IPv6 socket does not mind it.
        socket.set_ttl_v4(u32::from(hops))
    }

    /// How many hops packets of this connection may travel; none over a Unix socket.
    ///
    /// # Errors
    /// The kernel refused to say.
    pub fn hop_limit(&self) -> io::Result<Option<u32>> {
        let Stream::Tcp(stream) = &self.0.stream else {
            return Ok(None);
        };
        let socket = SockRef::from(stream);
        let v4_peer = self.0.local_ip.is_some_and(|ip| ip.is_ipv4());
        if v4_peer {
            socket.ttl_v4().map(Some)
        } else {
            socket.unicast_hops_v6().map(Some)
        }
    }

    /// Makes the close of this connection a reset.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        match &self.0.stream {
            Stream::Tcp(stream) => SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            Stream::Unix(_) => Ok(()),
        }
    }

    /// What was read since it was last taken, up to a limit.
    pub(crate) fn take_tap(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.tap.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tap(&self, bytes: &[u8]) {
        let mut tap = self.0.tap.lock().unwrap_or_else(PoisonError::into_inner);
        let room = TAP_BYTES.saturating_sub(tap.len());
        tap.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The byte stream of a connection, as hyper wants it.
pub(crate) struct Wire(pub(crate) Connection);

/// Reads once. What leaves room in the buffer was all there is: saying so now spares the next poll a call of the kernel, as tokio's own streams do.
fn take(socket: SockRef<'_>, buf: &mut ReadBuf<'_>, count: &mut usize) -> io::Result<()> {
    let room = buf.initialize_unfilled();
    *count = (&*socket).read(room)?;
    if (1..room.len()).contains(count) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(())
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            let mut count = 0;
            let read = match &self.0.0.stream {
                Stream::Tcp(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_io(Interest::READABLE, || take(SockRef::from(stream), buf, &mut count))
                }
                Stream::Unix(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_io(Interest::READABLE, || take(SockRef::from(stream), buf, &mut count))
                }
            };
            match read {
                // Readiness was stale; the next poll registers for the next one.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && count == 0 => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                Ok(()) | Err(_) => {
                    buf.advance(count);
                    self.0.tap(buf.filled().get(before..).unwrap_or_default());
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let written = match &self.0.0.stream {
                Stream::Tcp(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_write_vectored(bufs)
                }
                Stream::Unix(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_write_vectored(bufs)
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let how = std::net::Shutdown::Write;
        Poll::Ready(match &self.0.0.stream {
            Stream::Tcp(stream) => SockRef::from(stream).shutdown(how),
            Stream::Unix(stream) => SockRef::from(stream).shutdown(how),
        })
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpStream};

    use super::{Connection, Stream, UNCONFIRMED};

    /// The socket of an answer that never arrives must be gone before the peer's port is used again: with the hop limit still on it, it would keep the
    /// next connection from there from being made at all.
    #[tokio::test]
    async fn what_a_hop_limit_eats_is_soon_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, source) = listener.accept().await.unwrap();
        let connection = Connection::tcp(stream, source).unwrap();
        let patience = || match &connection.0.stream {
            Stream::Tcp(stream) => SockRef::from(stream).tcp_user_timeout().unwrap(),
            Stream::Unix(_) => None,
        };
        assert_eq!(patience(), None, "the kernel's own patience");
        connection.set_hop_limit(1).unwrap();
        assert_eq!(patience(), Some(UNCONFIRMED));
    }
}
