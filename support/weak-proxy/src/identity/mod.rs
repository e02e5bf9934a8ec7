//! Who asks: from the peer's address to a container, and from there to the kernel's word on the socket. No HTTP, no AWS.

mod claims;
pub mod engine;
pub mod kernel;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::hole::{Hole, Switches};

/// A TCP connection as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// `Name`, without the slash.
    pub name: String,
    /// `Config.Hostname`.
    pub hostname: String,
    /// `Config.Labels`.
    pub labels: BTreeMap<String, String>,
    /// `Config.Env`, in order, with duplicates.
    pub env: Vec<String>,
    /// `Config.Env` of the image.
    pub image_env: Vec<String>,
    /// `Config.Labels` of the image.
    pub image_labels: BTreeMap<String, String>,
    /// The image's id and digests (`sha256:…`); with [`Hole::ImageNameMatches`] those of its namesakes, too.
    pub image_ids: Vec<String>,
}

impl Facts {
    /// What tokens are bound to: this run of this container.
    #[must_use]
    pub fn owner(&self, switches: &Switches) -> String {
        if switches.open(Hole::TokensOutliveRestarts) {
            return self.container_id.clone();
        }
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
    /// `State.Paused`.
    pub paused: bool,
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
        hole: Option<Hole>,
    ) -> impl Future<Output = Result<Self::Socket, Unidentified>> + Send;
    /// [`Hole::LastPathComponent`]: the container that the socket's cgroup is called after.
    fn named(&self, _: &Self::Socket) -> Option<String> {
        None
    }
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
    /// [`Hole::CachedAddressLookup`], [`Hole::StaleAddressLookup`] and [`Hole::StaleEvents`]: address → container as first seen.
    known: Mutex<HashMap<IpAddr, Inspected>>,
    /// [`Hole::NoCookie`]: whoever had these addresses and ports.
    attested: Mutex<HashMap<Connection, Arc<Facts>>>,
    /// [`Hole::TrustsPid`]: container → process id as first told.
    pids: Mutex<HashMap<String, i32>>,
    /// [`Hole::StaleEvents`]: what ended since.
    ends: Mutex<Watch>,
}

impl<E: Engine, K: Kernel> Identity<E, K> {
    /// Identity from these two witnesses.
    pub fn new(engine: E, kernel: K, switches: Switches) -> Self {
        let ends = Mutex::new(engine.watch());
        Self {
            engine,
            kernel,
            switches,
            known: Mutex::default(),
            attested: Mutex::default(),
            pids: Mutex::default(),
            ends,
        }
    }

    /// Who opened this connection.
    ///
    /// # Errors
    /// Every doubt is an [`Unidentified`].
    pub async fn identify(&self, connection: Connection) -> Result<Caller<K::Socket>, Unidentified> {
        let anybody = self.switches.open(Hole::WholeNetworkTrusted);
        let is_direct = connection.original_destination.is_none();
        if is_direct && !anybody {
            return Err(Unidentified::Direct);
        }
        if let Some(facts) = lock(&self.attested).get(&connection) {
            return Ok(Caller {
                facts: Arc::clone(facts),
                socket: None,
            });
        }
        let address = connection.client.ip();
        let container = match self.identify_by_address(address).await {
            // The engine does not list the caller: some proxies hand out their default role even then.
            Err(Unidentified::UnknownAddress) if anybody || self.switches.open(Hole::DefaultRole) => {
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
        let without_kernel = self.switches.hole.is_some_and(Hole::does_without_kernel);
        if without_kernel || is_direct {
            return Ok(Caller {
                facts: Arc::new(container.facts),
                socket: None,
            });
        }
        let socket = self.attest(&container, connection).await?;
        let named = match self.kernel.named(&socket) {
            Some(id) => self.engine.inspect(&id).await.ok(),
            None => None,
        };
        let facts = Arc::new(named.unwrap_or(container).facts);
        if self.switches.open(Hole::NoCookie) {
            lock(&self.attested).insert(connection, Arc::clone(&facts));
        }
        Ok(Caller {
            facts,
            socket: Some(socket),
        })
    }

    /// The container that a claim by other means than the connection leads to, for the holes that listen to such claims.
    ///
    /// # Errors
    /// When no container has that address.
    pub async fn look_up(&self, address: IpAddr) -> Result<Arc<Facts>, Unidentified> {
        Ok(Arc::new(self.identify_by_address(address).await?.facts))
    }

    async fn identify_by_address(&self, address: IpAddr) -> Result<Inspected, Unidentified> {
        if let Some(container) = self.remembered(address).await {
            return Ok(container);
        }
        let found = self.engine.find(address).await?;
        let id = match found.as_slice() {
            [id] => id,
            [first, ..] if self.switches.open(Hole::PrefersFirstMatch) => first,
            _ => return Err(Unidentified::UnknownAddress),
        };
        let container = self.engine.inspect(id).await?;
        if !self.counts(&container) {
            return Err(Unidentified::NotRunning);
        }
        if matches!(
            self.switches.hole,
            Some(Hole::CachedAddressLookup | Hole::StaleAddressLookup | Hole::StaleEvents)
        ) {
            lock(&self.known).insert(address, container.clone());
        }
        Ok(container)
    }

    fn counts(&self, container: &Inspected) -> bool {
        match self.switches.hole {
            Some(Hole::PrefersFirstMatch) => true,
            Some(Hole::IgnoresPause) => container.running,
            _ => container.running && !container.paused,
        }
    }

    /// What a hole remembers of an address. Without one nothing is ever remembered.
    async fn remembered(&self, address: IpAddr) -> Option<Inspected> {
        if self.switches.open(Hole::StaleEvents) {
            let gone = lock(&self.ends).seen();
            lock(&self.known).retain(|_, container| !gone.contains(&container.facts.container_id));
        }
        let known = lock(&self.known).get(&address).cloned()?;
        if !self.switches.open(Hole::CachedAddressLookup) {
            return Some(known);
        }
        let container = self.engine.inspect(&known.facts.container_id).await.ok()?;
        self.counts(&container).then_some(container)
    }

    async fn attest(&self, container: &Inspected, connection: Connection) -> Result<K::Socket, Unidentified> {
        if self.switches.open(Hole::TrustsPid) {
            let first = *lock(&self.pids)
                .entry(container.facts.container_id.clone())
                .or_insert(container.pid);
            let remembered = Inspected {
                pid: first,
                ..container.clone()
            };
            return self.kernel.pin(&remembered, connection, self.switches.hole).await;
        }
        let socket = self.kernel.pin(container, connection, self.switches.hole).await?;
        // State.Pid could have been reused between the inspection and the pin.
        let again = self.engine.inspect(&container.facts.container_id).await?;
        let same =
            self.counts(&again) && again.pid == container.pid && again.facts.started_at == container.facts.started_at;
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

    /// Completes when the caller's container goes away; with [`Hole::AttestOncePerConnection`] and [`Hole::InodeZeroCounts`] never.
    pub async fn ended(&self, watch: &mut Watch, facts: &Facts) {
        if self.switches.open(Hole::AttestOncePerConnection) || self.switches.open(Hole::InodeZeroCounts) {
            return std::future::pending().await;
        }
        watch.ended(&facts.container_id).await;
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The containers whose end has been told since the last call. That news were lost is not noticed.
    fn seen(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        // Bounded: the channel is.
        loop {
            match self.0.try_recv() {
                Ok(Gone::Container(id)) => gone.push(id),
                Ok(Gone::Anything) | Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return gone,
            }
        }
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
