//! Keeps every container on a bridge to its own addresses, by what the engine says of each and what the host shows of its ports (rule A10).
//! Whoever shares a bridge is attested only while nobody else there can take its address: the kernel proves who asks, and this who reads.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ports::{self, Port};
use super::registry::Registry;
use super::run::Run;
use crate::caller::Unattested;
use crate::firewall::{FirewallError, Owner, Sources, change_sources, filter_sources};

/// The filter is written again this often, whoever changed it: it lapses when the proxy is gone for longer.
const EVERY: Duration = Duration::from_secs(5);
/// Changes come in bursts: a container that starts is told of by several events, and others start beside it. What a caller needs at once does
/// not wait for this, and an address that changes hands is free again before its new owner has sent anything.
const BURST: Duration = Duration::from_millis(25);
/// What is in the filter lapses after 15 s (`firewall::sources`); it is believed for less.
const BELIEVED: Duration = Duration::from_secs(12);
/// Before that only what changed is written.
const RECENT: Duration = Duration::from_secs(4);

/// The addresses that are guarded, each in the network namespace where it may be used.
type Covered = HashSet<(u64, IpAddr)>;

#[derive(Debug)]
pub(crate) struct Guard {
    registry: Arc<Registry>,
    /// With the time at which the whole filter was written.
    covered: Mutex<Option<(Arc<Covered>, Instant)>>,
    /// What is in the filter, and the same time.
    written: tokio::sync::Mutex<Option<Written>>,
}

impl Guard {
    /// Writes the first filter, and keeps it from then on.
    pub(crate) async fn start(registry: Arc<Registry>, stop: CancellationToken) -> Arc<Self> {
        let guard = Arc::new(Self {
            registry,
            covered: Mutex::default(),
            written: tokio::sync::Mutex::default(),
        });
        guard.write().await;
        let kept = Arc::clone(&guard);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = kept.registry.changed().notified() => tokio::time::sleep(BURST).await,
                    () = tokio::time::sleep(EVERY) => {}
                }
                kept.write().await;
            }
        });
        guard
    }

    /// Whether nobody else can use the address.
    pub(crate) fn check(&self, namespace: u64, address: IpAddr) -> Result<(), Unattested> {
        let covered = self.covered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_covered =
            |(covered, at): (Arc<Covered>, Instant)| at.elapsed() < BELIEVED && covered.contains(&(namespace, address));
        if covered.is_some_and(is_covered) {
            Ok(())
        } else {
            Err(Unattested::Unfiltered)
        }
    }

    /// The same, after writing what may be missing.
    pub(crate) async fn ensure(&self, namespace: u64, address: IpAddr) -> Result<(), Unattested> {
        if self.check(namespace, address).is_err() {
            self.write().await;
        }
        self.check(namespace, address)
    }

    async fn write(&self) {
        // One at a time: whoever waited finds its container included.
        let mut written = self.written.lock().await;
        let runs = self.registry.index().all();
        let gathered = tokio::task::spawn_blocking(move || gather(&runs)).await;
        let gathered = gathered.map_err(io::Error::from).flatten();
        let written_now = match gathered {
            Ok((sources, _)) if is_recent(written.as_ref(), &sources) => return,
            Ok((sources, now_covered)) => put(written.take(), sources)
                .await
                .map(|(sources, at)| (sources, now_covered, at))
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut covered = self.covered.lock().unwrap_or_else(PoisonError::into_inner);
        match written_now {
            Ok((sources, now_covered, at)) => {
                *written = Some((sources, at));
                *covered = Some((Arc::new(now_covered), at));
            }
            Err(error) => {
                tracing::error!(%error, "containers on shared bridges cannot be kept to their addresses; they are refused");
                *written = None;
                *covered = None;
            }
        }
    }
}

/// The content of the filter, and when the whole of it was written.
type Written = (Sources, Instant);

fn is_recent(written: Option<&Written>, sources: &Sources) -> bool {
    written.is_some_and(|(live, at)| live == sources && at.elapsed() < RECENT)
}

/// Writes what changed, or everything if that was long ago or the table is not as it was left.
async fn put(written: Option<Written>, sources: Sources) -> Result<Written, FirewallError> {
    if let Some((live, at)) = written.filter(|(_, at)| at.elapsed() < RECENT) {
        match change_sources(&live, &sources).await {
            Ok(()) => return Ok((sources, at)),
            Err(error) => {
                tracing::warn!(%error, "the filter of shared bridges is not as it was left; it is written anew");
            }
        }
    }
    // Before it is written: what is believed must not outlive what is there.
    let at = Instant::now();
    filter_sources(&sources).await?;
    Ok((sources, at))
}

/// What each container may use, and from which ports.
fn gather(runs: &[Arc<Run>]) -> io::Result<(Sources, Covered)> {
    let mut ports: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for Port { index, namespace } in ports::list()? {
        ports.entry(namespace).or_default().push(index);
    }
    let (mut sources, mut covered) = (Sources::default(), Covered::new());
    for run in runs {
        let ports = run.namespace_number().and_then(|number| ports.get(&number));
        let endpoints = run.endpoints();
        sources
            .gateways
            .extend(endpoints.iter().flat_map(|endpoint| endpoint.gateways.clone()));
        let Some(ports) = ports else { continue };
        let owner = Owner {
            ports: ports.iter().copied().collect(),
            macs: endpoints.iter().filter_map(|endpoint| endpoint.mac).collect(),
            addresses: endpoints
                .iter()
                .flat_map(|endpoint| endpoint.addresses.clone())
                .collect(),
        };
        // An answer is sent to a MAC address: without one to guard there is nothing that can be said.
        if !owner.macs.is_empty() {
            covered.extend(owner.addresses.iter().map(|address| (run.network(), *address)));
            sources.owners.insert(owner);
        }
    }
    Ok((sources, covered))
}
