//! The bytes of the requests that scenarios send. Written out here, so that nothing between the case file and the wire normalises them. Pure.

use crate::oracle::ledger::NONCE_HEADER;

/// The endpoint's IPv4 address as it stands in URLs.
pub(super) const ENDPOINT: &str = "169.254.169.254";
/// Where the role list lives.
pub(super) const ROLE_LIST: &str = "/latest/meta-data/iam/security-credentials/";
/// Where tokens come from.
pub(super) const TOKEN_PATH: &str = "/latest/api/token";
/// The token's lifetime that clients ask for, in seconds (the SDKs' own value, six hours).
pub(super) const TOKEN_SECONDS: u32 = 21_600;

/// One ordinary request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// The target, exactly as it goes out.
    pub(super) target: &'a str,
    /// The host part of the URL.
    pub(super) host: &'a str,
    /// A session token.
    pub(super) token: Option<&'a str>,
    /// Further headers.
    pub(super) headers: &'a [(String, String)],
}

impl Request<'_> {
    /// The bytes, with the scenario's id in a header so that the request is recognised wherever it turns up.
    pub(super) fn bytes(&self, scenario: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let mut header = |name: &str, value: &str| text.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            header("Host", self.host);
        }
        header("User-Agent", "aws-sdk-lab/1.0");
        header(NONCE_HEADER, scenario);
        if let Some(token) = self.token {
            header("X-aws-ec2-metadata-token", token);
        }
        for (name, value) in self.headers {
            header(name, value);
        }
        header("Connection", "close");
        text.extend_from_slice(b"\r\n");
        text
    }
}

/// The request for a session token.
pub(super) fn token_request(host: &str, headers: &[(String, String)], scenario: &str) -> Vec<u8> {
    let name = "X-aws-ec2-metadata-token-ttl-seconds";
    let mut all = headers.to_vec();
    if !headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
        all.insert(0, (name.to_owned(), TOKEN_SECONDS.to_string()));
    }
    Request {
        method: "PUT",
        target: TOKEN_PATH,
        host,
        token: None,
        headers: &all,
    }
    .bytes(scenario)
}

/// Address and port of a URL's host part: port 80 unless it names one.
pub(super) fn destination(host: &str) -> String {
    let has_port = match host.rsplit_once(']') {
        Some((_, after)) => after.starts_with(':'),
        None => host.contains(':'),
    };
    if has_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    }
}

/// How many answers a stretch of bytes asks for: one for each request line, and one at least.
pub(super) fn answers_awaited(bytes: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, b" HTTP/1.").count().clamp(1, 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_out_as_written() {
        let request = Request {
            method: "GET",
            target: "/./x//y",
            host: ENDPOINT,
            token: Some("t"),
            headers: &[],
        };
        insta::assert_snapshot!(String::from_utf8(request.bytes("NET-01")).unwrap().replace('\r', ""), @r"
        GET /./x//y HTTP/1.1
        Host: 169.254.169.254
        User-Agent: aws-sdk-lab/1.0
        x-lab-scenario: NET-01
        X-aws-ec2-metadata-token: t
        Connection: close
        ");
    }

    #[test]
    fn a_port_is_added_where_none_is_named() {
        assert_eq!(destination(ENDPOINT), "169.254.169.254:80");
        assert_eq!(destination("[fd00:ec2::254]"), "[fd00:ec2::254]:80");
        assert_eq!(destination("10.0.0.1:8000"), "10.0.0.1:8000");
        assert_eq!(destination("[fd00:ec2::254]:81"), "[fd00:ec2::254]:81");
    }

    #[test]
    fn every_request_line_awaits_an_answer() {
        assert_eq!(answers_awaited(b"GET / HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n"), 2);
        assert_eq!(answers_awaited(b"nonsense"), 1);
    }
}
