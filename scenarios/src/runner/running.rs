//! A job whose containers exist: stages, addresses, processes, and the probe in each.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, EndpointIpamConfig, EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::StopContainerOptionsBuilder;
use tokio::time::timeout;

use super::cleanup::{CleanupError, clean};
use super::requests::{ContainerRequest, Kind};
use crate::probe::channel::{Channel, ChannelError};
use crate::probe::protocol::Ping;
use crate::probe::transcript::Transcript;

/// How long a probe may take until it answers for the first time, and until it ends when told to. Starting a container on a busy small
/// machine took up to 3 s.
const LIFE: Duration = Duration::from_secs(30);

/// Why a running job cannot be used as wanted.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    /// The engine refused a request.
    #[error("the engine refuses to {action} {name}")]
    Engine {
        /// What was asked.
        action: &'static str,
        /// Of which container.
        name: String,
        /// The engine's error.
        #[source]
        source: Error,
    },
    /// The container is not running.
    #[error("{name} is not running")]
    Stopped {
        /// Which container.
        name: String,
    },
}

/// One container of a job.
#[derive(Debug)]
pub struct Member {
    docker: Docker,
    /// What it is for.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its id: the same over all its stages.
    pub id: String,
    channels: Mutex<Channels>,
}

#[derive(Debug, Default)]
struct Channels {
    /// The stage's own, or the last exec into a service.
    current: Option<Arc<Channel>>,
    /// Every one there was, for what they brought.
    all: Vec<Arc<Channel>>,
}

impl Member {
    pub(super) fn new(docker: Docker, request: &ContainerRequest, id: String) -> Self {
        Self {
            docker,
            kind: request.kind,
            name: request.name.clone(),
            id,
            channels: Mutex::default(),
        }
    }

    fn channels<T>(&self, act: impl FnOnce(&mut Channels) -> T) -> T {
        act(&mut self.channels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, channel: Channel) -> Arc<Channel> {
        let channel = Arc::new(channel);
        self.channels(|channels| {
            channels.all.push(Arc::clone(&channel));
            channels.current = Some(Arc::clone(&channel));
        });
        channel
    }

    /// Begins a stage: attach, start, and wait until the probe answers. The container stays the same over all stages.
    pub async fn begin(&self) -> Result<Arc<Channel>, ChannelError> {
        let channel = self.keep(Channel::attach(&self.docker, &self.id).await?);
        let started = self.docker.start_container(&self.id, None).await;
        started.map_err(|source| ChannelError::Engine {
            container: self.name.clone(),
            source,
        })?;
        channel.ask(Ping {}, LIFE).await?;
        Ok(channel)
    }

    /// Ends a stage as the runner does: end of input, output to its end, stop. The container can begin another.
    pub async fn end(&self) -> Result<(), RunningError> {
        if let Some(channel) = self.channels(|channels| channels.current.take()) {
            channel.end_input().await;
            channel.ended(LIFE).await;
        }
        self.stop().await
    }

    /// Stops the container without ending its input first: what happens to a job that is cancelled.
    pub async fn stop(&self) -> Result<(), RunningError> {
        self.channels(|channels| channels.current = None);
        let options = StopContainerOptionsBuilder::default().t(2).build();
        match self.docker.stop_container(&self.id, Some(options)).await {
            // 304: it is stopped already.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
            Err(source) => Err(self.refused("stop", source)),
        }
    }

    /// The probe that serves the current stage; in a service, one started by exec.
    pub async fn probe(&self) -> Result<Arc<Channel>, ChannelError> {
        if let Some(channel) = self.channels(|channels| channels.current.clone()) {
            return Ok(channel);
        }
        match self.kind {
            Kind::Service | Kind::Wait | Kind::CacheInit => self.exec().await.inspect(|channel| {
                self.channels(|channels| channels.current = Some(Arc::clone(channel)));
            }),
            Kind::Build | Kind::Predefined => self.begin().await,
        }
    }

    /// The stage is over, whatever ended it: the next one begins anew.
    pub fn forget(&self) {
        self.channels(|channels| channels.current = None);
    }

    /// Another process with a probe in the running container.
    pub async fn exec(&self) -> Result<Arc<Channel>, ChannelError> {
        let channel = Arc::new(Channel::exec(&self.docker, &self.id, &["/bin/probe", "serve"]).await?);
        self.channels(|channels| channels.all.push(Arc::clone(&channel)));
        channel.ask(Ping {}, LIFE).await?;
        Ok(channel)
    }

    /// Every byte that the container's stages and execs brought.
    pub fn transcripts(&self) -> Vec<Transcript> {
        self.channels(|channels| channels.all.iter().map(|channel| channel.transcript()).collect())
    }

    /// What the engine says of it.
    pub async fn inspect(&self) -> Result<ContainerInspectResponse, RunningError> {
        let inspected = timeout(LIFE, self.docker.inspect_container(&self.id, None)).await;
        match inspected {
            Ok(inspected) => inspected.map_err(|source| self.refused("inspect", source)),
            Err(_) => Err(self.refused("inspect", Error::RequestTimeoutError)),
        }
    }

    /// Its first process, in the engine's process namespace.
    pub async fn pid(&self) -> Result<i64, RunningError> {
        let state = self.inspect().await?.state.and_then(|state| state.pid);
        state.filter(|pid| *pid > 0).ok_or_else(|| RunningError::Stopped {
            name: self.name.clone(),
        })
    }

    /// Its addresses, with the network of each; none while stopped, and none of its own with the host's network.
    pub async fn addresses(&self) -> Result<Vec<(String, IpAddr)>, RunningError> {
        let networks = self
            .inspect()
            .await?
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let mut addresses: Vec<(String, IpAddr)> = networks
            .into_iter()
            .flat_map(|(name, endpoint)| {
                let both = [endpoint.ip_address, endpoint.global_ipv6_address];
                let parsed: Vec<IpAddr> = both.into_iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
                parsed.into_iter().map(move |ip| (name.clone(), ip))
            })
            .collect();
        addresses.sort();
        Ok(addresses)
    }

    /// Its first IPv4 address.
    pub async fn ipv4(&self) -> Result<IpAddr, RunningError> {
        let addresses = self.addresses().await?;
        addresses
            .into_iter()
            .map(|(_, ip)| ip)
            .find(IpAddr::is_ipv4)
            .ok_or_else(|| RunningError::Stopped {
                name: self.name.clone(),
            })
    }

    /// Joins a further network, with a fixed address where one is given.
    pub async fn connect(&self, network: &str, address: Option<IpAddr>) -> Result<(), RunningError> {
        let request = NetworkConnectRequest {
            container: self.id.clone(),
            endpoint_config: Some(EndpointSettings {
                ipam_config: address.map(|address| EndpointIpamConfig {
                    ipv4_address: address.is_ipv4().then(|| address.to_string()),
                    ipv6_address: address.is_ipv6().then(|| address.to_string()),
                    ..EndpointIpamConfig::default()
                }),
                ..EndpointSettings::default()
            }),
        };
        let connected = self.docker.connect_network(network, request).await;
        connected.map_err(|source| self.refused("connect to a network", source))
    }

    fn refused(&self, action: &'static str, source: Error) -> RunningError {
        RunningError::Engine {
            action,
            name: self.name.clone(),
            source,
        }
    }
}

/// A job's network and containers. [`RunningJob::cleanup`] must be called: dropping it removes nothing.
#[derive(Debug)]
pub struct RunningJob {
    docker: Docker,
    /// The network per build: name and id.
    pub network: Option<(String, String)>,
    /// The containers in the order of their creation.
    pub members: Vec<Arc<Member>>,
    /// Volumes that go with the job.
    pub(super) volumes: Vec<String>,
}

impl RunningJob {
    pub(super) fn new(docker: Docker) -> Self {
        Self {
            docker,
            network: None,
            members: Vec::new(),
            volumes: Vec::new(),
        }
    }

    /// The container of a kind; of services, the one at this place.
    pub fn member(&self, kind: Kind, index: usize) -> Option<Arc<Member>> {
        let of_kind = self.members.iter().filter(|member| member.kind == kind);
        of_kind.skip(index).map(Arc::clone).next()
    }

    /// The build container. Every launched job has one.
    pub fn build(&self) -> Option<Arc<Member>> {
        self.member(Kind::Build, 0)
    }

    /// The predefined container. Every launched job has one.
    pub fn predefined(&self) -> Option<Arc<Member>> {
        self.member(Kind::Predefined, 0)
    }

    /// Everything that the job's containers wrote, by container name.
    pub fn transcripts(&self) -> Vec<(String, Transcript)> {
        let each = self.members.iter();
        each.flat_map(|member| member.transcripts().into_iter().map(|one| (member.name.clone(), one)))
            .collect()
    }

    /// Removes everything in the runner's order: each container from every network and then itself, then temporary volumes, then the network.
    pub async fn cleanup(&self) -> Result<(), CleanupError> {
        let ids: Vec<&str> = self.members.iter().map(|member| member.id.as_str()).collect();
        let network = self.network.as_ref().map(|(name, _)| name.as_str());
        clean(&self.docker, &ids, &self.volumes, network).await
    }
}
