//! The runs that the engine has told of and the kernel has confirmed: how they get in, and how they leave.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::cgroup::Hierarchy;
use super::index::{Index, Place};
use super::run::{Body, Run};
use super::survey::network_of;
use crate::caller::{self, Facts, Level, Unattested};
use crate::engine::{Change, Engine, EngineError, Listed};

/// Containers inspected at the same time when everything is read again.
const ADMISSIONS: usize = 4;
/// The list of containers is compared with what is known this often, in case an event was lost.
const RECONCILE: Duration = Duration::from_secs(30);
/// Containers that have started and that nobody has taken note of yet.
const ARRIVALS: usize = 256;
/// Between two tries to reach an engine that went away.
const RECONNECT: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Registry {
    engine: Engine,
    hierarchies: Vec<Hierarchy>,
    level: Level,
    index: Mutex<Index<Arc<Run>>>,
    /// Whether the engine's events are being followed. Without them nothing is attested (rule A4).
    is_synced: AtomicBool,
    changed: Notify,
    /// Whoever wants to hear of containers that have started.
    arrivals: OnceLock<mpsc::Sender<Arc<Facts>>>,
    /// Containers that are being taken in because of an event, and whether another came meanwhile.
    admissions: Mutex<HashMap<String, bool>>,
}

impl Registry {
    pub(crate) fn new(engine: Engine, hierarchies: Vec<Hierarchy>, level: Level) -> Self {
        Self {
            engine,
            hierarchies,
            level,
            index: Mutex::default(),
            is_synced: AtomicBool::new(false),
            changed: Notify::new(),
            arrivals: OnceLock::new(),
            admissions: Mutex::default(),
        }
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index<Arc<Run>>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told whenever a run comes, moves or goes.
    pub(crate) const fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Containers that the engine says have started, from now on, once the kernel has confirmed them. Who does not keep up hears of fewer.
    pub(crate) fn arrivals(&self) -> mpsc::Receiver<Arc<Facts>> {
        let (sender, receiver) = mpsc::channel(ARRIVALS);
        // A second listener hears nothing.
        drop(self.arrivals.set(sender));
        receiver
    }

    pub(crate) fn check_synced(&self) -> Result<(), Unattested> {
        if self.is_synced.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(Unattested::EngineUnavailable)
        }
    }

    /// By what callers are told apart.
    pub(crate) const fn level(&self) -> Level {
        self.level
    }

    /// Whether everybody in the run's network namespace is of the same job: NET_RAW lets each of them read what the others are answered.
    /// Where nothing tells them apart, nobody else may be there at all.
    pub(crate) fn check_alone(&self, run: &Run) -> Result<(), Unattested> {
        let index = self.index();
        if index.count_in(run.network()) < 2 {
            return Ok(());
        }
        let others = index.inhabitants(run.network());
        if self.level == Level::Netns {
            return Err(Unattested::SharedNetwork);
        }
        if others
            .iter()
            .all(|other| other.facts.run == run.facts.run || other.facts.is_of_job_of(&run.facts))
        {
            Ok(())
        } else {
            Err(Unattested::SharedNetwork)
        }
    }

    /// Learns of the containers that have the address now.
    pub(crate) async fn refresh_address(self: &Arc<Self>, address: IpAddr) -> Result<(), Unattested> {
        for container in self.engine.owners(address).await.map_err(unavailable)? {
            ignore_race(self.admit(&container).await)?;
        }
        Ok(())
    }

    /// Learns of the containers that use another container's network: no address leads to them.
    pub(crate) async fn refresh_sharers(self: &Arc<Self>) -> Result<(), Unattested> {
        let listed = self.engine.running().await.map_err(unavailable)?;
        for container in listed.iter().filter(|container| container.shares_network) {
            if self.index().latest(&container.id).is_none() {
                ignore_race(self.admit(&container.id).await)?;
            }
        }
        Ok(())
    }

    /// Whether no other container of the engine is in the run's network namespace, whatever the engine's list says of its state: that lags
    /// behind a start, and inspecting does not. Who joins later has not opened the connection that is asked about.
    pub(crate) async fn check_joiners(&self, run: &Run) -> Result<(), Unattested> {
        let listed = self.engine.every().await.map_err(unavailable)?;
        let own = &run.facts.run.container_id;
        let joiners = listed
            .into_iter()
            .filter(|listed| listed.shares_network && listed.id != *own);
        let looks = joiners.map(|listed| async move {
            let inspected = self.engine.inspect(&listed.id).await.map_err(unavailable)?;
            match inspected.filter(|one| one.is_running) {
                None => Ok(()),
                // It ended meanwhile, or is not to be seen from here: a doubt, and worth another look.
                Some(one) => match network_of(one.pid) {
                    Ok(number) if number == run.network() => Err(Unattested::SharedNetwork),
                    Ok(_) => Ok(()),
                    Err(_) => Err(Unattested::Raced),
                },
            }
        });
        stream::iter(looks)
            .buffer_unordered(ADMISSIONS)
            .try_collect::<Vec<()>>()
            .await
            .map(drop)
    }

    /// Takes a container in: what the engine says and what the kernel shows must agree, before and after (rule A5).
    pub(crate) async fn admit(self: &Arc<Self>, container: &str) -> Result<Arc<Run>, Unattested> {
        let first = self
            .engine
            .inspect(container)
            .await
            .map_err(unavailable)?
            .ok_or(Unattested::NotRunning)?;
        if !first.is_running || first.pid == 0 {
            return Err(Unattested::NotRunning);
        }
        let known = self.index().run(&first.id, &first.started_at);
        if let Some(run) = known
            && run.check().is_ok()
        {
            self.index().move_to(&first.id, first.addresses);
            if run.set_endpoints(first.endpoints) {
                self.changed.notify_one();
            }
            return Ok(run);
        }
        let body = Body::open(&self.hierarchies, &first.id, first.pid)?;
        let image = self.engine.image(&first.image_id).await.map_err(unavailable)?;
        let second = self
            .engine
            .inspect(container)
            .await
            .map_err(unavailable)?
            .ok_or(Unattested::NotRunning)?;
        if !first.is_same_run(&second) {
            return Err(Unattested::Raced);
        }
        let place = Place {
            container: second.id.clone(),
            started_at: second.started_at.clone(),
            cgroup_id: body.cgroup_id,
            ancestors: body.ancestors.clone(),
            namespace: body.network,
            addresses: second.addresses,
        };
        let facts = Facts {
            run: caller::Run {
                container_id: second.id,
                started_at: second.started_at,
                cgroup_id: body.cgroup_id,
            },
            labels: second.labels,
            env: second.env,
            image_env: image.env,
            image_labels: image.labels,
            image_id: second.image_id,
            repo_digests: image.repo_digests,
        };
        let run = Arc::new(Run::new(Arc::new(facts), body, second.endpoints));
        run.check()?;
        self.insert(place, run)
    }

    fn insert(self: &Arc<Self>, place: Place, run: Arc<Run>) -> Result<Arc<Run>, Unattested> {
        let (container, cgroup_id) = (place.container.clone(), place.cgroup_id);
        let displaced = {
            let mut index = self.index();
            // Somebody else has taken the same run in meanwhile: connections are bound to theirs.
            if let Some(known) = index.run(&container, &place.started_at)
                && known.check().is_ok()
            {
                index.move_to(&container, place.addresses);
                return Ok(known);
            }
            index.insert(place, Arc::clone(&run))
        };
        if let Some(displaced) = displaced {
            displaced.end();
        }
        self.changed.notify_one();
        let ended = run.watch().map_err(|_| Unattested::Raced)?;
        let (registry, over) = (Arc::downgrade(self), run.ended().clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended => {}
                () = over.cancelled() => {}
            }
            if let Some(registry) = registry.upgrade() {
                let removed = registry.index().remove_run(&container, cgroup_id);
                registry.changed.notify_one();
                if let Some(run) = removed {
                    run.end();
                }
            }
        });
        Ok(run)
    }

    /// Applies one change that the engine told.
    async fn apply(self: &Arc<Self>, change: Change) {
        match change {
            Change::Arrived { container } => self.follow_up(container),
            Change::Ended { container } => {
                let latest = self.index().latest(&container);
                if let Some(run) = latest
                    && run.check().is_err()
                {
                    self.index().remove_run(&container, run.facts.run.cgroup_id);
                    run.end();
                    self.changed.notify_one();
                }
            }
            Change::Disconnected { container } => {
                let latest = self.index().latest(&container);
                if let Some(run) = latest {
                    self.index().move_to(&container, Vec::new());
                    run.forget_namespace();
                    if run.set_endpoints(Vec::new()) {
                        self.changed.notify_one();
                    }
                    self.follow_up(container);
                }
            }
        }
    }

    /// Takes in the container of an event, in a task of its own: inspecting waits for a start to be complete, and later events must not wait for
    /// that. A start is told of at least twice, as a container and for each of its networks: one task does for all of them.
    fn follow_up(self: &Arc<Self>, container: String) {
        match self.admissions().entry(container.clone()) {
            Entry::Occupied(mut again) => {
                again.insert(true);
                return;
            }
            Entry::Vacant(vacant) => vacant.insert(false),
        };
        let registry = Arc::clone(self);
        tokio::spawn(async move {
            while {
                if let (Ok(run), Some(arrivals)) = (registry.admit(&container).await, registry.arrivals.get()) {
                    drop(arrivals.try_send(Arc::clone(&run.facts)));
                }
                registry.is_told_of_again(&container)
            } {}
        });
    }

    /// Whether an event came that the engine's answer may not know of; if not, the container is not followed up any more.
    fn is_told_of_again(&self, container: &str) -> bool {
        let mut admissions = self.admissions();
        let again = admissions.get_mut(container).is_some_and(std::mem::take);
        if !again {
            admissions.remove(container);
        }
        again
    }

    fn admissions(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.admissions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads everything again: what runs is taken in, and what does not is dropped.
    async fn resync(self: &Arc<Self>) -> Result<(), EngineError> {
        let running = self.engine.running().await?;
        self.drop_unlisted(&running);
        let admissions = running.into_iter().map(|listed| {
            let registry = Arc::clone(self);
            async move { registry.admit(&listed.id).await.map(drop) }
        });
        stream::iter(admissions)
            .buffer_unordered(ADMISSIONS)
            .for_each(|_| std::future::ready(()))
            .await;
        Ok(())
    }

    /// Drops what is not listed and does not live. The list lags behind the start of a container, so it alone ends nothing.
    fn drop_unlisted(&self, running: &[Listed]) {
        let listed: HashSet<&str> = running.iter().map(|listed| listed.id.as_str()).collect();
        // Apart from the loop, which would hold the lock until its end.
        let known = self.index().containers();
        for container in known.iter().filter(|known| !listed.contains(known.as_str())) {
            let latest = self.index().latest(container);
            if let Some(run) = latest
                && run.check().is_err()
            {
                self.index().remove_run(container, run.facts.run.cgroup_id);
                run.end();
                self.changed.notify_one();
            }
        }
    }

    /// Follows the engine until `stop`. `EngineUnavailable` is the answer to everybody whenever this is not in step.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.follow_once() => {}
            }
            self.is_synced.store(false, Ordering::Release);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    async fn follow_once(self: &Arc<Self>) {
        let mut changes = self.engine.changes();
        let mut pending = Vec::new();
        {
            let resync = self.resync();
            tokio::pin!(resync);
            loop {
                tokio::select! {
                    // The stream first: it must be open before the list is asked for.
                    biased;
                    change = changes.next() => match change {
                        Some(change) => pending.push(change),
                        None => return,
                    },
                    synced = &mut resync => match synced {
                        Ok(()) => break,
                        Err(error) => {
                            tracing::warn!(%error, "the engine cannot be read; nothing is attested until it can");
                            return;
                        }
                    },
                }
            }
        }
        for change in pending {
            self.apply(change).await;
        }
        self.is_synced.store(true, Ordering::Release);
        let mut reconcile = tokio::time::interval(RECONCILE);
        reconcile.reset();
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(change) => self.apply(change).await,
                    None => return,
                },
                _ = reconcile.tick() => if self.resync().await.is_err() { return },
            }
        }
    }
}

pub(crate) fn unavailable(error: EngineError) -> Unattested {
    tracing::warn!(%error, "the engine did not help to attest a connection");
    Unattested::EngineUnavailable
}

/// A container that came and went while we looked is nobody; an engine that does not answer is a reason to stop.
fn ignore_race(admitted: Result<Arc<Run>, Unattested>) -> Result<(), Unattested> {
    match admitted {
        Err(Unattested::EngineUnavailable) => Err(Unattested::EngineUnavailable),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
