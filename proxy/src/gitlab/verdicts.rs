//! What GitLab said of each container, for as long as that counts. However many requests wait, one question about a container is under way; what
//! comes of it is remembered, a no as well, so that no job can have GitLab asked at its own pace. Nothing that has lapsed is given out.
//!
//! A question is a task of its own: whoever started it may go away without harm to those who wait. Knows no HTTP.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::{Ask, Count, Question, Unverified};
use crate::bucket::Bucket;
use crate::caller::Run;
use crate::config::{Gitlab, Host};
use crate::flight::{self, NoEnd};
use crate::policy::{Edition, Kept};

/// Questions at once; the rest wait their turn.
const CALLS_MAX: usize = 16;
/// Containers remembered. A host runs hundreds, and each of a job's stages is one.
const RUNS_MAX: usize = 4096;
/// How long a caller waits. SDKs give up earlier, and the question goes on for their next try.
const WAIT: Duration = Duration::from_millis(2500);
/// A question that could only be put later than that is not put: nobody waits for it that long.
const QUEUE: Duration = Duration::from_secs(1);
/// How long a no is remembered. It will hardly become a yes: jobs do not start twice, and change neither token nor ref.
const REFUSED: Duration = Duration::from_secs(15);
/// How long it is remembered that there was no answer.
const TROUBLE: Duration = Duration::from_secs(2);
/// After GitLab asked to come less often.
const THROTTLED: Duration = Duration::from_secs(10);

/// Whether GitLab confirms a job.
pub type Verdict = Result<(), Unverified>;
type Flight = flight::Flight<Verdict>;

/// The verdicts. Cloning shares them.
#[derive(Clone)]
pub struct Verdicts(Arc<Shared>);

impl std::fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verdicts").finish_non_exhaustive()
    }
}

struct Shared {
    terms: BTreeMap<Host, Terms>,
    asker: Box<dyn Ask>,
    counter: Arc<dyn Count>,
    slots: Mutex<Slots>,
    calls: Semaphore,
}

/// What the operator states for a server.
struct Terms {
    timeout: Duration,
    verdict: Duration,
}

#[derive(Default)]
struct Slots {
    by_run: HashMap<Run, Slot>,
    /// Editions of rules whose verdicts are kept.
    kept: Kept,
    rates: BTreeMap<Host, Bucket>,
}

/// A container is asked about for one rule: the one that it matches now.
struct Slot {
    edition: Edition,
    verdict: Option<(Verdict, Instant)>,
    flight: Option<Flight>,
    used: Instant,
}

impl Verdicts {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(servers: &[Gitlab], asker: impl Ask, counter: Arc<dyn Count>) -> Self {
        let terms = |server: &Gitlab| Terms {
            timeout: server.timeout,
            verdict: server.verdict,
        };
        let rates = servers
            .iter()
            .map(|server| (server.host.clone(), Bucket::new(server.calls_per_second)));
        Self(Arc::new(Shared {
            terms: servers
                .iter()
                .map(|server| (server.host.clone(), terms(server)))
                .collect(),
            asker: Box::new(asker),
            counter,
            slots: Mutex::new(Slots {
                rates: rates.collect(),
                ..Slots::default()
            }),
            calls: Semaphore::new(CALLS_MAX),
        }))
    }

    /// The verdict that counts at this moment, if there is one.
    #[must_use]
    pub fn known(&self, run: &Run, edition: Edition) -> Option<Verdict> {
        let now = Instant::now();
        let mut slots = self.slots();
        let slot = slots.by_run.get_mut(run).filter(|slot| slot.edition == edition)?;
        slot.used = now;
        slot.verdict(now)
    }

    /// The verdict on a container, asked for unless it is known.
    ///
    /// # Errors
    /// GitLab does not confirm the job, or cannot be asked in time.
    pub async fn ask(&self, run: &Run, question: Question) -> Verdict {
        let flight = match self.look(run, question) {
            Look::Known(verdict) => return verdict,
            Look::Wait(flight) => flight,
        };
        match flight.end(WAIT).await {
            Ok(verdict) => verdict,
            Err(NoEnd::Gone) => Err(Unverified::Broken),
            Err(NoEnd::Late) => Err(Unverified::TimedOut),
        }
    }

    /// Forgets verdicts for rules that are not of these editions. What is being asked for them is not kept either.
    pub fn keep_only(&self, editions: impl Iterator<Item = Edition>) {
        let mut slots = self.slots();
        let Slots { by_run, kept, .. } = &mut *slots;
        kept.replace(editions);
        by_run.retain(|_, slot| kept.has(slot.edition));
    }

    fn look(&self, run: &Run, question: Question) -> Look {
        let now = Instant::now();
        let mut slots = self.slots();
        let slots = &mut *slots;
        if !slots.kept.has(question.edition) {
            return Look::Known(Err(Unverified::Withdrawn));
        }
        match slots
            .by_run
            .get_mut(run)
            .filter(|slot| slot.edition == question.edition)
        {
            Some(slot) => {
                slot.used = now;
                if let Some(verdict) = slot.verdict(now) {
                    return Look::Known(verdict);
                }
                if let Some(flight) = &slot.flight {
                    return Look::Wait(flight.clone());
                }
            }
            None => {
                if slots.by_run.len() >= RUNS_MAX && !make_room(&mut slots.by_run, now) {
                    self.0.counter.count(Err(Unverified::Full), None);
                    return Look::Known(Err(Unverified::Full));
                }
                slots.by_run.insert(run.clone(), Slot::new(question.edition, now));
            }
        }
        let Some(slot) = slots.by_run.get_mut(run) else {
            return Look::Known(Err(Unverified::Full));
        };
        let rate = slots.rates.get_mut(&question.job.gitlab);
        let wait = match rate.map(|rate| (rate.wait(now.into_std()), rate)) {
            Some((wait, rate)) if wait <= QUEUE => {
                rate.take(now.into_std());
                wait
            }
            Some(_) => {
                self.0.counter.count(Err(Unverified::Limited), None);
                slot.verdict = Some((Err(Unverified::Limited), now + TROUBLE));
                return Look::Known(Err(Unverified::Limited));
            }
            // A rule without its server is a fault of the configuration.
            None => return Look::Known(Err(Unverified::Unreachable)),
        };
        let flight = self.launch(run.clone(), question, wait);
        slot.flight = Some(flight.clone());
        Look::Wait(flight)
    }

    /// Starts the one question about a container.
    fn launch(&self, run: Run, question: Question, wait: Duration) -> Flight {
        let verdicts = self.clone();
        Flight::launch(async move {
            // Whatever happens to the question, even a panic, the slot must not stay in flight.
            let mut landing = Landing {
                verdicts: &verdicts,
                run: &run,
                edition: question.edition,
                verdict: (Err(Unverified::Broken), Instant::now() + TROUBLE),
            };
            landing.verdict = verdicts.put(&question, wait).await;
            landing.verdict.0
        })
    }

    /// Puts the question; what came of it, and until when that counts.
    async fn put(&self, question: &Question, wait: Duration) -> (Verdict, Instant) {
        sleep(wait).await;
        let host = &question.job.gitlab;
        let (Some(terms), Ok(_permit)) = (self.0.terms.get(host), self.0.calls.acquire().await) else {
            return (Err(Unverified::Unreachable), Instant::now() + TROUBLE);
        };
        let asked = Instant::now();
        let asking = timeout(terms.timeout, self.0.asker.ask(question));
        let verdict = asking.await.unwrap_or(Err(Unverified::TimedOut));
        let (job, took) = (question.job.job, asked.elapsed());
        self.0.counter.count(verdict, Some(took));
        let until = match verdict {
            // From when it was asked: what has happened since it does not say.
            Ok(()) => asked + terms.verdict,
            Err(why) if why.is_refusal() => Instant::now() + REFUSED,
            Err(Unverified::Throttled) => Instant::now() + THROTTLED,
            Err(_) => Instant::now() + TROUBLE,
        };
        match verdict {
            Ok(()) => {}
            Err(why) if why.is_refusal() => {
                tracing::info!(gitlab = %host, job, reason = why.as_str(), "GitLab does not confirm a job");
            }
            Err(why) => {
                tracing::warn!(gitlab = %host, job, reason = why.as_str(), "GitLab cannot be asked about a job: {why}");
            }
        }
        (verdict, until)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Look {
    Known(Verdict),
    Wait(Flight),
}

impl Slot {
    const fn new(edition: Edition, used: Instant) -> Self {
        Self {
            edition,
            verdict: None,
            flight: None,
            used,
        }
    }

    /// What counts now.
    fn verdict(&self, now: Instant) -> Option<Verdict> {
        self.verdict
            .filter(|(_, until)| *until > now)
            .map(|(verdict, _)| verdict)
    }
}

/// Ends the question about a container, and keeps what came of it.
struct Landing<'v> {
    verdicts: &'v Verdicts,
    run: &'v Run,
    edition: Edition,
    verdict: (Verdict, Instant),
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut slots = self.verdicts.slots();
        // Gone, if its rule was withdrawn meanwhile.
        let slot = slots
            .by_run
            .get_mut(self.run)
            .filter(|slot| slot.edition == self.edition);
        if let Some(slot) = slot {
            slot.flight = None;
            slot.verdict = Some(self.verdict);
        }
    }
}

/// Forgets what has lapsed, else what was used longest ago. Questions under way are never forgotten.
fn make_room(by_run: &mut HashMap<Run, Slot>, now: Instant) -> bool {
    by_run.retain(|_, slot| slot.flight.is_some() || slot.verdict(now).is_some());
    if by_run.len() < RUNS_MAX {
        return true;
    }
    let idle = by_run.iter().filter(|(_, slot)| slot.flight.is_none());
    let Some(oldest) = idle.min_by_key(|(_, slot)| slot.used).map(|(run, _)| run.clone()) else {
        return false;
    };
    by_run.remove(&oldest).is_some()
}

#[cfg(test)]
mod tests;
