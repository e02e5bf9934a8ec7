//! One HTTP/1.1 request, read plainly and strictly: what a parser could take in two ways is refused. Knows no route and no caller.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// Head at most this long.
const HEAD_LIMIT: usize = 16 * 1024;
/// Body at most this long: only a forwarded request has one.
const BODY_LIMIT: usize = 64 * 1024;
const HEADER_LIMIT: usize = 64;
/// A request must be complete this long after it could begin; an idle connection is closed then, too.
const PATIENCE: Duration = Duration::from_secs(15);

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
pub async fn read<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut Vec<u8>) -> Result<Request, Unreadable> {
    timeout(PATIENCE, read_patiently(reader, buffer))
        .await
        .map_err(|_| Unreadable::Over)?
}

async fn read_patiently<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut Vec<u8>) -> Result<Request, Unreadable> {
    let (mut request, head_length, body_length) = loop {
        if let Some(parsed) = parse(buffer)? {
            break parsed;
        }
        if buffer.len() > HEAD_LIMIT {
            return Err(Unreadable::TooLarge);
        }
        if reader.read_buf(buffer).await? == 0 {
            return Err(Unreadable::Over);
        }
    };
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
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize, usize)>, Unreadable> {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_LIMIT];
    let mut parsed = httparse::Request::new(&mut headers);
    let head_length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::TooLarge),
        Err(_) => return Err(Unreadable::Malformed),
    };
    if head_length > HEAD_LIMIT {
        return Err(Unreadable::TooLarge);
    }
    let head = bytes.get(..head_length).unwrap_or_default();
    // httparse takes a bare LF and leading empty lines; an intermediary may not.
    let is_bare = |pair: &[u8]| matches!(pair, [before, b'\n'] if *before != b'\r');
    if head.windows(2).any(is_bare) || !head.first().is_some_and(u8::is_ascii_graphic) {
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
    };
    if !target.bytes().all(|b| b.is_ascii_graphic()) || request.header("transfer-encoding").next().is_some() {
        return Err(Unreadable::Malformed);
    }
    if version == 1 && request.single("host")?.is_none() {
        return Err(Unreadable::Malformed);
    }
    let body_length = match request.single("content-length")? {
        None => 0,
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map_err(|_| Unreadable::Malformed)?,
        Some(_) => return Err(Unreadable::Malformed),
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(text: &str) -> Result<Vec<Request>, Unreadable> {
        let mut reader = text.as_bytes();
        let (mut buffer, mut requests) = (Vec::new(), Vec::new());
        loop {
            match read(&mut reader, &mut buffer).await {
                Ok(request) => requests.push(request),
                Err(Unreadable::Over) => return Ok(requests),
                Err(error) => return Err(error),
            }
        }
    }

    #[tokio::test]
    async fn requests_follow_each_other_on_a_connection() {
        let text = "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nokGET /%2e/b?c HTTP/1.1\r\nhost: h\r\nConnection: Close\r\n\r\n";
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
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PROXY TCP4 172.17.0.2 172.17.0.3 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(read_all(head).await, Err(Unreadable::Malformed), "{head:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(HEAD_LIMIT));
        assert_eq!(read_all(&long).await, Err(Unreadable::TooLarge));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
