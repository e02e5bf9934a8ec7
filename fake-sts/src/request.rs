//! One request as it came off the wire, as a value. It must not know sockets, nor what any part of the request means.

use std::net::IpAddr;

use bytes::Bytes;

/// A received request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `POST`…
    pub method: String,
    /// The path as received, still escaped.
    pub path: String,
    /// The query string as received, without `?`.
    pub query: Option<String>,
    /// Names in lower case, values as received, in wire order, duplicates kept.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
    /// Where the request came from; `None` on a unix socket.
    pub source: Option<IpAddr>,
}

impl Request {
    /// The first value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The query string, empty when there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.query.as_deref().unwrap_or_default()
    }
}
