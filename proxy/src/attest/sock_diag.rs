//! The exact lookup of one TCP socket over `NETLINK_SOCK_DIAG`: the request, the answer, and the socket that carries them.
//! It reports what the kernel said and judges nothing: see `judge`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;

use super::netlink::{self, ERROR, REQUEST, u32_at};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// `SOCK_DIAG_BY_FAMILY`, of the request and of its answer.
const BY_FAMILY: u16 = 20;
/// `INET_DIAG_CGROUP_ID`, Linux 5.8 and later.
const CGROUP_ID: u16 = 21;
/// `INET_DIAG_NOCOOKIE`, twice.
const NO_COOKIE: u64 = u64::MAX;
/// Length of `struct inet_diag_msg`.
const RECORD: usize = 72;
/// Questions about one namespace at the same time.
const SEATS: usize = 2;

/// One question: which socket has these two ends?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// The socket's own address and port, as its owner sees them.
    pub local: SocketAddr,
    /// The far end, as the socket's owner sees it.
    pub remote: SocketAddr,
    /// The device that the socket is bound to; 0 finds sockets bound to none.
    pub interface: u32,
    /// Only the socket with this cookie.
    pub cookie: Option<u64>,
}

/// What the kernel answered, unjudged: it may be a listening socket, another's, or one without an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// `idiag_family`: 2, or 10 also for a v4-mapped socket.
    pub family: u8,
    /// `idiag_state`, as in the kernel's `tcp_states.h`.
    pub state: u8,
    /// The socket's own end; v4-mapped addresses are given as IPv4.
    pub local: SocketAddr,
    /// The far end; v4-mapped addresses are given as IPv4.
    pub remote: SocketAddr,
    /// The inode of the socket; 0 if no file descriptor holds it any more.
    pub inode: u32,
    /// What distinguishes this socket from every other since boot.
    pub cookie: u64,
    /// The cgroup v2 id of the process that created the socket.
    pub cgroup_id: Option<u64>,
}

/// The kernel's answer could not be had or read.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The netlink socket failed.
    #[error("asking the kernel about a socket")]
    Io(#[from] io::Error),
    /// The answer is none that this protocol knows.
    #[error("the kernel's answer about a socket cannot be read")]
    Malformed,
}

/// A question in the kernel's bytes.
#[must_use]
pub fn encode(query: &Query, sequence: u32) -> Vec<u8> {
    let family = if query.local.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut body = Vec::with_capacity(56);
    body.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
    body.extend_from_slice(&u32::MAX.to_ne_bytes());
    body.extend_from_slice(&query.local.port().to_be_bytes());
    body.extend_from_slice(&query.remote.port().to_be_bytes());
    body.extend_from_slice(&address_bytes(query.local.ip()));
    body.extend_from_slice(&address_bytes(query.remote.ip()));
    body.extend_from_slice(&query.interface.to_ne_bytes());
    let cookie = query.cookie.unwrap_or(NO_COOKIE);
    body.extend_from_slice(&halves(cookie));
    netlink::message(BY_FAMILY, REQUEST, sequence, &body)
}

/// The answer to the question with this sequence number: `Ok(None)` when there is no such socket, `Ok(Some(None))` never.
///
/// # Errors
/// An error number other than "no such socket", or bytes that are no answer.
pub fn decode(bytes: &[u8], sequence: u32) -> Result<Option<Record>, DiagError> {
    for message in netlink::messages(bytes).filter(|message| message.sequence == sequence) {
        if message.kind == ERROR {
            let number = netlink::error_number(message.body).ok_or(DiagError::Malformed)?;
            let errno = Errno::from_raw_os_error(number);
            // ESTALE is what other releases say of a cookie that does not fit.
            return if errno == Errno::NOENT || errno == Errno::STALE {
                Ok(None)
            } else {
                Err(DiagError::Io(io::Error::from_raw_os_error(number)))
            };
        }
        if message.kind == BY_FAMILY {
            return record(message.body).map(Some).ok_or(DiagError::Malformed);
        }
    }
    Err(DiagError::Malformed)
}

fn record(body: &[u8]) -> Option<Record> {
    let family = *body.first()?;
    let local = SocketAddr::new(address(family, body.get(8..24)?)?, be16(body, 4)?);
    let remote = SocketAddr::new(address(family, body.get(24..40)?)?, be16(body, 6)?);
    let cookie = u64::from(u32_at(body, 44)?) | u64::from(u32_at(body, 48)?) << 32;
    let cgroup_id = netlink::attributes(body.get(RECORD..)?)
        .find(|(kind, _)| *kind == CGROUP_ID)
        .and_then(|(_, payload)| Some(u64::from_ne_bytes(payload.try_into().ok()?)));
    Some(Record {
        family,
        state: *body.get(1)?,
        local,
        remote,
        inode: u32_at(body, 68)?,
        cookie,
        cgroup_id,
    })
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    match family {
        AF_INET => {
            let [a, b, c, d, ..] = bytes;
            Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()),
        _ => None,
    }
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The cookie travels as two native words, low word first, whatever the machine's byte order.
fn halves(cookie: u64) -> [u8; 8] {
    let low = u32::try_from(cookie & u64::from(u32::MAX))
        .unwrap_or(u32::MAX)
        .to_ne_bytes();
    let high = u32::try_from(cookie >> 32).unwrap_or(u32::MAX).to_ne_bytes();
    let ([a, b, c, d], [e, f, g, h]) = (low, high);
    [a, b, c, d, e, f, g, h]
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Netlink sockets that answer for the network namespace in which they were opened, and keep that namespace alive.
#[derive(Debug)]
pub struct Diag {
    /// Several: a container with many connections is asked about by every worker at once, and an answer comes back on the socket of its
    /// question, so that each is held until then.
    seats: [Mutex<Seat>; SEATS],
}

/// A socket, and the number of the last question.
#[derive(Debug)]
struct Seat {
    socket: OwnedFd,
    sequence: u32,
}

impl Diag {
    /// Opens the sockets in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn open() -> io::Result<Self> {
        let seat = || {
            let socket = netlink::open(Some(SOCK_DIAG))?;
            io::Result::Ok(Mutex::new(Seat { socket, sequence: 0 }))
        };
        Ok(Self {
            seats: [seat()?, seat()?],
        })
    }

    /// Asks for one socket. Takes about 3 µs and does not wait.
    ///
    /// # Errors
    /// The kernel refused to answer, or the answer cannot be read. That there is no such socket is an answer.
    pub fn ask(&self, query: &Query) -> Result<Option<Record>, DiagError> {
        self.seat().ask(query)
    }

    /// A seat that is free, or else the first that was asked for.
    fn seat(&self) -> MutexGuard<'_, Seat> {
        for seat in &self.seats {
            match seat.try_lock() {
                Ok(seat) => return seat,
                Err(TryLockError::Poisoned(seat)) => return seat.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let [first, _] = &self.seats;
        first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn ask(&mut self, query: &Query) -> Result<Option<Record>, DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        netlink::send(&self.socket, &encode(query, self.sequence))?;
        let mut buffer = [0_u8; 1024];
        // An answer left over from a question whose reader failed is skipped; there is at most one.
        for _ in 0..2 {
            let length = netlink::receive(&self.socket, &mut buffer)?;
            let bytes = buffer.get(..length).ok_or(DiagError::Malformed)?;
            if netlink::messages(bytes).any(|message| message.sequence == self.sequence) {
                return decode(bytes, self.sequence);
            }
        }
        Err(DiagError::Malformed)
    }
}

#[cfg(test)]
mod tests;
