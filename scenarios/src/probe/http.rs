//! Just enough HTTP/1.1 to say a request exactly as given and to read an answer leniently. Pure, and written apart from the proxy and the
//! fakes: it must not know any of their code.

/// The longest response head that is looked at.
const MAX_HEAD: usize = 64 * 1024;

/// A URL's parts, the target untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// `HOST:PORT`, to connect to.
    pub(super) to: String,
    /// As written, for the `Host` header.
    pub(super) authority: String,
    /// Everything after the authority, `/` where there is nothing.
    pub(super) target: String,
}

impl Url {
    /// Splits `http://HOST[:PORT][/PATH]` without normalising anything.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = if target.is_empty() { "/" } else { target };
        let bracket = authority.rfind(']').map_or(0, |at| at + 1);
        let has_port = authority.get(bracket..)?.contains(':');
        let to = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        (!authority.is_empty()).then(|| Self {
            to,
            authority: authority.to_owned(),
            target: target.to_owned(),
        })
    }
}

/// The bytes of a request. Nothing is escaped: a hostile target or header goes out as it is.
pub(super) fn render(method: &str, url: &Url, headers: &[(String, String)], body: Option<&[u8]>) -> Vec<u8> {
    let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {} HTTP/1.1\r\n", url.target);
    let mut line = |name: &str, value: &str| {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    };
    if !has("host") {
        line("Host", &url.authority);
    }
    for (name, value) in headers {
        line(name, value);
    }
    if !has("connection") {
        line("Connection", "close");
    }
    if !has("content-length") && !has("transfer-encoding") && (body.is_some() || matches!(method, "PUT" | "POST")) {
        line("Content-Length", &body.map_or(0, <[u8]>::len).to_string());
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.unwrap_or_default());
    bytes
}

/// A response, as far as it has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// How many bytes it took, where its end is known to have arrived.
    pub(super) length: Option<usize>,
}

/// Reads the first response that is not a 1xx. `None` where no complete head has arrived or it is no HTTP.
pub(super) fn parse(bytes: &[u8], to_head: bool) -> Option<Response> {
    let mut offset = 0;
    loop {
        let mut response = parse_one(bytes.get(offset..)?, to_head)?;
        if (100..200).contains(&response.status) {
            offset += response.length?;
            continue;
        }
        response.length = response.length.map(|length| length + offset);
        return Some(response);
    }
}

fn parse_one(bytes: &[u8], to_head: bool) -> Option<Response> {
    let head_length = bytes
        .windows(4)
        .take(MAX_HEAD)
        .position(|window| window == b"\r\n\r\n")?
        + 4;
    let head = String::from_utf8_lossy(bytes.get(..head_length)?);
    let mut lines = head.split("\r\n");
    let mut status_line = lines.next()?.splitn(3, ' ');
    if !status_line.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let status: u16 = status_line.next()?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let value = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.as_str())
    };
    let rest = bytes.get(head_length..)?;
    let (body, body_length) = if to_head || status < 200 || status == 204 || status == 304 {
        (Vec::new(), Some(0))
    } else if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        unchunk(rest)
    } else if let Some(length) = value("content-length").and_then(|length| length.parse::<usize>().ok()) {
        match rest.get(..length) {
            Some(body) => (body.to_vec(), Some(length)),
            None => (rest.to_vec(), None),
        }
    } else {
        // Without a length the body lasts until the connection ends.
        (rest.to_vec(), None)
    };
    Some(Response {
        status,
        headers,
        body,
        length: body_length.and_then(|length| head_length.checked_add(length)),
    })
}

/// The chunks that have arrived and, once the last has, how many bytes they took.
fn unchunk(bytes: &[u8]) -> (Vec<u8>, Option<usize>) {
    let mut body = Vec::new();
    let mut at = 0;
    // Each turn consumes at least three bytes, so the input bounds the loop.
    while let Some(rest) = bytes.get(at..) {
        let Some(line_end) = rest.windows(2).position(|window| window == b"\r\n") else {
            break;
        };
        let line = String::from_utf8_lossy(rest.get(..line_end).unwrap_or_default());
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        let start = line_end + 2;
        if size == 0 {
            // Trailers end with an empty line; with none, the empty line is the two bytes that follow.
            let trailer = rest.get(line_end..).unwrap_or_default();
            return match trailer.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => (body, Some(at + line_end + end + 4)),
                None => (body, None),
            };
        }
        let Some(end) = start.checked_add(size) else { break };
        let Some(chunk) = rest.get(start..end) else {
            body.extend_from_slice(rest.get(start..).unwrap_or_default());
            break;
        };
        body.extend_from_slice(chunk);
        at += end + 2;
    }
    (body, None)
}

/// Whether `wanted` complete responses have arrived.
pub(super) fn complete_responses(bytes: &[u8], wanted: usize) -> bool {
    let mut rest = bytes;
    for _ in 0..wanted {
        let Some(length) = parse(rest, false).and_then(|response| response.length) else {
            return false;
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Option<(String, String, String)> {
        Url::parse(text).map(|url| (url.to, url.authority, url.target))
    }

    #[test]
    fn urls_keep_their_target_as_written() {
        let parts =
            |to: &str, authority: &str, target: &str| Some((to.to_owned(), authority.to_owned(), target.to_owned()));
        assert_eq!(
            url("http://169.254.169.254/a/../b%2f?x"),
            parts("169.254.169.254:80", "169.254.169.254", "/a/../b%2f?x")
        );
        assert_eq!(
            url("http://[fd00:ec2::254]/"),
            parts("[fd00:ec2::254]:80", "[fd00:ec2::254]", "/")
        );
        assert_eq!(url("http://[::1]:8080"), parts("[::1]:8080", "[::1]:8080", "/"));
        assert_eq!(url("https://x/"), None);
        assert_eq!(url("http:///"), None);
    }

    #[test]
    fn a_request_has_host_and_close_unless_given() {
        let url = Url::parse("http://h/p").unwrap();
        let headers = [("host".to_owned(), "other".to_owned())];
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(render("PUT", &url, &[], None)),
            "PUT /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(
            text(render("GET", &url, &headers, None)),
            "GET /p HTTP/1.1\r\nhost: other\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_response_ends_by_length_by_chunks_or_without_body() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP";
        assert_eq!(parse(whole, false).unwrap().length, Some(whole.len() - 4));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let response = parse(chunked, false).unwrap();
        assert_eq!(
            (response.body.as_slice(), response.length),
            (b"ok".as_slice(), Some(chunked.len()))
        );
        assert_eq!(
            parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true)
                .unwrap()
                .body,
            b""
        );
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n\r\nuntil eof", false).unwrap().length, None);
    }

    #[test]
    fn an_interim_response_is_skipped() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(parse(bytes, false).unwrap().status, 401);
    }

    #[test]
    fn pipelined_responses_are_counted() {
        let two = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nb";
        assert!(complete_responses(two, 2));
        assert!(!complete_responses(two, 3));
        assert!(!complete_responses(&two[..two.len() - 1], 2));
    }

    proptest! {
        #[test]
        fn hostile_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256), tail in "[0-9a-fA-F;\r\n]{0,64}") {
            let _ = complete_responses(&bytes, 3);
            let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            chunked.extend_from_slice(tail.as_bytes());
            let _ = parse(&chunked, false);
        }
    }
}
