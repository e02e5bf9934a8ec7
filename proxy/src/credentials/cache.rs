//! One set of credentials per key, asked for once however many wait (single flight), refreshed ahead, never served past its end.
//!
//! A flight is a task of its own: whoever started it may go away without harm to those who wait. Knows no HTTP and no container.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;

use super::restraint::{Rates, Restraint, Turn, pause};
use super::{AssumeRole, CacheEvent, Failure, Issued, Key, Observe};
use crate::flight::{self, NoEnd};
use crate::policy::{Edition, Kept};
use crate::spans;

/// Calls of STS at once; the rest wait their turn.
const CALLS_MAX: usize = 16;
/// Of those, calls ahead of any request, of which nobody may notice anything.
const AHEAD_MAX: usize = 4;
/// Keys remembered, and how many of them at most for calls ahead.
const KEYS_MAX: usize = 4096;
const KEYS_AHEAD_MAX: usize = KEYS_MAX / 2;
/// How long a caller waits. SDKs give up earlier, and the flight goes on for their next try.
const WAIT: Duration = Duration::from_millis(2500);
/// A flight that takes longer is given up, whatever the client of STS does. Its own limit is 5 s.
const FLIGHT: Duration = Duration::from_secs(8);
/// SDKs ask again inside their last 15 minutes: with less left, a caller waits for new credentials.
const LATE: Duration = Duration::from_secs(15 * 60);
/// Refresh begins that long before `LATE`, and up to as much again earlier, so that many keys do not meet.
const AHEAD: Duration = Duration::from_secs(5 * 60);

type Outcome = Result<Arc<Issued>, Failure>;
type Flight = flight::Flight<Outcome>;

/// The cache. Cloning shares it.
#[derive(Debug)]
pub struct Cache<S>(Arc<Shared<S>>);

impl<S> Clone for Cache<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<S> {
    sts: S,
    clock: SharedTimeSource,
    observer: Arc<dyn Observe>,
    slots: Mutex<Slots>,
    calls: Semaphore,
    /// Those that are ahead of any request.
    ahead: Arc<Semaphore>,
    restraint: Mutex<Restraint>,
    seed: u64,
}

impl<S> std::fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<Arc<Key>, Slot>,
    /// Editions of rules that credentials are kept and asked for.
    kept: Kept,
}

struct Slot {
    issued: Option<Arc<Issued>>,
    failed: Option<(Failure, Instant)>,
    flight: Option<Flight>,
    used: Instant,
}

impl Slot {
    const fn new(used: Instant) -> Self {
        Self {
            issued: None,
            failed: None,
            flight: None,
            used,
        }
    }

    /// Drops what has expired.
    fn tidy(&mut self, now: SystemTime, instant: Instant) {
        self.issued = self.issued.take().filter(|issued| issued.expires() > now);
        self.failed = self.failed.filter(|(_, until)| *until > instant);
    }
}

/// What a slot is good for.
enum Weight {
    /// These; and new ones should be asked for, if it `is_due`.
    Serve { issued: Arc<Issued>, is_due: bool },
    /// A failure that is remembered.
    Refuse(Failure),
    /// Nothing: STS has to be asked.
    Ask,
}

enum Look {
    Serve(Arc<Issued>),
    Refuse(Failure),
    Wait { flight: Flight, old: Option<Arc<Issued>> },
}

impl<S: AssumeRole> Cache<S> {
    /// An empty cache. The seed spreads the times of refresh.
    #[must_use]
    pub fn new(sts: S, clock: SharedTimeSource, seed: u64, rates: Rates, observer: Arc<dyn Observe>) -> Self {
        let calls = Semaphore::new(CALLS_MAX);
        Self(Arc::new(Shared {
            sts,
            clock,
            observer,
            slots: Mutex::default(),
            calls,
            ahead: Arc::new(Semaphore::new(AHEAD_MAX)),
            restraint: Mutex::new(Restraint::new(rates)),
            seed,
        }))
    }

    /// Gives credentials that are valid now.
    ///
    /// # Errors
    /// When there are none and STS gives none in time.
    pub async fn get(&self, key: &Arc<Key>) -> Outcome {
        let (flight, old) = match self.look(key) {
            Look::Serve(issued) => {
                self.0.observer.observe(CacheEvent::Hit);
                return Ok(issued);
            }
            Look::Refuse(failure) => return Err(failure),
            Look::Wait { flight, old } => (flight, old),
        };
        let outcome = match flight.end(WAIT).await {
            Ok(outcome) => outcome,
            Err(NoEnd::Gone) => Err(Failure::Broken),
            Err(NoEnd::Late) => Err(Failure::TimedOut),
        };
        let now = self.0.clock.now();
        match (outcome, old) {
            // The answer may have waited long for its reader.
            (Ok(issued), _) if issued.expires() > now => {
                self.0.observer.observe(CacheEvent::Miss);
                Ok(issued)
            }
            (Ok(_), _) => Err(Failure::WrongAnswer),
            (Err(failure), Some(old)) if !failure.is_denial() && old.expires() > now => {
                self.0.observer.observe(CacheEvent::Old);
                Ok(old)
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// What can be given without waiting; None if STS has to be asked first. It never causes a call of STS for a caller who waits.
    #[must_use]
    pub fn ready(&self, key: &Arc<Key>) -> Option<Outcome> {
        let now = self.0.clock.now();
        let instant = Instant::now();
        let mut slots = self.slots();
        let slot = slots.by_key.get_mut(key)?;
        slot.tidy(now, instant);
        match self.weigh(key, slot, now) {
            Weight::Serve { issued, is_due } => {
                slot.used = instant;
                if is_due && slot.flight.is_none() {
                    slot.flight = Some(self.ask(key));
                }
                self.0.observer.observe(CacheEvent::Hit);
                Some(Ok(issued))
            }
            Weight::Refuse(failure) => Some(Err(failure)),
            Weight::Ask => None,
        }
    }

    /// Asks for credentials that nobody has asked for yet, as long as nobody else could notice: with rates half unused and STS well. Says
    /// whether STS is asked.
    pub fn prefetch(&self, key: &Arc<Key>) -> bool {
        let mut slots = self.slots();
        if !slots.kept.has(key.edition) || slots.by_key.contains_key(key) || slots.by_key.len() >= KEYS_AHEAD_MAX {
            return false;
        }
        let Ok(place) = Arc::clone(&self.0.ahead).try_acquire_owned() else {
            return false;
        };
        let leave = self.restraint().admit_spare(&key.role, Instant::now().into_std());
        if leave.is_err() {
            return false;
        }
        let slot = Slot {
            flight: Some(self.launch(key, leave, Some(place))),
            ..Slot::new(Instant::now())
        };
        slots.by_key.insert(Arc::clone(key), slot);
        true
    }

    /// Whether STS as a whole keeps failing, so that it is only tried from time to time.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.restraint().is_suspended()
    }

    /// Forgets what rules have given that are not of these editions, and does not ask STS for them again. What is being asked is not kept.
    /// Says how many sets of credentials are gone.
    pub fn keep_only(&self, editions: impl Iterator<Item = Edition>) -> usize {
        let mut slots = self.slots();
        let Slots { by_key, kept } = &mut *slots;
        let before = by_key.len();
        kept.replace(editions);
        by_key.retain(|key, _| kept.has(key.edition));
        before.saturating_sub(by_key.len())
    }

    /// Forgets the credentials of these keys; what is being asked for them is not kept either. Says how many sets are gone.
    pub fn forget(&self, is_meant: impl Fn(&Key) -> bool) -> usize {
        let mut slots = self.slots();
        let before = slots.by_key.len();
        slots.by_key.retain(|key, _| !is_meant(key));
        before.saturating_sub(slots.by_key.len())
    }

    fn weigh(&self, key: &Key, slot: &Slot, now: SystemTime) -> Weight {
        let age = slot
            .issued
            .as_ref()
            .map_or(Age::Late, |issued| self.age(key, issued, now));
        match (age, &slot.issued, slot.failed) {
            (Age::Fresh, Some(issued), _) | (Age::Ahead | Age::Late, Some(issued), Some(_)) => Weight::Serve {
                issued: Arc::clone(issued),
                is_due: false,
            },
            (Age::Ahead, Some(issued), None) => Weight::Serve {
                issued: Arc::clone(issued),
                is_due: true,
            },
            (_, None, Some((failure, _))) => Weight::Refuse(failure),
            (Age::Late, _, None) | (_, None, None) => Weight::Ask,
        }
    }

    fn look(&self, key: &Arc<Key>) -> Look {
        let now = self.0.clock.now();
        let instant = Instant::now();
        let mut slots = self.slots();
        if !slots.kept.has(key.edition) {
            return Look::Refuse(Failure::Withdrawn);
        }
        let slots = &mut slots.by_key;
        if !slots.contains_key(key) {
            if slots.len() >= KEYS_MAX && !make_room(slots, now, instant) {
                return Look::Refuse(Failure::Full);
            }
            slots.insert(Arc::clone(key), Slot::new(instant));
        }
        let Some(slot) = slots.get_mut(key) else {
            return Look::Refuse(Failure::Full);
        };
        slot.used = instant;
        slot.tidy(now, instant);
        match self.weigh(key, slot, now) {
            Weight::Serve { issued, is_due } => {
                if is_due && slot.flight.is_none() {
                    slot.flight = Some(self.ask(key));
                }
                Look::Serve(issued)
            }
            Weight::Refuse(failure) => Look::Refuse(failure),
            Weight::Ask => {
                let flight = slot.flight.get_or_insert_with(|| self.ask(key)).clone();
                Look::Wait {
                    flight,
                    old: slot.issued.clone(),
                }
            }
        }
    }

    fn age(&self, key: &Key, issued: &Issued, now: SystemTime) -> Age {
        let left = since(issued.expires(), now);
        let lifetime = since(issued.expires(), issued.issued());
        // Short sessions cannot keep 15 minutes: there a quarter of the lifetime is late, and half is time to refresh.
        let late = LATE.min(lifetime / 4);
        let ahead = (LATE + AHEAD + AHEAD.mul_f64(self.jitter(key, issued))).min(lifetime / 2);
        if left <= late {
            Age::Late
        } else if left <= ahead {
            Age::Ahead
        } else {
            Age::Fresh
        }
    }

    /// A number from 0 to 1 that stays the same for one set of credentials.
    fn jitter(&self, key: &Key, issued: &Issued) -> f64 {
        self.chance(&(key, issued.expires()))
    }

    /// A number from 0 to 1 that a stranger cannot tell, the same for the same thing.
    fn chance(&self, of: &impl Hash) -> f64 {
        let mut hasher = DefaultHasher::new();
        self.0.seed.hash(&mut hasher);
        of.hash(&mut hasher);
        f64::from(u16::try_from(hasher.finish() >> 48).unwrap_or_default()) / f64::from(u16::MAX)
    }

    /// Asks STS for a key that somebody wants, if it may be asked.
    fn ask(&self, key: &Arc<Key>) -> Flight {
        let leave = self.restraint().admit(&key.role, Instant::now().into_std());
        self.launch(key, leave, None)
    }

    /// Starts the one call of STS for a key, as leave says. A place among the calls ahead is kept until it ends.
    fn launch(&self, key: &Arc<Key>, leave: Result<Duration, Failure>, place: Option<OwnedSemaphorePermit>) -> Flight {
        let (cache, key) = (self.clone(), Arc::clone(key));
        let span = spans::assume_role(&key);
        let flight = async move {
            // Whatever happens to the call, even a panic, the slot must not stay in flight.
            let landing = Landing {
                cache: cache.clone(),
                key: Arc::clone(&key),
            };
            let outcome = match leave {
                Ok(wait) => cache.fly(&key, wait).await,
                Err(failure) => {
                    cache.0.observer.observe(CacheEvent::Withheld(failure));
                    Err(failure)
                }
            };
            if let Err(failure) = &outcome {
                spans::tell_failure(*failure);
            }
            cache.land(&key, &outcome);
            drop((landing, place));
            outcome
        };
        Flight::launch(flight.instrument(span))
    }

    async fn fly(&self, key: &Key, wait: Duration) -> Outcome {
        let flight = async {
            sleep(wait).await;
            self.call(key).await
        };
        let outcome = timeout(FLIGHT, flight).await.unwrap_or(Err(Failure::TimedOut));
        let end = outcome.as_ref().map(|_| ()).map_err(|failure| *failure);
        self.0.observer.observe(CacheEvent::Call(end));
        if let Ok(issued) = &outcome {
            self.0.observer.witness(key, issued);
        }
        let now = Instant::now().into_std();
        let turns = self.restraint().learn(&key.role, end, now, self.chance(&(key, now)));
        for turn in turns {
            match turn {
                Turn::Suspended(scope) => {
                    tracing::error!(
                        scope = scope.as_str(),
                        role = key.role.arn(),
                        "STS keeps failing; it is only tried from now on"
                    );
                }
                Turn::Resumed(scope) => {
                    tracing::info!(scope = scope.as_str(), role = key.role.arn(), "STS answers again");
                }
            }
            self.0.observer.observe(CacheEvent::Turn(turn));
        }
        outcome
    }

    async fn call(&self, key: &Key) -> Outcome {
        let _permit = self.0.calls.acquire().await.map_err(|_closed| Failure::Broken)?;
        let assumed = self.0.sts.assume_role(key).await?;
        Issued::check(key, &assumed, self.0.clock.now()).map(Arc::new)
    }

    fn land(&self, key: &Arc<Key>, outcome: &Outcome) {
        let mut slots = self.slots();
        // Gone, if its rule was withdrawn meanwhile.
        let Some(slot) = slots.by_key.get_mut(key) else { return };
        slot.flight = None;
        match outcome {
            Ok(issued) => {
                slot.issued = Some(Arc::clone(issued));
                slot.failed = None;
            }
            Err(failure) => {
                let now = Instant::now();
                let chance = self.chance(&(key, now.into_std()));
                slot.failed = Some((*failure, now + pause(*failure, chance)));
                if failure.is_denial() {
                    // The role is gone or closed: what it gave before is not handed out any more.
                    slot.issued = None;
                }
            }
        }
    }

    fn restraint(&self) -> MutexGuard<'_, Restraint> {
        self.0.restraint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the flight of a key whose call did not.
struct Landing<S: AssumeRole> {
    cache: Cache<S>,
    key: Arc<Key>,
}

impl<S: AssumeRole> Drop for Landing<S> {
    fn drop(&mut self) {
        if let Some(slot) = self.cache.slots().by_key.get_mut(&self.key) {
            slot.flight = None;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Ahead,
    Late,
}

fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

/// Forgets what has expired, else what was used longest ago. Flights are never forgotten.
fn make_room(slots: &mut HashMap<Arc<Key>, Slot>, now: SystemTime, instant: Instant) -> bool {
    slots.retain(|_, slot| {
        slot.flight.is_some()
            || slot.issued.as_ref().is_some_and(|issued| issued.expires() > now)
            || slot.failed.is_some_and(|(_, until)| until > instant)
    });
    if slots.len() < KEYS_MAX {
        return true;
    }
    let idle = slots.iter().filter(|(_, slot)| slot.flight.is_none());
    let Some(oldest) = idle.min_by_key(|(_, slot)| slot.used).map(|(key, _)| Arc::clone(key)) else {
        return false;
    };
    slots.remove(&oldest).is_some()
}
