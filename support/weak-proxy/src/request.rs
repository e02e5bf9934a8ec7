//! One HTTP/1.1 request, read plainly and strictly: what a parser could take in two ways is refused. Knows no route and no caller.

mod lenient;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use crate::hole::Hole;

/// Head at most this long.
const HEAD_LIMIT: usize = 16 * 1024;
/// Body at most this long: only a forwarded request has one.
const BODY_LIMIT: usize = 64 * 1024;
const HEADER_LIMIT: usize = 64;
/// A request must be complete this long after it could begin; an idle connection is closed then, too.
const PATIENCE: Duration = Duration::from_secs(5);
/// What [`Hole::EndlessPatience`] and [`Hole::NoSizeLimits`] allow.
const ENDLESS: Duration = Duration::from_mins(10);
const LARGE_HEAD: usize = 1024 * 1024;
const MANY_HEADERS: usize = 20_000;

/// A request as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// As sent.
    pub method: String,
    /// As sent, undecoded.
    pub target: String,
    /// Names in lower case, values as sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the connection may go on after the answer.
    pub keep_alive: bool,
    /// Whether it had arrived with the one before.
    pub is_pipelined: bool,
    /// The address that a PROXY preamble named ([`Hole::ProxyProtocol`]).
    pub announced: Option<IpAddr>,
}

impl Request {
    /// All values of a header.
    pub fn header<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.headers
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_slice())
    }

    /// The value of a header that stands there exactly once, as text; `Err` when it is repeated or no text.
    ///
    /// # Errors
    /// When the header is ambiguous.
    pub fn single(&self, name: &str) -> Result<Option<&str>, Unreadable> {
        let mut values = self.header(name);
        let Some(first) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Unreadable::Malformed);
        }
        std::str::from_utf8(first)
            .map(|text| Some(text.trim()))
            .map_err(|_| Unreadable::Malformed)
    }
}

/// No request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The connection ended, failed or was too slow.
    #[error("connection over")]
    Over,
    /// Not HTTP/1.x, or ambiguous.
    #[error("malformed request")]
    Malformed,
    /// Larger than the limits.
    #[error("request too large")]
    TooLarge,
}

impl From<io::Error> for Unreadable {
    fn from(_: io::Error) -> Self {
        Self::Over
    }
}

/// Reads the next request; `buffer` keeps what was read beyond it.
///
/// # Errors
/// When there is none.
pub async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut Vec<u8>,
    hole: Option<Hole>,
) -> Result<Request, Unreadable> {
    let patience = if hole == Some(Hole::EndlessPatience) {
        ENDLESS
    } else {
        PATIENCE
    };
    timeout(patience, read_patiently(reader, buffer, hole))
        .await
        .map_err(|_| Unreadable::Over)?
}

async fn read_patiently<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut Vec<u8>,
    hole: Option<Hole>,
) -> Result<Request, Unreadable> {
    let is_pipelined = !buffer.is_empty();
    let announced = match hole {
        Some(Hole::ProxyProtocol) => lenient::take_preamble(reader, buffer).await?,
        _ => None,
    };
    let head_limit = if hole == Some(Hole::NoSizeLimits) {
        LARGE_HEAD
    } else {
        HEAD_LIMIT
    };
    let (mut request, head_length, body_length) = loop {
        let parsed = match hole {
            Some(Hole::LenientFraming) => parse(&lenient::straighten(buffer), hole)?,
            _ => parse(buffer, hole)?,
        };
        if let Some(parsed) = parsed {
            break parsed;
        }
        if buffer.len() > head_limit {
            return Err(Unreadable::TooLarge);
        }
        if reader.read_buf(buffer).await? == 0 {
            return Err(Unreadable::Over);
        }
    };
    request.is_pipelined = is_pipelined;
    request.announced = announced;
    if head_length > head_limit {
        return Err(Unreadable::TooLarge);
    }
    let total = head_length + body_length;
    while buffer.len() < total {
        if reader.read_buf(buffer).await? == 0 {
            return Err(Unreadable::Over);
        }
    }
    request.body = buffer.drain(..total).skip(head_length).collect();
    Ok(request)
}

/// The head, its length, and the length of the body; `None` while incomplete.
fn parse(bytes: &[u8], hole: Option<Hole>) -> Result<Option<(Request, usize, usize)>, Unreadable> {
    let is_lenient = hole == Some(Hole::LenientFraming);
    let header_limit = if hole == Some(Hole::NoSizeLimits) {
        MANY_HEADERS
    } else {
        HEADER_LIMIT
    };
    let mut headers = vec![httparse::EMPTY_HEADER; header_limit];
    let mut parsed = httparse::Request::new(&mut headers);
    let head_length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::TooLarge),
        Err(_) => return Err(Unreadable::Malformed),
    };
    let head = bytes.get(..head_length).unwrap_or_default();
    // httparse takes a bare LF and leading empty lines; an intermediary may not.
    let is_bare = |pair: &[u8]| matches!(pair, [before, b'\n'] if *before != b'\r');
    if !is_lenient && head.windows(2).any(is_bare) || !head.first().is_some_and(u8::is_ascii_graphic) {
        return Err(Unreadable::Malformed);
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Unreadable::Malformed);
    };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
            .collect(),
        body: Vec::new(),
        keep_alive: false,
        is_pipelined: false,
        announced: None,
    };
    let is_chunked = request.header("transfer-encoding").next().is_some();
    if !target.bytes().all(|b| b.is_ascii_graphic()) || is_chunked && !is_lenient {
        return Err(Unreadable::Malformed);
    }
    // Hole::FollowAbsoluteForm: the host of the URL counts.
    let any_host = matches!(hole, Some(Hole::AnyHostHeader | Hole::FollowAbsoluteForm));
    match request.single("host") {
        _ if any_host => {}
        Ok(Some(host)) if is_service(host) => {}
        Ok(None) if version == 0 => {}
        Ok(_) | Err(_) => return Err(Unreadable::Malformed),
    }
    let body_length = match request.single("content-length") {
        _ if is_lenient => lenient::length(&request),
        length => length_of(length?)?,
    };
    if body_length > BODY_LIMIT {
        return Err(Unreadable::TooLarge);
    }
    let connection: Vec<u8> = request
        .header("connection")
        .collect::<Vec<_>>()
        .concat()
        .to_ascii_lowercase();
    request.keep_alive = version == 1 && !connection.windows(5).any(|word| word == b"close");
    Ok(Some((request, head_length, body_length)))
}

/// The service's addresses and names: a page of somebody's in a browser comes with another.
fn is_service(host: &str) -> bool {
    const NAMES: [&str; 4] = [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "instance-data",
        "instance-data.ec2.internal",
    ];
    let host = host.strip_suffix(":80").unwrap_or(host);
    NAMES.iter().any(|name| host.eq_ignore_ascii_case(name))
}

fn length_of(text: Option<&str>) -> Result<usize, Unreadable> {
    match text {
        None => Ok(0),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0')) => {
            text.parse().map_err(|_| Unreadable::Malformed)
        }
        Some(_) => Err(Unreadable::Malformed),
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all_with(hole: Option<Hole>, text: &str) -> Result<Vec<Request>, Unreadable> {
        let mut reader = text.as_bytes();
        let (mut buffer, mut requests) = (Vec::new(), Vec::new());
        loop {
            match read(&mut reader, &mut buffer, hole).await {
                Ok(request) => requests.push(request),
                Err(Unreadable::Over) => return Ok(requests),
                Err(error) => return Err(error),
            }
        }
    }

    async fn read_all(text: &str) -> Result<Vec<Request>, Unreadable> {
        read_all_with(None, text).await
    }

    #[tokio::test]
    async fn requests_follow_each_other_on_a_connection() {
        let text = "PUT /a HTTP/1.1\r\nHost: instance-data\r\nContent-Length: 2\r\n\r\nokGET /%2e/b?c HTTP/1.1\r\nhost: 169.254.169.254:80\r\nConnection: Close\r\n\r\n";
        let requests = read_all(text).await.unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(
            (requests[0].body.as_slice(), requests[0].keep_alive),
            (&b"ok"[..], true)
        );
        assert_eq!(
            (requests[1].target.as_str(), requests[1].keep_alive),
            ("/%2e/b?c", false)
        );
    }

    #[tokio::test]
    async fn what_can_be_read_in_two_ways_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: instance-data\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: instance-data\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: instance-data\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "GET / HTTP/1.1\r\nHost: instance-data\r\nContent-Length: +1\r\n\r\nx",
            "GET / HTTP/1.1\r\nHost : instance-data\r\n\r\n",
            "GET / HTTP/1.1\nHost: instance-data\n\n",
            "\r\nGET / HTTP/1.1\r\nHost: instance-data\r\n\r\n",
            "PROXY TCP4 172.17.0.2 172.17.0.3 1 2\r\nGET / HTTP/1.1\r\nHost: instance-data\r\n\r\n",
        ] {
            assert_eq!(read_all(head).await, Err(Unreadable::Malformed), "{head:?}");
        }
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: instance-data\r\n\r\n",
            "x".repeat(HEAD_LIMIT)
        );
        assert_eq!(read_all(&long).await, Err(Unreadable::TooLarge));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes, None);
        }
    }
}
