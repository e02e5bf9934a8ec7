//! One accepted connection: where it comes from, and its socket, so that an answer can say how far its packets may travel.
//! It must not know the protocol spoken over it.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::malformed::bare_status;

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
    /// The hop limit that was set; 0 before.
    hops: AtomicU8,
    /// What hyper would have answered by itself; 0 before.
    refused: AtomicU16,
    /// How often a request came a step further.
    steps: AtomicU64,
    /// Whether one is being answered.
    busy: AtomicBool,
}

impl Accepted {
    fn of(stream: Stream) -> Self {
        Self {
            stream,
            source: String::new(),
            local: String::new(),
            local_ip: None,
            over_v6: false,
            tap: Mutex::default(),
            hops: AtomicU8::new(0),
            refused: AtomicU16::new(0),
            steps: AtomicU64::new(0),
            busy: AtomicBool::new(false),
        }
    }
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
            ..Accepted::of(Stream::Tcp(stream))
        })))
    }

    pub(crate) fn unix(stream: UnixStream, path: &str) -> Self {
        Self(Arc::new(Accepted {
            source: "unix".to_owned(),
            local: format!("unix:{path}"),
            ..Accepted::of(Stream::Unix(stream))
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
        if self.0.hops.load(Ordering::Relaxed) == hops {
            return Ok(());
        }
        let socket = SockRef::from(stream);
        socket.set_tcp_user_timeout(Some(UNCONFIRMED))?;
        if self.0.over_v6 {
            socket.set_unicast_hops_v6(u32::from(hops))?;
        }
        // An IPv4 peer of an IPv6 wildcard listener is bound by IP_TTL, any other IPv6 socket does not mind it.
        socket.set_ttl_v4(u32::from(hops))?;
        self.0.hops.store(hops, Ordering::Relaxed);
        Ok(())
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

    /// What a look at it says; it is then as if taken.
    pub(crate) fn drain_tap<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        let mut tap = self.0.tap.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = look(&tap);
        tap.clear();
        seen
    }

    /// A request came a step further: its head is there, or its body too, and it is being answered or not.
    pub(crate) fn step(&self, busy: bool) {
        self.0.steps.fetch_add(1, Ordering::Relaxed);
        self.0.busy.store(busy, Ordering::Relaxed);
    }

    /// How many steps there were, and whether the last began an answer.
    pub(crate) fn steps(&self) -> (u64, bool) {
        (
            self.0.steps.load(Ordering::Relaxed),
            self.0.busy.load(Ordering::Relaxed),
        )
    }

    /// The status that hyper would have answered by itself, had it been let; 0 if none. Nothing else is written then, and the connection is still open.
    pub(crate) fn refused(&self) -> u16 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Sends the last bytes of a connection that nobody else writes to, and closes it.
    pub(crate) async fn send_last(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = match &self.0.stream {
                Stream::Tcp(stream) => {
                    stream.writable().await?;
                    stream.try_write(rest)
                }
                Stream::Unix(stream) => {
                    stream.writable().await?;
                    stream.try_write(rest)
                }
            };
            match sent {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.shut_down()
    }

    fn shut_down(&self) -> io::Result<()> {
        let how = std::net::Shutdown::Write;
        match &self.0.stream {
            Stream::Tcp(stream) => SockRef::from(stream).shutdown(how),
            Stream::Unix(stream) => SockRef::from(stream).shutdown(how),
        }
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
        if let Some(status) = bare_status(bufs) {
            self.0.0.refused.store(status, Ordering::Relaxed);
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
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
        if self.0.refused() > 0 {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.0.shut_down())
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
