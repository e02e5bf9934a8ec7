//! How the holes about framing read what a strict reader refuses. Knows no route and no caller.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Request, Unreadable};

/// A PROXY preamble of version 1 is at most this long.
const PREAMBLE_LIMIT: usize = 107;

/// Folded lines joined and names freed of spaces, byte for byte as long as before.
pub(super) fn straighten(bytes: &[u8]) -> Vec<u8> {
    let ends: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];
    let end = ends
        .iter()
        .filter_map(|end| bytes.windows(end.len()).position(|window| window == *end))
        .min()
        .unwrap_or(bytes.len());
    let pairs = || bytes.windows(2).enumerate().take(end);
    let mut straight = bytes.to_vec();
    for (at, _) in pairs().filter(|(_, pair)| matches!(pair, [b'\n', b' ' | b'\t'])) {
        for at in [at.checked_sub(1).unwrap_or(at), at] {
            if let Some(byte) = straight.get_mut(at).filter(|byte| byte.is_ascii_whitespace()) {
                *byte = b' ';
            }
        }
    }
    for (at, _) in pairs().filter(|(_, pair)| *pair == b" :") {
        straight.swap(at, at + 1);
    }
    straight
}

/// The first number of the first length; chunks are not looked at.
pub(super) fn length(request: &Request) -> usize {
    let first = request.header("content-length").next().unwrap_or_default();
    let text = String::from_utf8_lossy(first);
    let number = text
        .trim()
        .trim_start_matches('+')
        .split(',')
        .next()
        .unwrap_or_default();
    number.trim().parse().unwrap_or(0)
}

/// `PROXY TCP4 172.17.0.2 169.254.169.254 40000 80`: the first address, and the line is gone.
pub(super) async fn take_preamble<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut Vec<u8>,
) -> Result<Option<IpAddr>, Unreadable> {
    while buffer.len() < PREAMBLE_LIMIT && !buffer.contains(&b'\n') {
        if reader.read_buf(buffer).await? == 0 {
            return Err(Unreadable::Over);
        }
    }
    let end = buffer.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).into_owned();
    if !line.starts_with("PROXY TCP") {
        return Ok(None);
    }
    buffer.drain(..end);
    Ok(line.split(' ').nth(2).and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hole::Hole;

    const HEAD: &str = "GET / HTTP/1.1\r\nHost: instance-data\r\n";

    async fn is_read(hole: Option<Hole>, text: &str) -> bool {
        super::super::read(&mut text.as_bytes(), &mut Vec::new(), hole)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn odd_framing_is_read_only_leniently() {
        for text in [
            format!("{HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx"),
            format!("{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
            format!("{HEAD}Content-Length: +1\r\n\r\nx"),
            format!("{HEAD}Content-Length: 1,1\r\n\r\nx"),
            format!("{HEAD}X: a\r\n b\r\n\r\n"),
            format!("{HEAD}X : a\r\n\r\n"),
            format!("{HEAD}\r\n").replace('\r', ""),
        ] {
            assert!(!is_read(None, &text).await, "{text:?}");
            assert!(is_read(Some(Hole::LenientFraming), &text).await, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_preamble_is_taken_only_with_its_switch() {
        let text = format!("PROXY TCP4 172.17.0.2 169.254.169.254 40000 80\r\n{HEAD}\r\n");
        assert!(!is_read(None, &text).await);
        let hole = Some(Hole::ProxyProtocol);
        let request = super::super::read(&mut text.as_bytes(), &mut Vec::new(), hole).await;
        assert_eq!(request.unwrap().announced, "172.17.0.2".parse().ok());
        assert!(is_read(hole, &format!("{HEAD}\r\n")).await);
    }

    #[tokio::test]
    async fn any_host_and_any_size_are_taken_only_with_their_switches() {
        for (hole, text) in [
            (
                Hole::AnyHostHeader,
                "GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n".to_owned(),
            ),
            (Hole::AnyHostHeader, "GET / HTTP/1.1\r\n\r\n".to_owned()),
            (Hole::NoSizeLimits, format!("{HEAD}X: {}\r\n\r\n", "x".repeat(100_000))),
            (Hole::NoSizeLimits, format!("{HEAD}{}\r\n", "X: x\r\n".repeat(10_000))),
        ] {
            assert!(!is_read(None, &text).await, "{hole:?}");
            assert!(is_read(Some(hole), &text).await, "{hole:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn straightening_keeps_the_length(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            proptest::prop_assert_eq!(straighten(&bytes).len(), bytes.len());
        }
    }
}
