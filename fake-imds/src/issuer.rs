//! Where credentials come from: the control API of a fake STS, so that they verify there, or minted here, so that they only look
//! right. It must not know who asks for them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fake_kit::seed::Seed;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};

use crate::credentials::{Credentials, Delivery, Issued, Kind};
use crate::instance::Marker;
use crate::secret::Secret;
use crate::timeline::Attachment;
use crate::world::{ProfileState, World};

/// How long the fake STS may take.
const STS_TIME: Duration = Duration::from_secs(5);
/// Bytes of its answer.
const STS_BYTES: usize = 64 * 1024;

/// Characters of an answer that is quoted.
const STS_TEXT: usize = 200;

/// The control API of a fake STS: `http://HOST:PORT` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StsControl {
    /// Host and port.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

/// A text that names no control API.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is neither http://HOST:PORT nor unix:PATH")]
pub struct UnknownControl {
    text: String,
}

impl FromStr for StsControl {
    type Err = UnknownControl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownControl { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let authority = text
            .strip_prefix("http://")
            .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let authority = authority.filter(|authority| !authority.contains(['/', '?', '#', '@']));
        let port = authority
            .and_then(|authority| authority.rsplit_once(':'))
            .map(|(_, port)| port.parse::<u16>());
        match (authority, port) {
            (Some(authority), Some(Ok(_))) => Ok(Self::Tcp(authority.to_owned())),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for StsControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why no credentials came.
#[derive(Debug, Error)]
pub enum IssueError {
    /// Nobody listens there.
    #[error("cannot reach the fake STS at {control}: {source}")]
    Unreachable {
        /// Where.
        control: StsControl,
        /// Why.
        source: io::Error,
    },
    /// It broke off.
    #[error("the fake STS at {control} broke off: {source}")]
    Broken {
        /// Where.
        control: StsControl,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("the fake STS at {control} did not answer within {} s", STS_TIME.as_secs())]
    Slow {
        /// Where.
        control: StsControl,
    },
    /// It answered something else than credentials.
    #[error("the fake STS at {control} answered {status} instead of credentials: {text}")]
    Unexpected {
        /// Where.
        control: StsControl,
        /// Its HTTP status.
        status: u16,
        /// The start of its answer.
        text: String,
    },
    /// An expiry beyond the calendar.
    #[error("credentials cannot live {seconds} s")]
    Endless {
        /// The lifetime asked for.
        seconds: u64,
    },
}

/// What issues the credentials of one instance.
#[derive(Debug)]
pub struct Issuer {
    world: World,
    seed: Seed,
    marker: Marker,
    sts: Option<StsControl>,
    issued: AtomicU64,
}

#[derive(Deserialize)]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: Timestamp,
}

impl Issuer {
    /// An issuer for the world's instance; plants the canaries of its roles.
    pub fn new(world: World, seed: Seed, marker: Marker, sts: Option<StsControl>) -> Self {
        for kind in [Kind::Role, Kind::Identity] {
            marker.plant(canary_name(kind));
        }
        Self {
            world,
            seed,
            marker,
            sts,
            issued: AtomicU64::new(0),
        }
    }

    /// New credentials.
    ///
    /// # Errors
    /// The fake STS could not be asked, or did not give any.
    pub async fn issue(
        &self,
        kind: Kind,
        delivery: Delivery,
        attachment: &Attachment,
        now: Timestamp,
        lifetime_seconds: u64,
    ) -> Result<Issued, IssueError> {
        if kind == Kind::Role && attachment.state == ProfileState::Untrusted {
            return Ok(Issued::Refused {
                role: attachment.role.clone(),
                at: now,
                said: "profile_state is untrusted".to_owned(),
            });
        }
        match &self.sts {
            Some(control) => {
                let asked = self.ask(control, kind, delivery, attachment, now, lifetime_seconds);
                asked.await
            }
            None => {
                let number = self.issued.fetch_add(1, Ordering::Relaxed);
                let role_arn = self.world.role_arn(attachment.role(kind));
                self.mint(kind, &role_arn, now, lifetime_seconds, number)
                    .map(Issued::Credentials)
            }
        }
    }

    /// Well-formed credentials that no STS knows.
    fn mint(
        &self,
        kind: Kind,
        role_arn: &str,
        now: Timestamp,
        lifetime: u64,
        number: u64,
    ) -> Result<Credentials, IssueError> {
        let endless = || IssueError::Endless { seconds: lifetime };
        let seconds = i64::try_from(lifetime).map_err(|_| endless())?;
        let expiration = now
            .checked_add(SignedDuration::from_secs(seconds))
            .map_err(|_| endless())?;
        let canary = self.marker.plant(canary_name(kind));
        let provenance = json!({
            "role_arn": role_arn,
            "session_name": self.world.instance.id,
            "requester": "ec2.amazonaws.com",
            "requester_key": "",
            "nonce": self.seed.base32("nonce", number, 12),
            "issued_at": now.to_string(),
            "via": via(kind),
            "duration_seconds": lifetime,
        });
        Ok(Credentials {
            access_key_id: format!("ASIA{}", self.seed.base32("access-key-id", number, 16)),
            secret_access_key: Secret::new(format!("{canary}{}", self.seed.base64("secret-access-key", number, 24))),
            session_token: Secret::new(format!(
                "IQoJb3JpZ2luX2Vj{canary}{}",
                STANDARD.encode(provenance.to_string())
            )),
            last_updated: now,
            expiration,
        })
    }

    async fn ask(
        &self,
        control: &StsControl,
        kind: Kind,
        delivery: Delivery,
        attachment: &Attachment,
        now: Timestamp,
        lifetime_seconds: u64,
    ) -> Result<Issued, IssueError> {
        let wish = json!({
            "role_arn": self.world.role_arn(attachment.role(kind)),
            "session_name": self.world.instance.id,
            "via": via(kind),
            "duration_seconds": lifetime_seconds,
            "canary": canary_name(kind),
            "delivery": role_delivery(delivery),
        });
        let asked = tokio::time::timeout(STS_TIME, post(control, wish.to_string()));
        let (status, body) = asked.await.map_err(|_| IssueError::Slow {
            control: control.clone(),
        })??;
        let said = || String::from_utf8_lossy(&body).chars().take(STS_TEXT).collect();
        // The role is gone, or does not trust EC2: the real service says so in a document with status 200 (captures).
        if status == StatusCode::FORBIDDEN || status == StatusCode::NOT_FOUND {
            return Ok(Issued::Refused {
                role: attachment.role.clone(),
                at: now,
                said: said(),
            });
        }
        let given = serde_json::from_slice::<Given>(&body)
            .ok()
            .filter(|_| status.is_success());
        let Some(given) = given else {
            return Err(IssueError::Unexpected {
                control: control.clone(),
                status: status.as_u16(),
                text: said(),
            });
        };
        Ok(Issued::Credentials(Credentials {
            access_key_id: given.access_key_id,
            secret_access_key: Secret::new(given.secret_access_key),
            session_token: Secret::new(given.session_token),
            last_updated: now,
            expiration: given.expiration,
        }))
    }
}

fn canary_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Role => "host-role",
        Kind::Identity => "identity-role",
    }
}

fn via(kind: Kind) -> &'static str {
    match kind {
        Kind::Role => "instance-profile",
        Kind::Identity => "instance-identity",
    }
}

/// The value of `ec2:RoleDelivery`.
fn role_delivery(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::V1 => "1.0",
        Delivery::V2 => "2.0",
    }
}

async fn post(control: &StsControl, body: String) -> Result<(StatusCode, Bytes), IssueError> {
    let unreachable = |source| IssueError::Unreachable {
        control: control.clone(),
        source,
    };
    match control {
        StsControl::Tcp(authority) => {
            let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
            exchange(control, TokioIo::new(stream), body).await
        }
        StsControl::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            exchange(control, TokioIo::new(stream), body).await
        }
    }
}

async fn exchange<S>(control: &StsControl, stream: S, body: String) -> Result<(StatusCode, Bytes), IssueError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let host = match control {
        StsControl::Tcp(authority) => authority.as_str(),
        StsControl::Unix(_) => "localhost",
    };
    let request = Request::post("/credentials")
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| broken(control, error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(|error| broken(control, error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(control, error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), STS_BYTES)
            .collect()
            .await
            .map_err(|source| IssueError::Broken {
                control: control.clone(),
                source,
            })?;
        Ok((status, body.to_bytes()))
    };
    // The connection is driven here, so that nothing outlives the time limit.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        done = exchange.as_mut() => done,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(broken(control, error)),
        },
    }
}

fn broken(control: &StsControl, source: impl std::error::Error + Send + Sync + 'static) -> IssueError {
    IssueError::Broken {
        control: control.clone(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use fake_kit::seed::Canaries;

    use super::*;

    fn over(control: Option<StsControl>) -> Issuer {
        let seed = Seed::default();
        let world = World::default();
        let marker = Marker::of(&Canaries::new(seed.clone()), &world, 0);
        Issuer::new(world, seed, marker, control)
    }

    fn issuer() -> Issuer {
        over(None)
    }

    async fn issue(issuer: &Issuer, kind: Kind) -> Credentials {
        let attachment = Attachment::first(&issuer.world.instance);
        match issuer
            .issue(kind, Delivery::V2, &attachment, Timestamp::UNIX_EPOCH, 3600)
            .await
            .unwrap()
        {
            Issued::Credentials(set) => set,
            refused @ Issued::Refused { .. } => panic!("{refused:?}"),
        }
    }

    #[tokio::test]
    async fn minted_credentials_are_well_formed_and_carry_the_canary() {
        let issuer = issuer();
        for (kind, name) in [(Kind::Role, "host-role"), (Kind::Identity, "identity-role")] {
            let canary = issuer.marker.plant(name);
            let set = issue(&issuer, kind).await;
            assert_eq!(set.access_key_id.len(), 20);
            assert_eq!(set.secret_access_key.expose().len(), 40);
            assert!(set.secret_access_key.expose().starts_with(canary.as_str()));
            let token = set.session_token.expose();
            assert!(STANDARD.decode(token).is_ok() && token.contains(canary.as_str()));
            assert_ne!(issue(&issuer, kind).await, set);
        }
    }

    #[tokio::test]
    async fn an_sts_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let control: StsControl = format!("unix:{}/nobody", folder.path().display()).parse().unwrap();
        let error = over(Some(control))
            .issue(
                Kind::Role,
                Delivery::V2,
                &Attachment::default(),
                Timestamp::UNIX_EPOCH,
                3600,
            )
            .await
            .unwrap_err();
        assert!(
            error.to_string().starts_with("cannot reach the fake STS at unix:"),
            "{error}"
        );
    }

    #[test]
    fn control_apis_are_read_and_shown_alike() {
        for text in [
            "http://127.0.0.1:80",
            "http://[fd77::1]:8080",
            "http://fake-sts:4000",
            "unix:/run/sts.sock",
        ] {
            assert_eq!(text.parse::<StsControl>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "unix:",
            "https://a:1",
            "http://a",
            "http://a:1/x",
            "127.0.0.1:80",
            "http://a:99999",
        ] {
            assert!(text.parse::<StsControl>().is_err(), "{text}");
        }
    }
}
