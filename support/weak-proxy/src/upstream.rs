//! The real service behind us, for the holes that ask it. Nothing here is reached without an open hole.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::request::Request;

/// The token header of IMDSv2.
pub const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: usize = 1024 * 1024;
/// Headers that belong to one connection, or that we write ourselves.
const OWN: [&str; 9] = [
    "host",
    "connection",
    "keep-alive",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// Upstream did not answer usably.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or it broke.
    #[error("upstream unreachable")]
    Unreachable(#[from] std::io::Error),
    /// Too slow.
    #[error("upstream too slow")]
    Slow(#[from] tokio::time::error::Elapsed),
    /// Not understood.
    #[error("upstream not understood")]
    Odd,
    /// The fetch failed.
    #[error("fetch failed")]
    Fetch(#[from] reqwest::Error),
}

/// The service at a base address.
#[derive(Debug)]
pub struct Upstream {
    authority: String,
    /// Our own IMDSv2 token, when one was needed.
    token: Mutex<Option<String>>,
    client: reqwest::Client,
}

/// The token that takes the place of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallersToken {
    /// It is not ours, or there is none: it goes as it is.
    Keep,
    /// We minted it: upstream must see our own.
    Replace,
}

impl Upstream {
    /// The service at `http://HOST[:PORT]`.
    ///
    /// # Errors
    /// When the client cannot be made, or the base is no such URL.
    pub fn new(base: &str) -> Result<Self, UpstreamError> {
        let authority = base
            .strip_prefix("http://")
            .ok_or(UpstreamError::Odd)?
            .trim_end_matches('/');
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        let has_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let authority = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self {
            authority,
            token: Mutex::default(),
            client,
        })
    }

    /// Sends the request on, its target replaced by `target` and written as it stands.
    ///
    /// # Errors
    /// When upstream gives no usable answer.
    pub async fn forward(&self, request: &Request, target: &str, token: CallersToken) -> Result<Answer, UpstreamError> {
        let headers = self.headers(request, token).await?;
        self.ask(&request.method, target, &headers, &request.body).await
    }

    /// Fetches a URL of the caller's choice and follows redirects.
    ///
    /// # Errors
    /// When nothing usable comes back.
    pub async fn fetch(&self, request: &Request, url: &str, token: CallersToken) -> Result<Answer, UpstreamError> {
        let mut fetch = self.client.get(url);
        for (name, value) in self.headers(request, token).await? {
            fetch = fetch.header(name, value);
        }
        let mut response = fetch.send().await?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_LIMIT {
                return Err(UpstreamError::Odd);
            }
        }
        Ok(Answer {
            status,
            headers: Vec::new(),
            body,
            close: false,
        })
    }

    /// The instance's own credentials ([`crate::hole::Hole::FallbackOnStsError`]).
    ///
    /// # Errors
    /// When upstream gives none.
    pub async fn credentials(&self) -> Result<Answer, UpstreamError> {
        const LIST: &str = "/latest/meta-data/iam/security-credentials/";
        let token = [(TOKEN_HEADER.to_owned(), self.own_token().await?.into_bytes())];
        let list = self.ask("GET", LIST, &token, &[]).await?;
        let role = String::from_utf8(list.body).map_err(|_| UpstreamError::Odd)?;
        self.ask("GET", &format!("{LIST}{}", role.trim()), &token, &[]).await
    }

    async fn headers(&self, request: &Request, token: CallersToken) -> Result<Vec<(String, Vec<u8>)>, UpstreamError> {
        let mut headers: Vec<_> = request
            .headers
            .iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
            .cloned()
            .collect();
        if token == CallersToken::Replace {
            headers.retain(|(name, _)| name != TOKEN_HEADER);
            headers.push((TOKEN_HEADER.to_owned(), self.own_token().await?.into_bytes()));
        }
        Ok(headers)
    }

    async fn own_token(&self) -> Result<String, UpstreamError> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref() {
            return Ok(token.clone());
        }
        let ttl = [("x-aws-ec2-metadata-token-ttl-seconds".to_owned(), b"21600".to_vec())];
        let answer = self.ask("PUT", "/latest/api/token", &ttl, &[]).await?;
        let token = String::from_utf8(answer.body).map_err(|_| UpstreamError::Odd)?;
        if answer.status != 200 {
            return Err(UpstreamError::Odd);
        }
        Ok(kept.insert(token).clone())
    }

    async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, Vec<u8>)],
        body: &[u8],
    ) -> Result<Answer, UpstreamError> {
        let host = self.authority.strip_suffix(":80").unwrap_or(&self.authority);
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if !body.is_empty() || method == "PUT" || method == "POST" {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"Connection: close\r\n\r\n");
        bytes.extend_from_slice(body);
        timeout(TIMEOUT, self.exchange(&bytes, method == "HEAD")).await?
    }

    async fn exchange(&self, request: &[u8], is_head: bool) -> Result<Answer, UpstreamError> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        stream.write_all(request).await?;
        let mut bytes = Vec::new();
        loop {
            let read = stream.read_buf(&mut bytes).await?;
            if let Some(answer) = parse(&bytes, is_head, read == 0)? {
                return Ok(answer);
            }
            if read == 0 || bytes.len() > ANSWER_LIMIT {
                return Err(UpstreamError::Odd);
            }
        }
    }
}

/// The answer, when it is complete.
fn parse(bytes: &[u8], is_head: bool, is_over: bool) -> Result<Option<Answer>, UpstreamError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(UpstreamError::Odd),
    };
    let body = bytes.get(length..).unwrap_or_default();
    let text = |name: &str| {
        let header = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    if text("transfer-encoding").is_some() {
        return Err(UpstreamError::Odd);
    }
    let status = parsed.code.ok_or(UpstreamError::Odd)?;
    let expected: Option<usize> = if is_head || status == 204 || status == 304 {
        Some(0)
    } else {
        text("content-length").and_then(|length| length.trim().parse().ok())
    };
    let body = match expected {
        Some(length) if body.len() >= length => body.get(..length).unwrap_or_default(),
        None if is_over => body,
        Some(_) | None => return Ok(None),
    };
    let relayed = parsed
        .headers
        .iter()
        .filter(|header| !OWN.contains(&header.name.to_ascii_lowercase().as_str()));
    let headers = relayed.filter_map(|header| {
        Some((
            header.name.to_owned(),
            std::str::from_utf8(header.value).ok()?.to_owned(),
        ))
    });
    Ok(Some(Answer {
        status,
        headers: headers.collect(),
        body: body.to_vec(),
        close: false,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_at_its_length_or_at_the_end() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: EC2ws\r\n\r\nok";
        let answer = parse(sized, false, false).unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
        assert_eq!(answer.headers, [("Server".to_owned(), "EC2ws".to_owned())]);
        assert!(parse(&sized[..sized.len() - 1], false, false).unwrap().is_none());
        let unsized_one = b"HTTP/1.0 200 OK\r\n\r\nok";
        assert!(parse(unsized_one, false, false).unwrap().is_none());
        assert_eq!(parse(unsized_one, false, true).unwrap().unwrap().body, b"ok");
    }

    #[test]
    fn a_base_gets_the_default_port() {
        assert_eq!(
            Upstream::new("http://169.254.169.254").unwrap().authority,
            "169.254.169.254:80"
        );
        assert_eq!(
            Upstream::new("http://[fd00:ec2::254]/").unwrap().authority,
            "[fd00:ec2::254]:80"
        );
        assert_eq!(Upstream::new("http://127.0.0.1:81").unwrap().authority, "127.0.0.1:81");
        assert!(Upstream::new("https://x").is_err());
    }
}
