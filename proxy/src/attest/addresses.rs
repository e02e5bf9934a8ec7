//! The addresses of one network namespace, kept by the kernel's own notifications. What the engine says of a disconnect comes late
//! or never; the kernel queues its notification before the address can be given to anybody else (rule A4).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use tokio_util::sync::CancellationToken;

use super::netlink::{self, DONE, DUMP, ERROR, REQUEST, u32_at};

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
/// `IFA_ADDRESS` and `IFA_LOCAL`: on a point-to-point link only the second is our own.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x10 | 0x100;
/// A dump comes in datagrams of at most this many bytes; the kernel sizes them by the reader's buffer.
const DATAGRAM: usize = 32 * 1024;
/// Datagrams read in one go. A container that makes more than this has its addresses withdrawn.
const MOST: usize = 64;
/// Datagrams of one dump: a device takes about 2 KiB, so that this is enough for some sixteen thousand.
const MOST_OF_DUMP: usize = 1024;
/// Devices tried for a socket that is bound to one.
const MOST_LINKS: usize = 16;

/// What a notification or a dump says of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Present(IpAddr),
    Gone(IpAddr),
}

/// The changes in one datagram.
pub(crate) fn changes(bytes: &[u8]) -> impl Iterator<Item = Change> {
    netlink::messages(bytes).filter_map(|message| {
        let (mut address, mut local) = (None, None);
        // struct ifaddrmsg: family, prefix length, flags, scope, index (4 bytes).
        let family = *message.body.first()?;
        for (kind, payload) in netlink::attributes(message.body.get(8..)?) {
            match kind {
                IFA_ADDRESS => address = read(family, payload),
                IFA_LOCAL => local = read(family, payload),
                _ => {}
            }
        }
        let ours = local.or(address)?;
        match message.kind {
            NEW_ADDRESS => Some(Change::Present(ours)),
            DELETE_ADDRESS => Some(Change::Gone(ours)),
            _ => None,
        }
    })
}

fn read(family: u8, payload: &[u8]) -> Option<IpAddr> {
    match family {
        2 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(payload).ok()?))),
        10 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(payload).ok()?))),
        _ => None,
    }
}

/// The addresses that the namespace has now, each with the token that is cancelled when the namespace loses it.
#[derive(Debug)]
pub(crate) struct Addresses {
    socket: OwnedFd,
    present: Mutex<HashMap<IpAddr, CancellationToken>>,
}

impl Addresses {
    /// Subscribes, then reads what is there, in the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = netlink::open(None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        let addresses = Self {
            socket,
            present: Mutex::new(HashMap::new()),
        };
        // Asked over a second socket, so that notifications and answers do not mix; a change between the two is in the queue.
        let asking = netlink::open(None)?;
        let mut present = HashMap::new();
        dump(&asking, GET_ADDRESS, |bytes| {
            for change in changes(bytes) {
                apply(&mut present, change);
            }
        })?;
        *addresses.present.lock().unwrap_or_else(PoisonError::into_inner) = present;
        Ok(addresses)
    }

    /// Takes in what the kernel has notified, and gives the token of the address if the namespace has it at this moment.
    pub(crate) fn token(&self, address: IpAddr) -> Option<CancellationToken> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow(&mut present);
        present.get(&address).cloned()
    }

    /// Takes in what the kernel has notified.
    pub(crate) fn refresh(&self) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow(&mut present);
    }

    /// Withdraws every address: whoever relies on one must stop.
    pub(crate) fn withdraw(&self) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        withdraw(&mut present);
    }

    fn follow(&self, present: &mut HashMap<IpAddr, CancellationToken>) {
        let mut buffer = [0_u8; 4096];
        for _ in 0..MOST {
            match netlink::receive(&self.socket, &mut buffer) {
                Ok(length) => {
                    for change in changes(buffer.get(..length).unwrap_or_default()) {
                        apply(present, change);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // ENOBUFS: notifications were lost. Only the container itself can cause that, and it costs only the container.
                Err(_) => break,
            }
        }
        withdraw(present);
    }
}

impl AsFd for Addresses {
    /// Readable when something was notified.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn apply(present: &mut HashMap<IpAddr, CancellationToken>, change: Change) {
    match change {
        Change::Present(address) => {
            present.entry(address).or_default();
        }
        Change::Gone(address) => {
            if let Some(token) = present.remove(&address) {
                token.cancel();
            }
        }
    }
}

fn withdraw(present: &mut HashMap<IpAddr, CancellationToken>) {
    for (_, token) in present.drain() {
        token.cancel();
    }
}

/// The interfaces of the calling thread's network namespace, by index, at most 16.
pub(crate) fn interfaces(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    dump(socket, GET_LINK, |bytes| {
        // struct ifinfomsg: family, padding, type, index at byte 4.
        let links = netlink::messages(bytes).filter(|message| message.kind == NEW_LINK);
        found.extend(links.filter_map(|message| u32_at(message.body, 4)));
    })?;
    found.truncate(MOST_LINKS);
    Ok(found)
}

pub(crate) fn dump(socket: impl AsFd, kind: u16, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let sequence = 1;
    netlink::send(&socket, &netlink::message(kind, REQUEST | DUMP, sequence, &[0; 16]))?;
    let mut buffer = vec![0_u8; DATAGRAM];
    for _ in 0..MOST_OF_DUMP {
        let length = netlink::receive(&socket, &mut buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        each(bytes);
        for message in netlink::messages(bytes) {
            match message.kind {
                DONE => return Ok(()),
                ERROR => {
                    let number = netlink::error_number(message.body).unwrap_or(Errno::INVAL.raw_os_error());
                    return Err(io::Error::from_raw_os_error(number));
                }
                _ => {}
            }
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notification(kind: u16, family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, 24, 0, 0, 2, 0, 0, 0];
        for (kind, payload) in attributes {
            body.extend_from_slice(&u16::try_from(4 + payload.len()).unwrap().to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(payload);
        }
        netlink::message(kind, 0, 0, &body)
    }

    #[test]
    fn a_notification_names_our_own_end_of_a_link() {
        let bytes = notification(
            NEW_ADDRESS,
            2,
            &[(IFA_ADDRESS, &[10, 0, 0, 1]), (IFA_LOCAL, &[10, 0, 0, 2])],
        );
        assert_eq!(
            changes(&bytes).collect::<Vec<_>>(),
            [Change::Present("10.0.0.2".parse().unwrap())]
        );
        let bytes = notification(DELETE_ADDRESS, 10, &[(IFA_ADDRESS, &[0xfd; 16])]);
        assert_eq!(
            changes(&bytes).collect::<Vec<_>>(),
            [Change::Gone(IpAddr::from([0xfd_u8; 16]))]
        );
    }

    #[test]
    fn losing_an_address_cancels_its_token_and_gaining_it_again_does_not_revive_it() {
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        let mut present = HashMap::new();
        apply(&mut present, Change::Present(address));
        let token = present.get(&address).cloned().unwrap();
        apply(&mut present, Change::Present(address));
        assert!(!token.is_cancelled());
        apply(&mut present, Change::Gone(address));
        apply(&mut present, Change::Present(address));
        assert!(token.is_cancelled());
        assert!(!present.get(&address).unwrap().is_cancelled());
    }

    #[test]
    fn the_loopback_address_of_this_namespace_is_seen() {
        let addresses = Addresses::open().unwrap();
        assert!(addresses.token(IpAddr::V4(Ipv4Addr::LOCALHOST)).is_some());
        assert!(interfaces(netlink::open(None).unwrap()).unwrap().contains(&1));
        addresses.withdraw();
        assert!(addresses.token(IpAddr::V4(Ipv4Addr::LOCALHOST)).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = changes(&bytes).count();
        }
    }
}
