//! Who asks: from the peer's address to a container, and from there to the kernel's word on the socket. No HTTP, no AWS.

pub mod engine;
pub mod kernel;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::hole::{Hole, Switches};

/// A TCP connection as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The peer (v4-mapped given as IPv4).
    pub client: SocketAddr,
    /// Where the client wanted to go; `None` when it was not redirected here.
    pub original_destination: Option<SocketAddr>,
}

/// What the engine says of one run of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Container id.
    pub container_id: String,
    /// `State.StartedAt`.
    pub started_at: String,
    /// `Config.Labels`.
    pub labels: BTreeMap<String, String>,
    /// `Config.Env`, in order, with duplicates.
    pub env: Vec<String>,
    /// `Config.Env` of the image.
    pub image_env: Vec<String>,
    /// The image's id and digests (`sha256:…`).
    pub image_ids: Vec<String>,
}

impl Facts {
    /// What tokens are bound to: this run of this container.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{}@{}", self.container_id, self.started_at)
    }
}

/// A container as inspected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// What does not change in a run.
    pub facts: Facts,
    /// `State.Running`.
    pub running: bool,
    /// `State.Pid`.
    pub pid: i32,
}

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// It connected to the proxy itself.
    #[error("direct connection")]
    Direct,
    /// No container has this address, or more than one.
    #[error("unknown address")]
    UnknownAddress,
    /// The engine did not answer.
    #[error("engine unavailable")]
    Engine,
    /// The container ended or was replaced while we looked.
    #[error("container not running")]
    NotRunning,
    /// The kernel knows no such socket there, or another one.
    #[error("no such socket")]
    NoSuchSocket,
    /// The kernel's answer is not this connection, established and owned.
    #[error("not established")]
    NotEstablished,
    /// The socket belongs to another cgroup than the container.
    #[error("socket of another container")]
    OtherContainer,
}

/// The engine, as far as identity needs it.
pub trait Engine: Send + Sync + 'static {
    /// The running containers that own `address` on some network now.
    fn find(&self, address: IpAddr) -> impl Future<Output = Result<Vec<String>, Unidentified>> + Send;
    /// One container.
    fn inspect(&self, id: &str) -> impl Future<Output = Result<Inspected, Unidentified>> + Send;
    /// Begins to watch; taken before the identification, so that no end is missed.
    fn watch(&self) -> Watch;
}

/// The kernel, as far as identity needs it.
pub trait Kernel: Send + Sync + 'static {
    /// A pinned socket.
    type Socket: Send + Sync + 'static;
    /// Finds the connection's other end in the network namespace of `container`, and pins it.
    fn pin(
        &self,
        container: &Inspected,
        connection: Connection,
        listen_counts: bool,
    ) -> impl Future<Output = Result<Self::Socket, Unidentified>> + Send;
    /// The same socket still, alive, of the same running container?
    ///
    /// # Errors
    /// Every doubt.
    fn confirm(&self, socket: &Self::Socket) -> Result<(), Unidentified>;
}

/// A known caller.
#[derive(Debug)]
pub struct Caller<S> {
    /// The container.
    pub facts: Arc<Facts>,
    /// The pinned socket; `None` where a hole does without the kernel.
    pub socket: Option<S>,
}

/// Identity by address, and the kernel's word.
#[derive(Debug)]
pub struct Identity<E, K> {
    engine: E,
    kernel: K,
    switches: Switches,
    /// [`Hole::CachedAddressLookup`] and [`Hole::StaleAddressLookup`]: address → container as first seen, for ever.
    known: Mutex<HashMap<IpAddr, Inspected>>,
}

impl<E: Engine, K: Kernel> Identity<E, K> {
    /// Identity from these two witnesses.
    pub fn new(engine: E, kernel: K, switches: Switches) -> Self {
        Self {
            engine,
            kernel,
            switches,
            known: Mutex::default(),
        }
    }

    /// Who opened this connection.
    ///
    /// # Errors
    /// Every doubt is an [`Unidentified`].
    pub async fn identify(&self, connection: Connection) -> Result<Caller<K::Socket>, Unidentified> {
        if connection.original_destination.is_none() {
            return Err(Unidentified::Direct);
        }
        let address = connection.client.ip();
        let container = match self.identify_by_address(address).await {
            // The engine does not list the caller: some proxies hand out their default role even then.
            Err(Unidentified::UnknownAddress) if self.switches.open(Hole::DefaultRole) => {
                let facts = Facts {
                    container_id: format!("unknown-{address}"),
                    ..Facts::default()
                };
                return Ok(Caller {
                    facts: Arc::new(facts),
                    socket: None,
                });
            }
            other => other?,
        };
        let socket = if self.does_without_kernel() {
            None
        } else {
            Some(self.attest(&container, connection).await?)
        };
        Ok(Caller {
            facts: Arc::new(container.facts),
            socket,
        })
    }

    fn does_without_kernel(&self) -> bool {
        matches!(
            self.switches.hole,
            Some(Hole::AddressOnly | Hole::CachedAddressLookup | Hole::StaleAddressLookup)
        )
    }

    async fn identify_by_address(&self, address: IpAddr) -> Result<Inspected, Unidentified> {
        if let Some(container) = self.remembered(address).await {
            return Ok(container);
        }
        let found = self.engine.find(address).await?;
        let [id] = found.as_slice() else {
            return Err(Unidentified::UnknownAddress);
        };
        let container = self.engine.inspect(id).await?;
        if !container.running {
            return Err(Unidentified::NotRunning);
        }
        if matches!(
            self.switches.hole,
            Some(Hole::CachedAddressLookup | Hole::StaleAddressLookup)
        ) {
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(address, container.clone());
        }
        Ok(container)
    }

    /// What a hole remembers of an address. Without one nothing is ever remembered.
    async fn remembered(&self, address: IpAddr) -> Option<Inspected> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&address)
            .cloned()?;
        if self.switches.open(Hole::StaleAddressLookup) {
            return Some(known);
        }
        let container = self.engine.inspect(&known.facts.container_id).await.ok()?;
        container.running.then_some(container)
    }

    async fn attest(&self, container: &Inspected, connection: Connection) -> Result<K::Socket, Unidentified> {
        let listen_counts = self.switches.open(Hole::AcceptListenSocket);
        let socket = self.kernel.pin(container, connection, listen_counts).await?;
        // State.Pid could have been reused between the inspection and the pin.
        let again = self.engine.inspect(&container.facts.container_id).await?;
        let same = again.running && again.pid == container.pid && again.facts.started_at == container.facts.started_at;
        if same {
            Ok(socket)
        } else {
            Err(Unidentified::NotRunning)
        }
    }

    /// Asks the kernel again about a caller.
    ///
    /// # Errors
    /// When it is not the same living socket any more.
    pub fn confirm(&self, caller: &Caller<K::Socket>) -> Result<(), Unidentified> {
        match &caller.socket {
            Some(socket) if !self.switches.open(Hole::AttestOncePerConnection) => self.kernel.confirm(socket),
            Some(_) | None => Ok(()),
        }
    }

    /// Begins to watch for the end of containers.
    pub fn watch(&self) -> Watch {
        self.engine.watch()
    }

    /// Completes when the caller's container goes away; with [`Hole::AttestOncePerConnection`] never.
    pub async fn ended(&self, watch: &mut Watch, facts: &Facts) {
        if self.switches.open(Hole::AttestOncePerConnection) {
            return std::future::pending().await;
        }
        watch.ended(&facts.container_id).await;
    }
}

/// News of an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// This container ended or lost a network.
    Container(String),
    /// The engine's events were lost: anything may have ended.
    Anything,
}

/// The engine's news, from the moment it was taken.
#[derive(Debug)]
pub struct Watch(broadcast::Receiver<Gone>);

impl Watch {
    /// News from this channel.
    #[must_use]
    pub const fn new(news: broadcast::Receiver<Gone>) -> Self {
        Self(news)
    }

    /// Completes when that container may have ended.
    pub async fn ended(&mut self, id: &str) {
        loop {
            match self.0.recv().await {
                Ok(Gone::Container(gone)) if gone != id => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
