//! Connection tracking entries, read and deleted over `NETLINK_NETFILTER`. It knows addresses, and no firewall rule.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use super::netlink::{self, ACK, DONE, DUMP, ERROR, REQUEST};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW / GET / DELETE`.
const NEW: u16 = 0x100;
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
const IPPROTO_TCP: u8 = 6;
/// Datagrams of one dump: at 16 KiB each, more entries than a table holds by default.
const MOST: usize = 65_536;

/// The original direction of one TCP connection, as tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// Deletes the entry of one connection.
pub(crate) fn forget(source: SocketAddr, destination: SocketAddr) -> io::Result<()> {
    delete(&Tracked { source, destination })
}

/// Deletes the entries of all TCP connections to these destinations; says how many there were.
pub(crate) fn forget_destinations(is_meant: impl Fn(&SocketAddr) -> bool) -> io::Result<usize> {
    let mut count = 0;
    for family in [2, 10] {
        for tracked in list(family)?.iter().filter(|tracked| is_meant(&tracked.destination)) {
            delete(tracked)?;
            count += 1;
        }
    }
    Ok(count)
}

fn delete(tracked: &Tracked) -> io::Result<()> {
    let socket = netlink::open(Some(NETFILTER))?;
    netlink::send(&socket, &netlink::message(DELETE, REQUEST | ACK, 1, &tuple(tracked)))?;
    let mut buffer = [0_u8; 1024];
    let length = netlink::receive(&socket, &mut buffer)?;
    let mut messages = netlink::messages(buffer.get(..length).unwrap_or_default());
    let answer = messages
        .find(|message| message.kind == ERROR)
        .and_then(|message| netlink::error_number(message.body));
    match answer {
        Some(0) => Ok(()),
        Some(number) if Errno::from_raw_os_error(number) == Errno::NOENT => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn list(family: u8) -> io::Result<Vec<Tracked>> {
    let socket = netlink::open(Some(NETFILTER))?;
    netlink::send(&socket, &netlink::message(GET, REQUEST | DUMP, 1, &[family, 0, 0, 0]))?;
    let mut buffer = vec![0_u8; 32 * 1024];
    let mut found = Vec::new();
    for _ in 0..MOST {
        let length = netlink::receive(&socket, &mut buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        found.extend(tracked(bytes));
        for message in netlink::messages(bytes) {
            match message.kind {
                DONE => return Ok(found),
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

/// The TCP connections in one datagram of a dump.
fn tracked(bytes: &[u8]) -> impl Iterator<Item = Tracked> {
    netlink::messages(bytes)
        .filter(|message| message.kind == NEW)
        .filter_map(|message| {
            let (_, tuple) = netlink::attributes(message.body.get(4..)?).find(|(kind, _)| *kind == CTA_TUPLE_ORIG)?;
            read_tuple(tuple)
        })
}

fn read_tuple(tuple: &[u8]) -> Option<Tracked> {
    let part = |kind| {
        netlink::attributes(tuple)
            .find(|(found, _)| *found == kind)
            .map(|(_, payload)| payload)
    };
    let (addresses, protocol) = (part(CTA_TUPLE_IP)?, part(CTA_TUPLE_PROTO)?);
    let (mut source, mut destination) = (None, None);
    for (kind, payload) in netlink::attributes(addresses) {
        // CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST
        match kind {
            1 => source = v4(payload),
            2 => destination = v4(payload),
            3 => source = v6(payload),
            4 => destination = v6(payload),
            _ => {}
        }
    }
    let (mut number, mut from, mut to) = (None, None, None);
    for (kind, payload) in netlink::attributes(protocol) {
        // CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
        match kind {
            1 => number = payload.first().copied(),
            2 => from = port(payload),
            3 => to = port(payload),
            _ => {}
        }
    }
    let tracked = Tracked {
        source: SocketAddr::new(source?, from?),
        destination: SocketAddr::new(destination?, to?),
    };
    (number == Some(IPPROTO_TCP)).then_some(tracked)
}

fn tuple(tracked: &Tracked) -> Vec<u8> {
    let (family, mut addresses) = match (tracked.source.ip(), tracked.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            (2, attribute(1, &source.octets(), destination.octets().as_slice(), 2))
        }
        (source, destination) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            (10, attribute(3, &octets(source), octets(destination).as_slice(), 4))
        }
    };
    let mut protocol = one_attribute(1, &[IPPROTO_TCP]);
    protocol.extend(one_attribute(2, &tracked.source.port().to_be_bytes()));
    protocol.extend(one_attribute(3, &tracked.destination.port().to_be_bytes()));
    addresses = one_attribute(CTA_TUPLE_IP | NESTED, &addresses);
    addresses.extend(one_attribute(CTA_TUPLE_PROTO | NESTED, &protocol));
    let mut body = vec![family, 0, 0, 0];
    body.extend(one_attribute(CTA_TUPLE_ORIG | NESTED, &addresses));
    body
}

fn attribute(first: u16, one: &[u8], other: &[u8], second: u16) -> Vec<u8> {
    let mut bytes = one_attribute(first, one);
    bytes.extend(one_attribute(second, other));
    bytes
}

fn one_attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + payload.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(payload.len() + 8);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn v4(payload: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(payload).ok()?)))
}

fn v6(payload: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(payload).ok()?)))
}

fn port(payload: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(payload.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(source in any::<u32>(), from in any::<u16>(), to in any::<u16>()) {
            let source = SocketAddr::new(IpAddr::from(source.to_be_bytes()), from);
            let one = Tracked { source, destination: SocketAddr::new("169.254.169.254".parse().unwrap(), to) };
            let bytes = netlink::message(NEW, 0, 1, &tuple(&one));
            prop_assert_eq!(tracked(&bytes).collect::<Vec<_>>(), vec![one]);
        }

        #[test]
        fn what_is_written_is_read_again_in_ipv6(source in any::<u128>(), from in any::<u16>(), to in any::<u16>()) {
            let source = SocketAddr::new(IpAddr::from(source.to_be_bytes()), from);
            let one = Tracked { source, destination: SocketAddr::new("fd00:ec2::254".parse().unwrap(), to) };
            let bytes = netlink::message(NEW, 0, 1, &tuple(&one));
            prop_assert_eq!(tracked(&bytes).collect::<Vec<_>>(), vec![one]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = tracked(&bytes).count();
        }
    }
}
