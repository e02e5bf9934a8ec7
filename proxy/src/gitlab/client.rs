//! Asks GitLab, at the address that the operator stated for a rule's server and nowhere else. What a job says of its server is not looked at.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use thiserror::Error;

use super::{Ask, Asking, Question, Unverified, answer, files};
use crate::config::{Gitlab, Host, Ref, RefType};
use crate::policy::Job;
use crate::upstream;

/// Carries a job's own token.
const JOB_TOKEN: &str = "job-token";
/// Carries the operator's.
const PRIVATE_TOKEN: &str = "private-token";
const AGENT: &str = concat!("metadata-proxy/", env!("CARGO_PKG_VERSION"));

/// Why a server cannot be asked.
#[derive(Debug, Error)]
#[error("the GitLab server {host} cannot be asked: the authorities in its ca cannot be used")]
pub struct NoClient {
    host: Host,
    source: io::Error,
}

/// The servers of `[[gitlab]]`.
#[derive(Debug)]
pub struct Servers {
    by_host: BTreeMap<Host, Server>,
}

#[derive(Debug)]
struct Server {
    url: String,
    http: SharedHttpConnector,
    token_file: Option<PathBuf>,
}

impl Servers {
    /// Asks nothing yet. Servers with the same authorities share their connections.
    ///
    /// # Errors
    /// A file of certificates cannot be used.
    pub fn new(servers: &[Gitlab]) -> Result<Self, NoClient> {
        let mut connectors: BTreeMap<Option<PathBuf>, SharedHttpConnector> = BTreeMap::new();
        let mut by_host = BTreeMap::new();
        for server in servers {
            let http = match connectors.get(&server.ca) {
                Some(http) => http.clone(),
                None => {
                    let authorities = server.ca.as_deref().map(files::read_authorities).transpose();
                    let http =
                        authorities.and_then(|authorities| upstream::connector(authorities).map_err(io::Error::other));
                    let http = http.map_err(|source| NoClient {
                        host: server.host.clone(),
                        source,
                    })?;
                    connectors.insert(server.ca.clone(), http.clone());
                    http
                }
            };
            let known = Server {
                url: server.url.clone(),
                http,
                token_file: server.token_file.clone(),
            };
            by_host.insert(server.host.clone(), known);
        }
        Ok(Self { by_host })
    }

    async fn verify(&self, question: &Question) -> Result<(), Unverified> {
        let job = &question.job;
        // A rule without its server is a fault of the configuration.
        let server = self.by_host.get(&job.gitlab).ok_or(Unverified::Unreachable)?;
        let kind = server.confirm_job(question).await?;
        match kind {
            Some(kind) if question.wanted.protected => server.confirm_protection(job, kind).await,
            None if question.wanted.protected => Err(Unverified::NotProtected),
            Some(_) | None => Ok(()),
        }
    }
}

impl Ask for Servers {
    fn ask<'a>(&'a self, question: &'a Question) -> Asking<'a> {
        Box::pin(self.verify(question))
    }
}

impl Server {
    async fn confirm_job(&self, question: &Question) -> Result<Option<RefType>, Unverified> {
        let (status, body) = self.get("/api/v4/job", JOB_TOKEN, question.token.reveal()).await?;
        match status {
            200 => answer::read(&body, &question.job, &question.wanted),
            401 | 403 | 404 => Err(Unverified::TokenRefused),
            _ => Err(Unverified::Broken),
        }
    }

    async fn confirm_protection(&self, job: &Job, kind: RefType) -> Result<(), Unverified> {
        let kind = match kind {
            RefType::Branch => "branches",
            RefType::Tag => "tags",
            RefType::MergeRequest => return Err(Unverified::NotProtected),
        };
        let file = self.token_file.clone().ok_or(Unverified::ReaderUnreadable)?;
        let read = tokio::task::spawn_blocking(move || files::read_token(&file)).await;
        let token = match read {
            Ok(Ok(token)) => token,
            Ok(Err(error)) => {
                tracing::warn!(%error, url = self.url, "the token of token_file cannot be read");
                return Err(Unverified::ReaderUnreadable);
            }
            Err(_) => return Err(Unverified::ReaderUnreadable),
        };
        let path = format!(
            "/api/v4/projects/{}/repository/{kind}/{}",
            job.project,
            escape(&job.r#ref)
        );
        let (status, body) = self.get(&path, PRIVATE_TOKEN, token.reveal()).await?;
        match status {
            200 => answer::read_protection(&body, &job.r#ref),
            401 | 403 => Err(Unverified::ReaderRefused),
            404 => Err(Unverified::NotProtected),
            _ => Err(Unverified::Broken),
        }
    }

    /// Asks for a path with a token; the status, and the body of an answer that may be read. No error of the client is told: it may hold what
    /// was sent.
    async fn get(&self, path: &str, header: &'static str, token: &str) -> Result<(u16, Bytes), Unverified> {
        let mut request = HttpRequest::new(SdkBody::empty());
        let _get = request.set_method("GET");
        let malformed = |_| Unverified::Broken;
        request
            .set_uri(format!("{}{path}", self.url))
            .map_err(|_| Unverified::Broken)?;
        let headers = request.headers_mut();
        headers.try_insert("accept", "application/json").map_err(malformed)?;
        headers.try_insert("user-agent", AGENT).map_err(malformed)?;
        headers.try_insert(header, token.to_owned()).map_err(malformed)?;
        let answer = self.http.call(request).await.map_err(|error| {
            if error.is_timeout() {
                Unverified::TimedOut
            } else {
                Unverified::Unreachable
            }
        })?;
        let status = answer.status().as_u16();
        match status {
            200 => {}
            300..400 => return Err(Unverified::Redirected),
            429 => return Err(Unverified::Throttled),
            // Whatever they say of it.
            _ => return Ok((status, Bytes::new())),
        }
        let body = answer.into_body().collect().await.map_err(|_| Unverified::Broken)?;
        Ok((status, body.to_bytes()))
    }
}

/// A ref as one segment of a path.
fn escape(reference: &Ref) -> String {
    let mut escaped = String::new();
    for byte in reference.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'~') {
            escaped.push(char::from(byte));
        } else {
            // Dots too: a segment of nothing else would mean another path.
            let _infallible = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
