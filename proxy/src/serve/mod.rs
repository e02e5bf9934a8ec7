//! Serves the endpoint: accept, attest, judge, answer. Knows the order of things; each thing itself is elsewhere.

mod connection;
mod container;
mod force;
mod judge;
mod limits;
mod listener;
mod record;
mod standing;
#[cfg(test)]
mod tests;
mod verification;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use force::{InForce, Turn};
pub use judge::{Step, Terms, judge};
pub use limits::{Counts, Place};
pub use listener::{Accept, ListenFault, Listener, Wire};
use standing::Standing;
pub use standing::Standings;

use crate::audit::AuditLog;
use crate::caller::{Attestor, Facts};
use crate::config::Config;
use crate::control::{Order, Register, Reply};
use crate::credentials::{AssumeRole, Cache, Key};
use crate::gitlab::Verdicts;
use crate::health::{Beat, Pulse};
use crate::instance::Instance;
use crate::metrics::Metrics;
use crate::policy::{Decision, Target};
use crate::request::Named;
use crate::selftest::Canary;
use crate::token::NONCE_BYTES;

/// Connections in all.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections of one address, and of one container. A shared network namespace is one address for several containers.
pub const CONNECTIONS_OF_ONE: usize = 512;
/// How long connections may take to end when the proxy stops.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often a listener says that it goes on, and how long it may say nothing.
const BEAT: Duration = Duration::from_secs(1);
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// After an accept that failed, for want of file descriptors for instance.
const RESPITE: Duration = Duration::from_millis(50);

/// All that serving needs.
pub struct Service<A: Attestor, S: AssumeRole> {
    /// Ties connections to containers.
    pub attestor: A,
    /// The operator's rules.
    pub policy: InForce,
    /// What requests are judged by.
    pub terms: Terms,
    /// What GitLab says of jobs, for rules that want to know.
    pub verdicts: Verdicts,
    /// Where credentials come from.
    pub credentials: Cache<S>,
    /// What is known of the instance.
    pub instance: Instance,
    /// The wall clock.
    pub clock: SharedTimeSource,
    /// Randomness for tokens.
    pub nonce: Box<dyn Fn() -> [u8; NONCE_BYTES] + Send + Sync>,
    /// Where decisions are recorded.
    pub audit: AuditLog,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Connections of each container.
    pub containers: Counts<String>,
    /// What policy makes of those who are connected.
    pub standings: Standings,
    /// Where it is kept who is revoked.
    pub register: Register,
    /// The container of the self-test, while it is on its way.
    pub canary: Canary,
}

impl<A: Attestor, S: AssumeRole> std::fmt::Debug for Service<A, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// An attested caller: one connection of a container.
#[derive(Debug)]
struct Caller {
    client: SocketAddr,
    /// What it has connected to.
    service: Named,
    standing: Arc<Standing>,
}

/// Whether a set of credentials may be the subject's. A key names the role; whose job it is it need not say, so that everybody's are
/// asked for again: that costs one call each, and leaves none behind.
fn may_be_of(subject: &Target, key: &Key) -> bool {
    match subject {
        Target::Role(arn) => key.role.arn() == arn,
        Target::Job(_) | Target::Project(_) | Target::Container(_) => true,
    }
}

/// What came of a new policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Rules in force now.
    pub rules: usize,
    /// Names of the rules that are gone or read otherwise now.
    pub withdrawn: Vec<String>,
    /// Sets of credentials that those rules had given and nobody gets any more.
    pub forgotten: usize,
}

impl<A: Attestor, S: AssumeRole> Service<A, S> {
    /// Obeys an operator. Requests that are being answered are judged anew; nothing that was cached for the subject is left. May take as long as
    /// a disk takes.
    pub fn obey(&self, order: &Order) -> Reply {
        // It came over a wire: half an id would mean many, and none everybody.
        if let Order::Revoke(subject) = order
            && let Err(why) = subject.check()
        {
            return Reply::Refused { why: why.to_owned() };
        }
        let (is_change, forgotten) = match order {
            Order::Revoke(subject) => match self.policy.revoke(subject.clone(), self.clock.now()) {
                // In this order: nobody who is revoked can fill the cache again.
                Ok(is_new) => (is_new, self.credentials.forget(|key| may_be_of(subject, key))),
                Err(too_many) => {
                    return Reply::Refused {
                        why: too_many.to_string(),
                    };
                }
            },
            Order::Lift(subject) => (self.policy.lift(subject), 0),
            Order::List => (false, 0),
        };
        // In force already: a disk that fails must not keep a job its role. What is lifted and not kept so is taken away again by a restart.
        let unkept = match order {
            Order::Revoke(_) | Order::Lift(_) => self.register.keep(|| self.policy.revoked()).err(),
            Order::List => None,
        };
        let revoked: Vec<Target> = self.policy.revoked().iter().cloned().collect();
        self.metrics.show_revoked(revoked.len());
        Reply::Done {
            is_change,
            forgotten,
            revoked,
            unkept: unkept.map(|why| why.to_string()),
        }
    }

    /// Puts the rules of a configuration in force. Requests that are being answered are judged by them too, and what withdrawn rules have
    /// given (credentials, tokens) is worth nothing from here on.
    pub fn replace_policy(&self, config: &Config) -> Replaced {
        let before = self.policy.policy();
        let after = before.succeed(config);
        let withdrawn = before.lost_in(&after).into_iter().map(str::to_owned).collect();
        let rules = after.len();
        // First: whoever is judged by the new policy must find the cache ready for its editions, and whoever was judged by the old one finds
        // the withdrawn ones gone.
        let forgotten = self.credentials.keep_only(after.editions());
        self.verdicts.keep_only(after.editions());
        self.policy.replace(after);
        Replaced {
            rules,
            withdrawn,
            forgotten,
        }
    }
}

impl<A: Attestor, S: AssumeRole> Service<A, S> {
    /// Asks STS ahead for a container that has just started, if policy gives it a role and nobody is kept waiting by that. Says whether STS
    /// is asked.
    pub fn prefetch(&self, facts: &Facts) -> bool {
        // It asks for nothing, also where nothing is enforced and everybody gets something.
        if self.canary.is(&facts.run.container_id) {
            return false;
        }
        let (_, Decision::Grant(grant)) = self.policy.decide(facts) else {
            return false;
        };
        // Whom GitLab has to confirm, STS is not asked for before that.
        let asks = grant.verify.is_none()
            && grant.until.is_none_or(|until| self.clock.now() <= until)
            && self.credentials.prefetch(&Arc::new(Key::new(&grant)));
        if asks {
            self.record_prefetch(facts, &grant);
        }
        asks
    }
}

/// Prepares for containers as they start, until it is told to stop.
pub async fn prepare<A: Attestor, S: AssumeRole>(
    service: Arc<Service<A, S>>,
    mut arrivals: mpsc::Receiver<Arc<Facts>>,
    stop: CancellationToken,
) {
    loop {
        let facts = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            facts = arrivals.recv() => facts,
        };
        let Some(facts) = facts else { return };
        service.prefetch(&facts);
    }
}

/// Serves every listener until it is told to stop; then lets connections end, for a little while. Each listener shows in the pulse that it goes
/// on, whether anybody comes or not.
pub async fn run<A: Attestor, S: AssumeRole, L: Accept>(
    service: Arc<Service<A, S>>,
    listeners: Vec<L>,
    pulse: &Pulse,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let addresses = Counts::new(CONNECTIONS_OF_ONE);
    let mut accepting = Vec::new();
    for listener in listeners {
        let loop_ = accept(
            Arc::clone(&service),
            listener,
            pulse.join("listener", STUCK_AFTER),
            stop.clone(),
            connections.clone(),
            Arc::clone(&room),
            addresses.clone(),
        );
        accepting.push(tokio::spawn(loop_));
    }
    for task in accepting {
        if let Err(error) = task.await {
            tracing::error!(%error, "a listener failed");
        }
    }
    connections.close();
    if timeout(FAREWELL, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections are cut");
    }
}

async fn accept<A: Attestor, S: AssumeRole, L: Accept>(
    service: Arc<Service<A, S>>,
    mut listener: L,
    beat: Beat,
    stop: CancellationToken,
    connections: TaskTracker,
    room: Arc<Semaphore>,
    addresses: Counts<IpAddr>,
) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // Before the next caller, so that a crowd does not look like a standstill.
            _ = beats.tick() => {
                beat.go_on();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (wire, connection) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(RESPITE).await;
                continue;
            }
        };
        let place = Arc::clone(&room)
            .try_acquire_owned()
            .ok()
            .zip(addresses.take(connection.client.ip()));
        let Some(place) = place else {
            service.metrics.refuse_connection();
            wire.arm_reset();
            continue;
        };
        let (service, stop) = (Arc::clone(&service), stop.clone());
        connections.spawn(async move {
            service.metrics.open_connection();
            let metrics = Arc::clone(&service.metrics);
            connection::serve(service, wire, connection, stop).await;
            metrics.close_connection();
            drop(place);
        });
    }
}
