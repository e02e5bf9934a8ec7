//! The attestor that asks the kernel: which run opened this connection, and does it still hold it? The engine and the peer's address
//! only say where to look.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::conntrack;
use super::level::{Offer, Unservable, hierarchies};
use super::namespace::{Entrance, Found, Namespace};
use super::patience;
use super::registry::Registry;
use super::run::Run;
use super::sock_diag::Query;
use super::sources::Guard;
use super::strangers::Strangers;
use super::survey::own_network;
use crate::caller::{Attestor, Connection, Facts, Level, Unattested};
use crate::engine::Engine;

const NOT_AT_ALL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Between two looks whether the engine was read.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the first reading of the engine may take: inspecting a container takes a few milliseconds, and there may be a thousand.
const FIRST_SYNC: Duration = Duration::from_secs(30);
/// Refreshes at the same time. A peer that nobody knows costs the engine no more than this.
const REFRESHES: usize = 8;
/// Searches for the container of an unknown cgroup at the same time: each lists containers or reads directories.
const SEARCHES: usize = 4;

/// The attestor cannot work on this machine.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The level that is configured cannot be served.
    #[error(transparent)]
    Level(#[from] Unservable),
    /// The thread or its sockets could not be made.
    #[error("preparing to enter network namespaces")]
    Io(#[from] std::io::Error),
    /// The engine could not be read.
    #[error("the engine's containers and events could not be read within {} s", FIRST_SYNC.as_secs())]
    Engine,
}

/// Attests connections by asking the kernel.
#[derive(Debug, Clone)]
pub struct KernelAttestor {
    registry: Arc<Registry>,
    entrance: Entrance,
    endpoints: Arc<[SocketAddr]>,
    refreshes: Arc<Semaphore>,
    /// Apart from the above: whoever refreshes may have to search as well.
    searches: Arc<Semaphore>,
    guard: Option<Arc<Guard>>,
    strangers: Arc<Mutex<Strangers>>,
    /// The number of the host's own network namespace.
    home: u64,
}

impl KernelAttestor {
    /// Reads the engine once and follows it until `stop`. `endpoints` are the destinations that are not direct connections.
    ///
    /// # Errors
    /// The machine lacks something that the level needs, or the engine does not answer.
    pub async fn start(
        engine: Engine,
        endpoints: &[SocketAddr],
        level: Level,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Offer::look(&mounts)?.check(level)?;
        let registry = Arc::new(Registry::new(engine, hierarchies(&mounts, level), level));
        let entrance = Entrance::start(level)?;
        let home = own_network()?;
        tokio::spawn(Arc::clone(&registry).follow(stop));
        let deadline = Instant::now() + FIRST_SYNC;
        while registry.check_synced().is_err() {
            if Instant::now() >= deadline {
                return Err(StartError::Engine);
            }
            tokio::time::sleep(PAUSE).await;
        }
        let (refreshes, searches) = (Arc::new(Semaphore::new(REFRESHES)), Arc::new(Semaphore::new(SEARCHES)));
        Ok(Self {
            registry,
            entrance,
            endpoints: endpoints.into(),
            refreshes,
            searches,
            guard: None,
            strangers: Arc::default(),
            home,
        })
    }

    /// From now on whoever could lose its answers to a neighbour on the same bridge is refused, and every container is kept to its own
    /// addresses (rule A10).
    #[must_use]
    pub async fn guard_sources(mut self, stop: CancellationToken) -> Self {
        self.guard = Some(Guard::start(Arc::clone(&self.registry), stop).await);
        self
    }

    /// Containers that start from now on, for whoever wants to prepare for them. Proves nothing about any connection.
    #[must_use]
    pub fn arrivals(&self) -> mpsc::Receiver<Arc<Facts>> {
        self.registry.arrivals()
    }

    /// Whether the engine's events are followed at this moment; nobody is attested while they are not.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        self.registry.check_synced().is_ok()
    }

    /// One look, with what is known now.
    async fn look(&self, connection: &Connection) -> Result<(Arc<Facts>, Pin), Unattested> {
        let candidates = self.registry.index().candidates(connection.client.ip());
        let mut seen: Vec<u64> = Vec::new();
        let mut refusal = Unattested::UnknownAddress;
        let mut found: Option<(Arc<Namespace>, Found)> = None;
        for candidate in candidates {
            if seen.contains(&candidate.network()) {
                continue;
            }
            seen.push(candidate.network());
            let namespace = match candidate.namespace(&self.entrance).await {
                Ok(namespace) => namespace,
                Err(other) => {
                    refusal = other;
                    continue;
                }
            };
            match namespace.find(connection) {
                Ok(_) if found.is_some() => return Err(Unattested::Ambiguous),
                Ok(one) => found = Some((namespace, one)),
                // The address is not there now: open the sockets anew the next time, in case our view of it was withdrawn.
                Err(Unattested::UnknownAddress) => candidate.forget_namespace(),
                Err(other) => refusal = other,
            }
        }
        let (namespace, found) = found.ok_or(refusal)?;
        let run = match (self.registry.level(), found.proof.cgroup_id) {
            (Level::Cgroup, Some(cgroup_id)) => self.owner(&namespace, cgroup_id).await?,
            (Level::Cgroup, None) => return Err(Unattested::NoCgroup),
            (Level::Netns, cgroup_id) => self.only_inhabitant(&namespace, cgroup_id).await?,
        };
        run.check()?;
        self.registry.check_alone(&run)?;
        if let Some(guard) = &self.guard {
            guard.ensure(namespace.number, connection.client.ip()).await?;
        }
        let facts = Arc::clone(&run.facts);
        let cgroup_id = found.proof.cgroup_id;
        let Found { query, address, .. } = found;
        let pin = Pin {
            registry: Arc::clone(&self.registry),
            guard: self.guard.clone(),
            run,
            namespace,
            query,
            cgroup_id,
            address,
        };
        Ok((facts, pin))
    }

    /// Asks the engine who has the address now, and looks again, until the connection is explained or patience ends.
    async fn look_again(
        &self,
        connection: &Connection,
        first: Unattested,
        is_resting: bool,
    ) -> Result<(Arc<Facts>, Pin), Unattested> {
        patience::look_again(first, || async {
            // A container that starts with the address is heard of by events all the same.
            if is_resting {
                return self.look(connection).await;
            }
            let _permit = self.refreshes.acquire().await.map_err(|_| Unattested::Raced)?;
            // Many connections of one new container wait here together; whoever comes later finds it known.
            if let Ok(attested) = self.look(connection).await {
                return Ok(attested);
            }
            self.registry.refresh_address(connection.client.ip()).await?;
            self.look(connection).await
        })
        .await
    }

    fn strangers(&self) -> std::sync::MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that has the namespace to itself. The socket was found before anybody looks who is in there, and is asked for again by its
    /// cookie before anything is written: whoever opened it was there when the engine was asked, or is gone and the socket with it.
    async fn only_inhabitant(&self, namespace: &Namespace, cgroup_id: Option<u64>) -> Result<Arc<Run>, Unattested> {
        if namespace.number == self.home {
            return Err(Unattested::SharedNetwork);
        }
        let inhabitants = self.registry.index().inhabitants(namespace.number);
        let run = match &inhabitants[..] {
            [run] => Arc::clone(run),
            [] => return Err(Unattested::NotRunning),
            [_, _, ..] => return Err(Unattested::SharedNetwork),
        };
        // What the kernel says all the same is believed where it contradicts.
        let named = cgroup_id.and_then(|id| self.registry.index().owner(id));
        if named.is_some_and(|named| named.facts.run != run.facts.run) {
            return Err(Unattested::SharedNetwork);
        }
        let _permit = self.searches.acquire().await.map_err(|_| Unattested::Raced)?;
        self.registry.check_joiners(&run).await?;
        Ok(run)
    }

    /// The run to which a cgroup belongs: its own, or one below its own (rule A6). It must live in the namespace where the socket is.
    async fn owner(&self, namespace: &Namespace, cgroup_id: u64) -> Result<Arc<Run>, Unattested> {
        for is_second_look in [false, true] {
            if is_second_look {
                let _permit = self.searches.acquire().await.map_err(|_| Unattested::Raced)?;
                self.registry.refresh_sharers().await?;
            }
            let owner = self.registry.index().owner(cgroup_id);
            if let Some(run) = owner {
                return if run.network() == namespace.number {
                    Ok(run)
                } else {
                    Err(Unattested::Raced)
                };
            }
            let _permit = self.searches.acquire().await.map_err(|_| Unattested::Raced)?;
            let inhabitants = self.registry.index().inhabitants(namespace.number);
            let searched =
                tokio::task::spawn_blocking(move || inhabitants.into_iter().find(|run| run.contains(cgroup_id)));
            if let Some(run) = searched.await.map_err(|_| Unattested::Raced)? {
                let outermost = self.registry.index().owner(run.facts.run.cgroup_id);
                return outermost.ok_or(Unattested::NotRunning);
            }
        }
        Err(Unattested::NotRunning)
    }
}

impl Attestor for KernelAttestor {
    type Pin = Pin;

    async fn attest(&self, connection: &Connection) -> Result<(Arc<Facts>, Pin), Unattested> {
        if !self.endpoints.contains(&connection.original_destination) {
            return Err(Unattested::DirectConnection);
        }
        self.registry.check_synced()?;
        let refusal = match self.look(connection).await {
            Ok(attested) => return Ok(attested),
            Err(refusal) => refusal,
        };
        let peer = connection.client.ip();
        let is_resting = self.strangers().are_resting(peer, Instant::now());
        // Boxed: the usual connection is explained by the first look, and should not carry the state of all others.
        let attested = Box::pin(self.look_again(connection, refusal, is_resting)).await;
        if !is_resting
            && attested
                .as_ref()
                .is_err_and(|refusal| patience::is_worth_another_look(*refusal, true))
        {
            self.strangers().add(peer, Instant::now());
        }
        attested
    }

    fn confirm(&self, pin: &Pin) -> Result<(), Unattested> {
        pin.confirm()
    }

    async fn ended(&self, pin: &Pin) {
        tokio::select! {
            () = pin.address.cancelled() => {}
            () = pin.run.ended().cancelled() => {}
        }
        // What the kernel still translates for this connection must not serve the next owner of the address (rule A4). Failing that,
        // the entry ends by itself: nothing is retransmitted once the connection is reset.
        let _ = conntrack::forget(pin.query.local, pin.query.remote);
    }
}

/// A socket that was pinned when its connection was accepted.
#[derive(Debug)]
pub struct Pin {
    registry: Arc<Registry>,
    guard: Option<Arc<Guard>>,
    run: Arc<Run>,
    namespace: Arc<Namespace>,
    query: Query,
    cgroup_id: Option<u64>,
    address: CancellationToken,
}

impl Pin {
    fn confirm(&self) -> Result<(), Unattested> {
        self.registry.check_synced()?;
        self.registry.check_alone(&self.run)?;
        if let Some(guard) = &self.guard {
            guard.check(self.namespace.number, self.query.local.ip())?;
        }
        let proof = self.namespace.judge(&self.query)?;
        if proof.cgroup_id != self.cgroup_id {
            return Err(Unattested::AnotherSocket);
        }
        // Last, so that an end or a lost address is noticed which came while we asked. One call for both descriptors: this is asked
        // for every request. That the cgroup is populated follows from the first process being alive.
        let mut polled = [
            PollFd::new(self.run.process(), PollFlags::IN),
            PollFd::new(&*self.namespace, PollFlags::IN),
        ];
        let is_quiet = matches!(rustix::event::poll(&mut polled, Some(&NOT_AT_ALL)), Ok(0));
        if !is_quiet {
            self.namespace.refresh();
            self.run.check()?;
        }
        if self.address.is_cancelled() || self.run.ended().is_cancelled() {
            return Err(Unattested::NotRunning);
        }
        Ok(())
    }
}
