//! The ports of this host's bridges, and in whose network namespace each one's other end is. Asked of the host alone: what a container
//! says of its own devices proves nothing.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::addresses::dump;
use super::netlink::{self, ERROR, REQUEST, u32_at};

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_NAMESPACE_ID: u16 = 88;
const GET_NAMESPACE_ID: u16 = 90;
const NAMESPACE_ID: u16 = 1;
const NAMESPACE_DESCRIPTOR: u16 = 3;
/// `IFLA_MASTER` and `IFLA_LINK_NETNSID`.
const MASTER: u16 = 10;
const OTHER_END: u16 = 37;
/// What the kernel says of a namespace that has no number here.
const NONE: u32 = u32::MAX;

/// One port of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    /// The device's index on the host.
    pub(crate) index: u32,
    /// The number that the host gives to the namespace of the device's other end.
    pub(crate) namespace: u32,
}

/// All ports of the calling thread's network namespace.
pub(crate) fn list() -> io::Result<Vec<Port>> {
    let mut found = Vec::new();
    dump(netlink::open(None)?, GET_LINK, |bytes| {
        found.extend(
            netlink::messages(bytes)
                .filter(|message| message.kind == NEW_LINK)
                .filter_map(|message| port(message.body)),
        );
    })?;
    Ok(found)
}

fn port(body: &[u8]) -> Option<Port> {
    // struct ifinfomsg: family, padding, type, index at byte 4; 16 bytes.
    let attribute = |wanted| {
        netlink::attributes(body.get(16..)?)
            .find(|(kind, _)| *kind == wanted)
            .and_then(|(_, payload)| u32_at(payload, 0))
    };
    attribute(MASTER)?;
    Some(Port {
        index: u32_at(body, 4)?,
        namespace: attribute(OTHER_END).filter(|number| *number != NONE)?,
    })
}

/// The number that the calling thread's network namespace gives to another one; None as long as no device joins the two.
pub(crate) fn number(namespace: &File) -> io::Result<Option<u32>> {
    let socket = netlink::open(None)?;
    let descriptor = u32::try_from(namespace.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // struct rtgenmsg: family, padded to 4 bytes.
    let mut body = vec![0; 4];
    body.extend_from_slice(&8_u16.to_ne_bytes());
    body.extend_from_slice(&NAMESPACE_DESCRIPTOR.to_ne_bytes());
    body.extend_from_slice(&descriptor.to_ne_bytes());
    netlink::send(&socket, &netlink::message(GET_NAMESPACE_ID, REQUEST, 1, &body))?;
    let mut buffer = [0; 512];
    let length = netlink::receive(&socket, &mut buffer)?;
    for message in netlink::messages(buffer.get(..length).unwrap_or_default()) {
        if message.kind == ERROR {
            return Err(io::Error::from_raw_os_error(
                netlink::error_number(message.body).unwrap_or_default(),
            ));
        }
        if message.kind == NEW_NAMESPACE_ID {
            return Ok(netlink::attributes(message.body.get(4..).unwrap_or_default())
                .find(|(kind, _)| *kind == NAMESPACE_ID)
                .and_then(|(_, payload)| u32_at(payload, 0))
                .filter(|number| *number != NONE));
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(attributes: &[(u16, u32)]) -> Vec<u8> {
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        for (kind, value) in attributes {
            body.extend_from_slice(&8_u16.to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(&value.to_ne_bytes());
        }
        body
    }

    #[test]
    fn a_port_has_a_bridge_and_its_other_end_elsewhere() {
        assert_eq!(
            port(&link(&[(MASTER, 3), (OTHER_END, 0)])),
            Some(Port { index: 7, namespace: 0 })
        );
        assert_eq!(port(&link(&[(OTHER_END, 0)])), None);
        assert_eq!(port(&link(&[(MASTER, 3)])), None);
        assert_eq!(port(&link(&[(MASTER, 3), (OTHER_END, NONE)])), None);
        assert_eq!(port(&[]), None);
    }

    #[test]
    fn our_own_namespace_can_be_asked_about() {
        // Whether it has a number here depends on the machine; that the kernel answers does not.
        assert!(number(&File::open("/proc/self/ns/net").unwrap()).is_ok());
        assert!(list().is_ok());
    }
}
