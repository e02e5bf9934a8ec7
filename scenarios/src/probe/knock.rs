//! One datagram, UDP or ICMP echo, and whether anything at that address answered for it. Knows nothing of what the address means.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::connect::bounded;
use super::protocol::{Failure, FailureKind, Knock, KnockAnswer, Knocked};

/// How long to wait for an answer when the request does not say, in milliseconds. On one machine it takes none; but a bridge whose first port has just come
/// up makes sure for two seconds that nobody else has its IPv6 address (RFC 4862, 5.4), and does not say where it is before that.
const WAIT_MS: u64 = 3_000;
/// An echo request in both versions; the kernel fills in identifier and checksum.
const ECHO_V4: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 1];
const ECHO_V6: [u8; 8] = [128, 0, 0, 0, 0, 0, 0, 1];

/// Sends the datagram and waits for what comes.
pub(super) async fn knock(knock: &Knock) -> Result<KnockAnswer, Failure> {
    let refused = |message: String| Failure {
        kind: FailureKind::Request,
        message,
    };
    let is_echo = match knock.protocol.as_str() {
        "icmp" => true,
        "udp" => false,
        other => return Err(refused(format!("{other:?} is neither udp nor icmp"))),
    };
    let to: SocketAddr = if is_echo {
        let address: IpAddr = knock.to.parse().map_err(|_| refused("to is no address".to_owned()))?;
        SocketAddr::new(address, 0)
    } else {
        knock
            .to
            .parse()
            .map_err(|_| refused("to is no address with a port".to_owned()))?
    };
    let socket = socket(to, is_echo).map_err(|error| Failure {
        kind: FailureKind::System,
        message: error.to_string(),
    })?;
    let answered = tokio::time::timeout(bounded(knock.wait_ms, WAIT_MS), exchange(&socket, to, is_echo)).await;
    Ok(judge(answered.ok()))
}

fn socket(to: SocketAddr, is_echo: bool) -> io::Result<UdpSocket> {
    let protocol = match (is_echo, to.is_ipv4()) {
        (false, _) => Protocol::UDP,
        (true, true) => Protocol::ICMPV4,
        (true, false) => Protocol::ICMPV6,
    };
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    let any: SocketAddr = if to.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    socket.bind(&any.into())?;
    UdpSocket::from_std(socket.into())
}

async fn exchange(socket: &UdpSocket, to: SocketAddr, is_echo: bool) -> io::Result<()> {
    socket.connect(to).await?;
    let bytes: &[u8] = match (is_echo, to.is_ipv4()) {
        (false, _) => b"knock",
        (true, true) => &ECHO_V4,
        (true, false) => &ECHO_V6,
    };
    socket.send(bytes).await?;
    let mut answer = [0_u8; 512];
    socket.recv(&mut answer).await.map(drop)
}

/// A closed port is the address's own answer; that something is prohibited or unreachable is not.
fn judge(answered: Option<io::Result<()>>) -> KnockAnswer {
    let (outcome, said) = match answered {
        None => (Knocked::Nothing, "timeout".to_owned()),
        Some(Ok(())) => (Knocked::Reached, "answered".to_owned()),
        Some(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            (Knocked::Reached, "port unreachable".to_owned())
        }
        Some(Err(error)) => (Knocked::Stopped, error.to_string()),
    };
    KnockAnswer { outcome, said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(to: &str, protocol: &str) -> Knock {
        Knock {
            to: to.to_owned(),
            protocol: protocol.to_owned(),
            wait_ms: Some(2_000),
        }
    }

    #[tokio::test]
    async fn a_closed_port_shows_that_the_datagram_came_through() {
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answer = knock(&asked(&closed.to_string(), "udp")).await.unwrap();
        assert_eq!(answer.outcome, Knocked::Reached, "{}", answer.said);
    }

    #[tokio::test]
    async fn what_is_neither_udp_nor_icmp_is_refused() {
        for (to, protocol) in [("127.0.0.1:1", "tcp"), ("127.0.0.1", "udp"), ("127.0.0.1:1", "icmp")] {
            let failure = knock(&asked(to, protocol)).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Request, "{to} {protocol}");
        }
    }

    #[test]
    fn only_an_answer_of_the_address_itself_counts_as_reached() {
        let stopped = judge(Some(Err(ErrorKind::HostUnreachable.into())));
        assert_eq!(stopped.outcome, Knocked::Stopped);
        assert_eq!(judge(None).outcome, Knocked::Nothing);
    }
}
