//! HTTP/1.1 requests, read strictly: one framing, one host, no body, nothing that two parsers could read differently (P13).
//! Knows no route and no caller.

#[cfg(test)]
mod tests;

use thiserror::Error;

/// Bytes of a request line, without its line end.
pub const LINE_MAX: usize = 2048;
/// Bytes of a whole head, with every line end.
pub const HEAD_MAX: usize = LINE_MAX + 8192;
/// Header fields.
pub const HEADERS_MAX: usize = 64;

/// What is wrong with a request. The caller is told nothing of it but 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A line feed without carriage return before it, or the reverse.
    #[error("bare line end")]
    BareLineEnd,
    /// A control byte, or a byte outside ASCII in a place for tokens.
    #[error("forbidden byte")]
    ForbiddenByte,
    /// The request line or the head is too long, or there are too many fields.
    #[error("too large")]
    TooLarge,
    /// The request line is not `METHOD TARGET HTTP/1.1`.
    #[error("request line")]
    RequestLine,
    /// The target is not a path on this host.
    #[error("target is not in origin form")]
    Target,
    /// A header field is not `name: value`.
    #[error("header field")]
    Header,
    /// There is no `Host`, or more than one, or it is not the metadata service.
    #[error("host")]
    Host,
    /// Something says that a body follows, or says it twice.
    #[error("framing")]
    Framing,
}

/// The methods that the service knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// Any other, well-formed one.
    Other,
}

/// A header that may be given once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once<'b> {
    /// Not given.
    Absent,
    /// Given once.
    One(&'b str),
    /// Given more than once, or not visible ASCII.
    Ambiguous,
}

impl<'b> Once<'b> {
    fn add(&mut self, value: &'b [u8]) {
        let visible = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.bytes().all(|b| (0x20..0x7f).contains(&b)));
        *self = match (*self, visible) {
            (Self::Absent, Some(text)) => Self::One(text),
            (Self::Absent | Self::One(_) | Self::Ambiguous, _) => Self::Ambiguous,
        };
    }
}

/// The service that a request names in `Host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The instance metadata service.
    Metadata,
    /// The endpoint for credentials of containers.
    Container,
}

/// One request. Only these headers have a meaning here; all others, forwarding headers above all, are never looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'b> {
    /// The method.
    pub method: Method,
    /// The path, byte for byte as it was sent.
    pub path: &'b str,
    /// Whom it names as its host.
    pub host: Named,
    /// `Authorization`
    pub authorization: Once<'b>,
    /// `X-aws-ec2-metadata-token`
    pub token: Once<'b>,
    /// `X-aws-ec2-metadata-token-ttl-seconds`
    pub token_ttl: Once<'b>,
    /// Whether an `X-Forwarded-For` is there: the sign of a request that some intermediary relayed.
    pub is_forwarded: bool,
    /// The client asks for the connection to be closed.
    pub close: bool,
}

/// Where the head of a request ends, if all of it is there: the number of its bytes.
///
/// Faults that can be seen before the end are reported at once, so that nobody waits for an end that cannot come.
///
/// # Errors
/// When the bytes so far cannot become a request.
pub fn find_end(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut line_start = 0;
    let mut fields = 0;
    let mut before = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if before != b'\r' => return Err(Malformed::BareLineEnd),
            b'\n' => {
                let line = bytes.get(line_start..at - 1).unwrap_or_default();
                if line_start == 0 {
                    check_request_line(line)?;
                } else if line.is_empty() {
                    return if at < HEAD_MAX {
                        Ok(Some(at + 1))
                    } else {
                        Err(Malformed::TooLarge)
                    };
                } else {
                    fields += 1;
                }
                if fields > HEADERS_MAX {
                    return Err(Malformed::TooLarge);
                }
                line_start = at + 1;
            }
            _ if before == b'\r' => return Err(Malformed::BareLineEnd),
            b'\r' => {}
            b'\t' if line_start > 0 => {}
            0..0x20 | 0x7f => return Err(Malformed::ForbiddenByte),
            _ => {}
        }
        if line_start == 0 && at > LINE_MAX {
            return Err(Malformed::TooLarge);
        }
        before = byte;
    }
    if bytes.len() >= HEAD_MAX {
        Err(Malformed::TooLarge)
    } else {
        Ok(None)
    }
}

fn check_request_line(line: &[u8]) -> Result<(), Malformed> {
    if line.len() > LINE_MAX {
        return Err(Malformed::TooLarge);
    }
    let mut parts = line.split(|b| *b == b' ');
    let (method, target, version, more) = (parts.next(), parts.next(), parts.next(), parts.next());
    if method.is_none_or(<[u8]>::is_empty) || version != Some(b"HTTP/1.1") || more.is_some() {
        return Err(Malformed::RequestLine);
    }
    let target = target.unwrap_or_default();
    if target.first() != Some(&b'/') || !target.iter().all(|b| is_target_byte(*b)) {
        return Err(Malformed::Target);
    }
    Ok(())
}

/// RFC 3986 characters of path and query, without `%`: no path here needs escaping, so an escape is an attempt to say one thing twice.
fn is_target_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&b)
}

/// Reads one whole head, as [`find_end`] delimits it.
///
/// # Errors
/// When anything about it is out of order.
pub fn parse(head: &[u8]) -> Result<Request<'_>, Malformed> {
    if find_end(head)? != Some(head.len()) {
        return Err(Malformed::RequestLine);
    }
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(httparse::Status::Complete(_) | httparse::Status::Partial) => return Err(Malformed::RequestLine),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(Malformed::Header),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooLarge),
        Err(_) => return Err(Malformed::RequestLine),
    }
    let method = match parsed.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("PUT") => Method::Put,
        Some(_) => Method::Other,
        None => return Err(Malformed::RequestLine),
    };
    let path = parsed.path.ok_or(Malformed::RequestLine)?;
    let mut request = Request {
        method,
        path,
        host: Named::Metadata,
        authorization: Once::Absent,
        token: Once::Absent,
        token_ttl: Once::Absent,
        is_forwarded: false,
        close: false,
    };
    let mut host = Once::Absent;
    let mut length = Once::Absent;
    for field in parsed.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("host") {
            host.add(field.value);
        } else if is("content-length") {
            length.add(field.value);
        } else if is("transfer-encoding") || is("trailer") {
            return Err(Malformed::Framing);
        } else if is("authorization") {
            request.authorization.add(field.value);
        } else if is("x-aws-ec2-metadata-token") {
            request.token.add(field.value);
        } else if is("x-aws-ec2-metadata-token-ttl-seconds") {
            request.token_ttl.add(field.value);
        } else if is("x-forwarded-for") {
            request.is_forwarded = true;
        } else if is("connection") {
            let options = field.value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
            request.close |= options.into_iter().any(|option| option.eq_ignore_ascii_case(b"close"));
        }
    }
    request.host = match host {
        Once::One(host) => named(host).ok_or(Malformed::Host)?,
        Once::Absent | Once::Ambiguous => return Err(Malformed::Host),
    };
    match (length, method) {
        (Once::Absent | Once::One("0"), _) => {}
        // The body of a method that is refused anyway is not read: the connection ends with the refusal.
        (Once::One(text), Method::Other) if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
            request.close = true;
        }
        (Once::One(_) | Once::Ambiguous, _) => return Err(Malformed::Framing),
    }
    Ok(request)
}

/// Whom a name means. Anything else is another host's request, or a browser tricked by DNS rebinding.
fn named(host: &str) -> Option<Named> {
    let host = host.strip_suffix(":80").unwrap_or(host);
    let is = |name: &&str| host.eq_ignore_ascii_case(name);
    let metadata = [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "instance-data",
        "instance-data.ec2.internal",
    ];
    if metadata.iter().any(is) {
        Some(Named::Metadata)
    } else {
        is(&"169.254.170.2").then_some(Named::Container)
    }
}
