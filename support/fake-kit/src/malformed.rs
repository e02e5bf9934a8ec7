//! Bytes that never became a request, and the bare status that hyper answers them with: a fake answers in its own words instead.
//! It must not know which words.

use std::io::IoSlice;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode};

use crate::connection::Connection;

/// Bytes that never became a request.
#[derive(Debug, Clone)]
pub struct Malformed {
    /// The connection they came over.
    pub connection: Connection,
    /// What was received, up to a limit.
    pub received: Vec<u8>,
    /// What was wrong.
    pub reason: String,
    /// What is answered; 0 if nothing.
    pub status: u16,
}

/// What hyper says to a head that it cannot parse, in lower case. The last bytes that it writes on a connection.
const BARE: [(u16, &str); 3] = [
    (
        400,
        "http/1.1 400 bad request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        414,
        "http/1.1 414 uri too long\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        431,
        "http/1.1 431 request header fields too large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    ),
];

/// The status that hyper is about to answer by itself, if that is what is about to be written.
pub(crate) fn bare_status(bufs: &[IoSlice<'_>]) -> Option<u16> {
    let [only] = bufs else { return None };
    let known = BARE.iter().find(|(_, bare)| only.eq_ignore_ascii_case(bare.as_bytes()));
    known.map(|(status, _)| *status)
}

/// The status without any word.
pub(crate) fn bare(status: u16) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    headers.insert(http::header::CONTENT_LENGTH, http::HeaderValue::from_static("0"));
    response
}

/// An answer as it goes over the wire; hyper writes no more once it has met what it cannot parse.
pub(crate) fn written(response: &Response<Bytes>, title_case: bool) -> Vec<u8> {
    let status = response.status();
    let phrase = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {phrase}\r\n", status.as_u16()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend(named(name, title_case).into_bytes());
        bytes.extend(b": ");
        bytes.extend(value.as_bytes());
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(response.body());
    bytes
}

fn named(name: &HeaderName, title_case: bool) -> String {
    let mut upper = title_case;
    let letters = name.as_str().chars().map(|letter| {
        let shown = if upper { letter.to_ascii_uppercase() } else { letter };
        upper = title_case && letter == '-';
        shown
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_bare_answer_is_one() {
        for (status, text) in BARE {
            assert_eq!(bare_status(&[IoSlice::new(text.as_bytes())]), Some(status));
            assert_eq!(written(&bare(status), false).to_ascii_lowercase(), text.as_bytes());
        }
        let (_, text) = BARE[0];
        let longer = format!("{text} ");
        assert_eq!(bare_status(&[IoSlice::new(longer.as_bytes())]), None);
        assert_eq!(bare_status(&[IoSlice::new(text.as_bytes()), IoSlice::new(b"x")]), None);
        assert_eq!(bare_status(&[]), None);
    }

    #[test]
    fn names_begin_each_word_with_a_capital_where_that_is_asked_for() {
        let mut response = bare(400);
        *response.body_mut() = "no".into();
        let text = String::from_utf8(written(&response, true)).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\nno"
        );
    }
}
