//! Netlink messages as bytes: writing a header, walking messages and attributes. Knows no subsystem, and never panics on what it reads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `NLMSG_ERROR`: an error, or the acknowledgement when it is 0.
pub(crate) const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub(crate) const DONE: u16 = 3;
/// `NLM_F_REQUEST`.
pub(crate) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`.
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`.
pub(crate) const DUMP: u16 = 0x300;
/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of one datagram; stops at the first one that does not fit.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let body = bytes.get(HEADER..length)?;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            sequence: u32_at(bytes, 8)?,
            body,
        };
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes (`struct nlattr`) of a body: kind without its flag bits, and payload. Stops at the first that does not fit.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let payload = bytes.get(4..length)?;
        let kind = u16_at(bytes, 2)? & 0x3fff;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// A whole message: header, then the body as given.
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(body);
    bytes
}

/// The error number of an `NLMSG_ERROR` body; 0 is an acknowledgement.
pub(crate) fn error_number(body: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(body.get(..4)?.try_into().ok()?).saturating_neg())
}

/// A socket to the kernel, in the network namespace of the calling thread. Without a protocol it speaks `NETLINK_ROUTE`, number 0.
pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let kind = SocketType::RAW;
    Ok(rustix::net::socket_with(
        AddressFamily::NETLINK,
        kind,
        SocketFlags::CLOEXEC,
        protocol,
    )?)
}

pub(crate) fn send(socket: impl AsFd, message: &[u8]) -> io::Result<()> {
    rustix::net::send(socket, message, SendFlags::empty())?;
    Ok(())
}

/// Reads one datagram. Never waits: the kernel has queued its answer before the request's `send` returns.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (length, _) = rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT)?;
    Ok(length)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}
