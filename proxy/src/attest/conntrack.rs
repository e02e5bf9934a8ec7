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
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
const IPPROTO_TCP: u8 = 6;
/// Datagrams of one dump: at 16 KiB each, more entries than a table holds by default.
const MOST: usize = 65_536;

/// One TCP connection, as tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tracked {
    /// Who opened it.
    pub(crate) source: SocketAddr,
    /// Where it was meant to go.
    pub(crate) destination: SocketAddr,
    /// Who answers: another one than the destination if it was redirected.
    pub(crate) answerer: SocketAddr,
}

/// Deletes the entry of one connection.
pub(crate) fn forget(source: SocketAddr, destination: SocketAddr) -> io::Result<()> {
    delete(source, destination)
}

/// Deletes the entries of all TCP connections that are meant; says how many there were.
pub(crate) fn forget_all(is_meant: impl Fn(&Tracked) -> bool) -> io::Result<usize> {
    let mut count = 0;
    for family in [2, 10] {
        for tracked in list(family)?.iter().filter(|tracked| is_meant(tracked)) {
            delete(tracked.source, tracked.destination)?;
            count += 1;
        }
    }
    Ok(count)
}

fn delete(source: SocketAddr, destination: SocketAddr) -> io::Result<()> {
    let socket = netlink::open(Some(NETFILTER))?;
    netlink::send(
        &socket,
        &netlink::message(
            DELETE,
            REQUEST | ACK,
            1,
            &name(&[(CTA_TUPLE_ORIG, source, destination)]),
        ),
    )?;
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
            let attributes = message.body.get(4..)?;
            let (source, destination) = read_tuple(attributes, CTA_TUPLE_ORIG)?;
            let (answerer, _) = read_tuple(attributes, CTA_TUPLE_REPLY)?;
            Some(Tracked {
                source,
                destination,
                answerer,
            })
        })
}

/// The two ends of one direction.
fn read_tuple(entry: &[u8], direction: u16) -> Option<(SocketAddr, SocketAddr)> {
    let tuple = payload(entry, direction)?;
    let (addresses, protocol) = (payload(tuple, CTA_TUPLE_IP)?, payload(tuple, CTA_TUPLE_PROTO)?);
    // CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST
    let source = payload(addresses, 1)
        .and_then(v4)
        .or_else(|| payload(addresses, 3).and_then(v6))?;
    let destination = payload(addresses, 2)
        .and_then(v4)
        .or_else(|| payload(addresses, 4).and_then(v6))?;
    // CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
    if payload(protocol, 1)?.first() != Some(&IPPROTO_TCP) {
        return None;
    }
    let (from, to) = (port(payload(protocol, 2)?)?, port(payload(protocol, 3)?)?);
    Some((SocketAddr::new(source, from), SocketAddr::new(destination, to)))
}

fn payload(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    netlink::attributes(attributes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, payload)| payload)
}

/// The body of a message that names a connection by its ends, in one direction or more.
fn name(directions: &[(u16, SocketAddr, SocketAddr)]) -> Vec<u8> {
    let is_v4 = directions
        .iter()
        .all(|(_, source, destination)| source.is_ipv4() && destination.is_ipv4());
    let mut body = vec![if is_v4 { 2 } else { 10 }, 0, 0, 0];
    for (direction, source, destination) in directions {
        let (first, second) = if is_v4 { (1, 2) } else { (3, 4) };
        let mut addresses = attribute(first, &octets(source.ip(), is_v4));
        addresses.extend(attribute(second, &octets(destination.ip(), is_v4)));
        let mut protocol = attribute(1, &[IPPROTO_TCP]);
        protocol.extend(attribute(2, &source.port().to_be_bytes()));
        protocol.extend(attribute(3, &destination.port().to_be_bytes()));
        let mut tuple = attribute(CTA_TUPLE_IP | NESTED, &addresses);
        tuple.extend(attribute(CTA_TUPLE_PROTO | NESTED, &protocol));
        body.extend(attribute(direction | NESTED, &tuple));
    }
    body
}

fn octets(address: IpAddr, is_v4: bool) -> Vec<u8> {
    match address {
        IpAddr::V4(address) if is_v4 => address.octets().to_vec(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
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

    fn written(one: &Tracked) -> Vec<u8> {
        let directions = [
            (CTA_TUPLE_ORIG, one.source, one.destination),
            (CTA_TUPLE_REPLY, one.answerer, one.source),
        ];
        netlink::message(NEW, 0, 1, &name(&directions))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(source in any::<u32>(), from in any::<u16>(), to in any::<u16>()) {
            let source = SocketAddr::new(IpAddr::from(source.to_be_bytes()), from);
            let destination = SocketAddr::new("169.254.169.254".parse().unwrap(), to);
            let one = Tracked { source, destination, answerer: "172.17.0.1:8000".parse().unwrap() };
            prop_assert_eq!(tracked(&written(&one)).collect::<Vec<_>>(), vec![one]);
        }

        #[test]
        fn what_is_written_is_read_again_in_ipv6(source in any::<u128>(), from in any::<u16>(), to in any::<u16>()) {
            let source = SocketAddr::new(IpAddr::from(source.to_be_bytes()), from);
            let destination = SocketAddr::new("fd00:ec2::254".parse().unwrap(), to);
            let one = Tracked { source, destination, answerer: destination };
            prop_assert_eq!(tracked(&written(&one)).collect::<Vec<_>>(), vec![one]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = tracked(&bytes).count();
        }
    }
}
