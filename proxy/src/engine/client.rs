//! The connection to the engine: one question, one answer, bounded in time.

use std::future::ready;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptions};
use bollard::{BollardRequest, Docker};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::uri::Authority;

use super::change::Changes;
use super::reading::{Image, Inspected, Listed, may_hold, owners};
use super::setting::{NetworkSetting, Setting};
use super::way::{ANSWER_MAX, Way};
use crate::config::Tls;

/// How long one question may take. Inspecting a container that is being started waits until it is.
const PATIENCE: Duration = Duration::from_secs(3);
/// Containers looked at together, by the operator's tools.
const QUESTIONS: usize = 8;
/// What bollard allows a connection, in seconds; our own limit is the shorter one.
const TRANSPORT_SECONDS: u64 = 30;

/// The engine did not answer, or not usefully.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Refused, or the transport failed.
    #[error("the engine failed while {doing}")]
    Api {
        /// What was asked of it.
        doing: &'static str,
        /// bollard's own account.
        #[source]
        source: Box<ApiError>,
    },
    /// No answer in time.
    #[error("the engine did not answer within {} s while {doing}", patience.as_secs())]
    TimedOut {
        /// What was asked of it.
        doing: &'static str,
        /// How long it was waited for.
        patience: Duration,
    },
    /// An answer without the fields that it must have.
    #[error("the engine's answer lacks what is needed while {doing}")]
    Incomplete {
        /// What was asked of it.
        doing: &'static str,
    },
    /// The address of the engine is none that is spoken here.
    #[error("the engine's socket {socket:?} is not one that is spoken to")]
    Socket {
        /// As configured.
        socket: String,
    },
    /// The files for TLS are not what they should be.
    #[error("no TLS with the engine at {socket:?}")]
    Tls {
        /// As configured.
        socket: String,
        /// Which, and why.
        #[source]
        source: io::Error,
    },
}

/// A client of one Docker engine.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    way: Way,
}

impl Engine {
    /// Connects over a Unix socket (`unix:///var/run/docker.sock`), over the loopback interface (`http://127.0.0.1:2375`) or, with the files
    /// for it, over TLS (`tcp://host:2376`), and agrees on an API version.
    ///
    /// # Errors
    /// No engine answers there.
    pub async fn connect(socket: &str, tls: Option<&Tls>) -> Result<Self, EngineError> {
        let doing = "connecting";
        let way = way(socket, tls)?;
        let sending = way.clone();
        let send = move |request: BollardRequest| {
            let way = sending.clone();
            async move { way.send(request, ANSWER_MAX).await }
        };
        let address = format!("http://{}", way.host());
        let docker =
            Docker::connect_with_custom_transport(send, Some(address), TRANSPORT_SECONDS, bollard::API_DEFAULT_VERSION)
                .map_err(|source| EngineError::Api {
                    doing,
                    source: Box::new(source),
                })?;
        let docker = within(doing, docker.negotiate_version()).await?;
        Ok(Self { docker, way })
    }

    /// The client itself, for what only the self-test does.
    #[must_use]
    pub(crate) const fn docker(&self) -> &Docker {
        &self.docker
    }

    /// One container; None if there is none of that id.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn inspect(&self, container: &str) -> Result<Option<Inspected>, EngineError> {
        let doing = "inspecting a container";
        let answer = within(
            doing,
            self.docker
                .inspect_container(container, None::<InspectContainerOptions>),
        )
        .await;
        match answer {
            Ok(answer) => Inspected::read(answer)
                .map(Some)
                .ok_or(EngineError::Incomplete { doing }),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How a container was set up; None if there is none of that id or name.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn setting(&self, container: &str) -> Result<Option<Setting>, EngineError> {
        let doing = "inspecting a container";
        let question = self
            .docker
            .inspect_container(container, None::<InspectContainerOptions>);
        match within(doing, question).await {
            Ok(answer) => Setting::read(answer).map(Some).ok_or(EngineError::Incomplete { doing }),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How every container that runs was set up, at most this many.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn settings(&self, most: usize) -> Result<Vec<Setting>, EngineError> {
        let running = self.running().await?.into_iter().take(most);
        let questions = stream::iter(running).map(|listed| async move { self.setting(&listed.id).await });
        // One that ended meanwhile is nobody's concern.
        let answers = questions.buffer_unordered(QUESTIONS);
        answers.try_filter_map(|setting| ready(Ok(setting))).try_collect().await
    }

    /// The engine's networks.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn networks(&self) -> Result<Vec<NetworkSetting>, EngineError> {
        let doing = "listing networks";
        let networks = within(doing, self.docker.list_networks(None::<ListNetworksOptions>)).await?;
        Ok(networks.into_iter().filter_map(NetworkSetting::read).collect())
    }

    /// One image.
    ///
    /// # Errors
    /// No usable answer, or no such image.
    pub async fn image(&self, id: &str) -> Result<Image, EngineError> {
        within("inspecting an image", self.docker.inspect_image(id))
            .await
            .map(Image::read)
    }

    /// The containers that run.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn running(&self) -> Result<Vec<Listed>, EngineError> {
        self.list(false).await
    }

    /// All containers, those that do not run included. The list lags behind a start; of what was made it knows at once.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn every(&self) -> Result<Vec<Listed>, EngineError> {
        self.list(true).await
    }

    async fn list(&self, all: bool) -> Result<Vec<Listed>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(all).build();
        let answer = within("listing containers", self.docker.list_containers(Some(options))).await?;
        Ok(answer.into_iter().filter_map(Listed::read).collect())
    }

    /// The containers to which a network has given the address. Networks know it before the list of containers does.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn owners(&self, address: IpAddr) -> Result<Vec<String>, EngineError> {
        let networks = within(
            "listing networks",
            self.docker.list_networks(None::<ListNetworksOptions>),
        )
        .await?;
        let mut found = Vec::new();
        for network in networks.iter().filter(|network| may_hold(network, address)) {
            let Some(id) = &network.id else { continue };
            match within("inspecting a network", self.docker.inspect_network(id, None)).await {
                Ok(answer) => found.extend(owners(&answer, address)),
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// What happens from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let version = self.docker.client_version();
        let version = format!("v{}.{}", version.major_version, version.minor_version);
        Changes::new(self.way.clone(), &version)
    }
}

/// What the configuration says of the way there.
fn way(socket: &str, tls: Option<&Tls>) -> Result<Way, EngineError> {
    let strange = || EngineError::Socket {
        socket: socket.to_owned(),
    };
    let authority = |rest: &str| rest.trim_end_matches('/').parse::<Authority>().map_err(|_| strange());
    let (scheme, rest) = socket.split_once("://").ok_or_else(strange)?;
    match (scheme, tls) {
        ("unix", _) if rest.starts_with('/') => Ok(Way::Unix(rest.into())),
        ("http", _) => authority(rest).map(Way::Tcp),
        ("tcp", Some(tls)) => Way::over_tls(authority(rest)?, tls).map_err(|source| EngineError::Tls {
            socket: socket.to_owned(),
            source,
        }),
        (_, _) => Err(strange()),
    }
}

/// Bounds one question in time.
async fn within<T>(doing: &'static str, answer: impl Future<Output = Result<T, ApiError>>) -> Result<T, EngineError> {
    within_time(PATIENCE, doing, answer).await
}

/// Bounds one question in time, by another measure than that of questions for which a caller waits.
pub(crate) async fn within_time<T>(
    patience: Duration,
    doing: &'static str,
    answer: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(EngineError::Api {
            doing,
            source: Box::new(source),
        }),
        Err(_) => Err(EngineError::TimedOut { doing, patience }),
    }
}

fn is_missing(error: &EngineError) -> bool {
    matches!(error, EngineError::Api { source, .. }
        if matches!(**source, ApiError::DockerResponseServerError { status_code: 404, .. }))
}
