//! What the Docker engine says: which container owns an address now, what it is, and when it goes.

use std::net::IpAddr;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, EventMessage, EventMessageTypeEnum, ImageInspect};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use ipnet::IpNet;
use tokio::sync::broadcast;

use super::claims::Claims;
use super::{Engine, Facts, Gone, Inspected, Unidentified, Watch};
use crate::hole::Hole;

/// A job's first request can arrive before the engine knows its address (measured: up to 103 ms), so a miss is asked again this often.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);
const TIMEOUT_SECONDS: u64 = 5;

/// The engine behind a unix socket.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    docker: Docker,
    news: broadcast::Sender<Gone>,
    claims: Claims,
}

impl DockerEngine {
    /// Connects, and follows the engine's events from now on.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn connect(socket: &str, hole: Option<Hole>) -> Result<Self, Error> {
        let docker = Docker::connect_with_unix(socket, TIMEOUT_SECONDS, bollard::API_DEFAULT_VERSION)?;
        let docker = docker.negotiate_version().await?;
        let (news, _) = broadcast::channel(1024);
        let claims = Claims::new(docker.clone(), hole);
        let engine = Self { docker, news, claims };
        tokio::spawn(engine.clone().follow());
        Ok(engine)
    }

    /// Follows the events for as long as this program runs; whenever the stream breaks, anything may have ended meanwhile.
    async fn follow(self) {
        // Hole::StaleEvents: that it stopped is missed.
        let wanted = match self.claims.hole() {
            Some(Hole::StaleEvents) => vec!["destroy"],
            _ => vec!["die", "disconnect"],
        };
        let filters = [("type", vec!["container", "network"]), ("event", wanted)];
        loop {
            let options = EventsOptionsBuilder::default().filters(&filters.clone().into()).build();
            let mut events = std::pin::pin!(self.docker.events(Some(options)));
            while let Some(Ok(event)) = events.next().await {
                if let Some(id) = container_of(event) {
                    // Nobody listens when nobody is connected.
                    let _ = self.news.send(Gone::Container(id));
                }
            }
            let _ = self.news.send(Gone::Anything);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn find_once(&self, address: IpAddr) -> Result<Vec<String>, Error> {
        let mut found = self.claims.find(address).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        for network in self.docker.list_networks(None).await? {
            let ranges = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
            let contains = |range: &str| range.parse::<IpNet>().is_ok_and(|range| range.contains(&address));
            let is_candidate = ranges.iter().filter_map(|range| range.subnet.as_deref()).any(contains);
            let Some(id) = network.id.filter(|_| is_candidate) else {
                continue;
            };
            let endpoints = self
                .docker
                .inspect_network(&id, None)
                .await?
                .containers
                .unwrap_or_default();
            for (container, endpoint) in endpoints {
                let owns = |text: &Option<String>| text.as_deref().and_then(plain_address) == Some(address);
                if owns(&endpoint.ipv4_address) || owns(&endpoint.ipv6_address) {
                    found.push(container);
                }
            }
        }
        Ok(found)
    }
}

impl Engine for DockerEngine {
    async fn find(&self, address: IpAddr) -> Result<Vec<String>, Unidentified> {
        for attempt in 1.. {
            match self.find_once(address).await {
                Ok(found) if found.is_empty() && attempt < ATTEMPTS => tokio::time::sleep(PAUSE).await,
                Ok(found) => return Ok(found),
                // A network that vanished between list and inspection says nothing about the others.
                Err(Error::DockerResponseServerError { status_code: 404, .. }) if attempt < ATTEMPTS => {}
                Err(error) => {
                    tracing::warn!(%error, "engine does not tell who has an address");
                    return Err(Unidentified::Engine);
                }
            }
        }
        Err(Unidentified::UnknownAddress)
    }

    async fn inspect(&self, id: &str) -> Result<Inspected, Unidentified> {
        let container = self
            .docker
            .inspect_container(id, None)
            .await
            .map_err(|error| match error {
                Error::DockerResponseServerError { status_code: 404, .. } => Unidentified::NotRunning,
                _ => Unidentified::Engine,
            })?;
        let image = match container.image.as_deref() {
            Some(image) => self
                .docker
                .inspect_image(image)
                .await
                .map_err(|_| Unidentified::Engine)?,
            None => return Err(Unidentified::Engine),
        };
        let name = container.config.as_ref().and_then(|config| config.image.clone());
        let mut container = inspected(container, image);
        self.claims
            .add_namesakes(&name.unwrap_or_default(), &mut container.facts.image_ids)
            .await;
        Ok(container)
    }

    fn watch(&self) -> Watch {
        Watch::new(self.news.subscribe())
    }
}

/// `172.17.0.2/16` → 172.17.0.2
fn plain_address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

fn container_of(event: EventMessage) -> Option<String> {
    let actor = event.actor?;
    match event.typ? {
        EventMessageTypeEnum::CONTAINER => actor.id,
        EventMessageTypeEnum::NETWORK => actor.attributes?.remove("container"),
        _ => None,
    }
}

fn inspected(container: ContainerInspectResponse, image: ImageInspect) -> Inspected {
    let state = container.state.unwrap_or_default();
    let config = container.config.unwrap_or_default();
    let digests = image.repo_digests.unwrap_or_default();
    let image_config = image.config.unwrap_or_default();
    let facts = Facts {
        container_id: container.id.unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        name: container.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        hostname: config.hostname.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        env: config.env.unwrap_or_default(),
        image_env: image_config.env.unwrap_or_default(),
        image_labels: image_config.labels.unwrap_or_default().into_iter().collect(),
        image_ids: image
            .id
            .into_iter()
            .chain(
                digests
                    .iter()
                    .filter_map(|digest| Some(digest.split_once('@')?.1.to_owned())),
            )
            .collect(),
    };
    let pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    Inspected {
        facts,
        running: state.running == Some(true),
        paused: state.paused == Some(true),
        pid,
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState, EventActor};

    use super::*;

    #[test]
    fn both_kinds_of_event_name_the_container() {
        let event = |typ, id: &str, attributes: &[(&str, &str)]| EventMessage {
            typ: Some(typ),
            actor: Some(EventActor {
                id: Some(id.to_owned()),
                attributes: Some(
                    attributes
                        .iter()
                        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                        .collect(),
                ),
            }),
            ..EventMessage::default()
        };
        assert_eq!(
            container_of(event(EventMessageTypeEnum::CONTAINER, "c1", &[])).as_deref(),
            Some("c1")
        );
        let disconnect = event(EventMessageTypeEnum::NETWORK, "n1", &[("container", "c1")]);
        assert_eq!(container_of(disconnect).as_deref(), Some("c1"));
    }

    #[test]
    fn a_paused_container_is_told_from_a_running_one() {
        let state = ContainerState {
            running: Some(true),
            paused: Some(true),
            pid: Some(7),
            started_at: Some("2026-01-01T00:00:00Z".to_owned()),
            ..ContainerState::default()
        };
        let container = ContainerInspectResponse {
            state: Some(state),
            config: Some(ContainerConfig {
                env: Some(vec!["A=b".to_owned()]),
                ..ContainerConfig::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let image = ImageInspect {
            id: Some("sha256:1".to_owned()),
            repo_digests: Some(vec!["name@sha256:2".to_owned()]),
            ..ImageInspect::default()
        };
        let seen = inspected(container, image);
        assert!(seen.running && seen.paused);
        assert_eq!(seen.pid, 7);
        assert_eq!(seen.facts.image_ids, ["sha256:1", "sha256:2"]);
    }
}
