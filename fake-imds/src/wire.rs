//! Lays an answer out as the captured ones are: which headers, in which order. It must not know why it is given.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::answer::phrase;

/// The lifetime of the token, on answers to IMDSv2 requests.
const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
/// What the service calls itself.
const SERVER: HeaderValue = HeaderValue::from_static("EC2ws");
/// The content type of nearly everything, JSON included.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// Which of the captured layouts an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Metadata that last changed then.
    Data(Timestamp),
    /// Metadata that is called JSON and last changed then.
    Json(Timestamp),
    /// User data that last changed then.
    UserData(Timestamp),
    /// JSON of the endpoint for containers, which is another server.
    Container,
    /// A new token.
    Token,
    /// An error page.
    Page,
    /// No body.
    Empty,
}

/// What stands around a body.
#[derive(Debug, Clone)]
pub struct Frame {
    /// HTTP status.
    pub status: u16,
    /// The layout.
    pub layout: Layout,
    /// The token's remaining seconds.
    pub token_seconds: Option<u64>,
    /// The `Allow` header.
    pub allow: Option<&'static str>,
    /// The `Location` header.
    pub location: Option<String>,
    /// Whether to leave `Connection: close` out.
    pub keep_alive: bool,
    /// The time for `Date`.
    pub now: Timestamp,
}

/// The response, headers in the order in which they are to be written.
pub fn lay_out(frame: &Frame, body: Bytes) -> Response<Bytes> {
    let length = HeaderValue::from(body.len());
    let date = date(frame.now);
    let mut lines: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(8);
    if let Some(methods) = frame.allow {
        lines.push((header::ALLOW, HeaderValue::from_static(methods)));
    }
    if let Some(location) = frame
        .location
        .as_deref()
        .and_then(|location| HeaderValue::from_str(location).ok())
    {
        lines.push((header::LOCATION, location));
    }
    if let Some(seconds) = frame.token_seconds {
        lines.push((TOKEN_TTL, HeaderValue::from(seconds)));
    }
    let close = (!frame.keep_alive).then_some((header::CONNECTION, HeaderValue::from_static("close")));
    match frame.layout {
        Layout::Data(changed) | Layout::Json(changed) | Layout::UserData(changed) => {
            let kind = match frame.layout {
                Layout::UserData(_) => HeaderValue::from_static("application/octet-stream"),
                Layout::Json(_) => HeaderValue::from_static("application/json"),
                Layout::Data(_) | Layout::Container | Layout::Token | Layout::Page | Layout::Empty => TEXT,
            };
            lines.push((header::CONTENT_TYPE, kind));
            lines.push((header::ACCEPT_RANGES, HeaderValue::from_static("none")));
            lines.push((header::LAST_MODIFIED, self::date(changed)));
            lines.extend([
                (header::CONTENT_LENGTH, length),
                (header::DATE, date),
                (header::SERVER, SERVER),
            ]);
            lines.extend(close);
        }
        Layout::Container => {
            lines.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
            lines.extend([(header::DATE, date), (header::CONTENT_LENGTH, length)]);
            lines.extend(close);
        }
        Layout::Token | Layout::Empty => {
            lines.extend([
                (header::CONTENT_LENGTH, length),
                (header::DATE, date),
                (header::SERVER, SERVER),
            ]);
            lines.extend(close);
            lines.push((header::CONTENT_TYPE, TEXT));
        }
        Layout::Page => {
            lines.push((header::CONTENT_TYPE, HeaderValue::from_static("text/html")));
            lines.extend([
                (header::CONTENT_LENGTH, length),
                (header::DATE, date),
                (header::SERVER, SERVER),
            ]);
            lines.extend(close);
        }
    }
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(frame.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if frame.status == 405 {
        response
            .extensions_mut()
            .insert(ReasonPhrase::from_static(phrase(405).as_bytes()));
    }
    response.headers_mut().extend(lines);
    response
}

/// An HTTP date.
fn date(at: Timestamp) -> HeaderValue {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&at);
    text.ok()
        .and_then(|text| HeaderValue::from_maybe_shared(Bytes::from(text)).ok())
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
