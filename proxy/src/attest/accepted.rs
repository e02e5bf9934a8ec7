//! What an accepted socket says of itself: the peer, and where the peer wanted to go before the firewall redirected it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use socket2::SockRef;

use crate::caller::Connection;

/// Reads both ends. Without a redirect the original destination is the proxy's own address, which is a direct connection.
///
/// # Errors
/// The peer has gone already.
pub fn connection(accepted: &impl AsFd) -> io::Result<Connection> {
    let socket = SockRef::from(accepted);
    let peer = socket.peer_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    let client = canonical(peer);
    let original = if client.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    let original = match original {
        Ok(original) => original,
        // Connection tracking knows nothing of it, so nothing redirected it.
        Err(_) => socket.local_addr()?,
    };
    let original_destination = canonical(original.as_socket().ok_or(io::ErrorKind::Unsupported)?);
    Ok(Connection {
        client,
        original_destination,
    })
}

/// An IPv4 peer of a `[::]` listener is written as v4-mapped; and a scope or flow is no part of an identity.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_that_nothing_redirected_was_meant_for_us() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let connection = connection(&accepted).unwrap();
        assert_eq!(connection.client, client.local_addr().unwrap());
        assert_eq!(connection.original_destination, listener.local_addr().unwrap());
    }

    #[test]
    fn a_mapped_peer_is_given_as_ipv4() {
        assert_eq!(
            canonical("[::ffff:172.17.0.2]:9".parse().unwrap()),
            "172.17.0.2:9".parse().unwrap()
        );
        assert_eq!(
            canonical("[fe80::1%3]:9".parse().unwrap()),
            "[fe80::1]:9".parse().unwrap()
        );
    }
}
