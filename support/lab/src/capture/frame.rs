//! Frames, and the TCP segments in them. Pure.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

const ETHERNET_HEADER: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const TCP: u8 = 6;
/// IPv6 extension headers are walked at most this far; the kernel itself accepts eight of most kinds.
const MOST_EXTENSIONS: usize = 16;

/// Which way a frame crossed an interface, as the host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Into the host: on a container's wire, what the container sent.
    Received,
    /// Out of the host: on a container's wire, what the container was given.
    Sent,
}

/// One frame as it crossed one interface. A packet that is forwarded crosses several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its place in the order of all frames of the capture.
    pub number: u64,
    /// The kernel's index of the interface.
    pub interface: u32,
    /// Which way it went.
    pub direction: Direction,
    /// All of it, from the Ethernet header on.
    pub bytes: Arc<[u8]>,
}

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Sequence number of its first byte, or of its SYN.
    pub sequence: u32,
    /// Whether it opens a connection.
    pub syn: bool,
    /// What it carries.
    pub payload: &'a [u8],
}

impl Frame {
    /// The TCP segment in it, if it is one. A fragment but the first is none: its bytes are in the frame.
    #[must_use]
    pub fn segment(&self) -> Option<Segment<'_>> {
        segment(&self.bytes)
    }
}

fn segment(frame: &[u8]) -> Option<Segment<'_>> {
    let mut kind = u16_at(frame, ETHERNET_HEADER - 2)?;
    let mut start = ETHERNET_HEADER;
    if kind == VLAN {
        kind = u16_at(frame, start + 2)?;
        start += 4;
    }
    let packet = frame.get(start..)?;
    let (source, destination, tcp) = match kind {
        IPV4 => ipv4(packet)?,
        IPV6 => ipv6(packet)?,
        _ => return None,
    };
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    if header < 20 {
        return None;
    }
    Some(Segment {
        source: SocketAddr::new(source, u16_at(tcp, 0)?),
        destination: SocketAddr::new(destination, u16_at(tcp, 2)?),
        sequence: u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?),
        syn: tcp.get(13)? & 0x02 != 0,
        payload: tcp.get(header..)?,
    })
}

/// Addresses and TCP part of an IPv4 packet.
fn ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let total = usize::from(u16_at(packet, 2)?);
    let fragment = u16_at(packet, 6)? & 0x1fff;
    if packet.first()? >> 4 != 4 || header < 20 || fragment != 0 || *packet.get(9)? != TCP {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?)));
    Some((address(12)?, address(16)?, body(packet, header, total)?))
}

/// Addresses and TCP part of an IPv6 packet.
fn ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    if packet.first()? >> 4 != 6 {
        return None;
    }
    let total = 40 + usize::from(u16_at(packet, 4)?);
    let address = |at: usize| Some(IpAddr::from(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?)));
    let (mut next, mut start) = (*packet.get(6)?, 40);
    for _ in 0..MOST_EXTENSIONS {
        match next {
            TCP => {
                return Some((
                    address(8)?,
                    address(24)?,
                    body(packet, start, if total == 40 { 0 } else { total })?,
                ));
            }
            // Hop-by-hop, routing and destination options say how many further groups of eight bytes they have.
            0 | 43 | 60 => {
                next = *packet.get(start)?;
                start += 8 + 8 * usize::from(*packet.get(start + 1)?);
            }
            // A fragment header has a fixed size; only a first fragment has the TCP header.
            44 if u16_at(packet, start + 2)? >> 3 == 0 => {
                next = *packet.get(start)?;
                start += 8;
            }
            _ => return None,
        }
    }
    None
}

/// The part of a packet after its header, without the padding of short frames. A length of zero stands for "to the end of the frame": what
/// segmentation offload hands over can be longer than the field could say.
fn body(packet: &[u8], start: usize, total: usize) -> Option<&[u8]> {
    let end = if total == 0 {
        packet.len()
    } else {
        total.min(packet.len())
    };
    packet.get(start..end)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Renders a segment as a frame, with `padding` bytes behind it.
    pub(crate) fn render(segment: &Segment<'_>, padding: usize) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(segment.source.port().to_be_bytes());
        tcp.extend(segment.destination.port().to_be_bytes());
        tcp.extend(segment.sequence.to_be_bytes());
        tcp.extend([
            0,
            0,
            0,
            0,
            0x50,
            if segment.syn { 0x02 } else { 0x10 },
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        tcp.extend(segment.payload);
        let mut frame = vec![0; 12];
        match (segment.source.ip(), segment.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00, 0x45, 0]);
                frame.extend(u16::try_from(20 + tcp.len()).unwrap().to_be_bytes());
                frame.extend([0, 0, 0x40, 0, 64, TCP, 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(u16::try_from(8 + tcp.len()).unwrap().to_be_bytes());
                frame.extend([60, 64]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                frame.extend([TCP, 0, 1, 4, 0, 0, 0, 0]);
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("mixed addresses"),
        }
        frame.extend(tcp);
        frame.extend(vec![0xee; padding]);
        frame
    }

    fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        prop_oneof![
            any::<([u8; 4], u16, [u8; 4], u16)>().prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into())),
            any::<([u8; 16], u16, [u8; 16], u16)>().prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into())),
        ]
    }

    proptest! {
        #[test]
        fn what_was_rendered_is_parsed(
            (source, destination) in addresses(), sequence: u32, syn: bool, payload in prop::collection::vec(any::<u8>(), 0..100),
            padding in 0_usize..20,
        ) {
            let written = Segment { source, destination, sequence, syn, payload: &payload };
            let frame = render(&written, padding);
            prop_assert_eq!(segment(&frame), Some(written));
        }

        #[test]
        fn no_frame_makes_the_parser_panic(frame in prop::collection::vec(any::<u8>(), 0..120)) {
            segment(&frame);
        }

        #[test]
        fn no_damaged_frame_makes_the_parser_panic((source, destination) in addresses(), at in 0_usize..60, byte: u8, cut in 0_usize..90) {
            let mut frame = render(&Segment { source, destination, sequence: 1, syn: false, payload: b"payload" }, 0);
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
            frame.truncate(cut.max(20));
            segment(&frame);
        }
    }
}
