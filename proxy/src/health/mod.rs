//! Whether the proxy can do its work now. The parts publish what they know as values; `verdict` judges them. Knows no container.

mod pulse;
mod verdict;

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use pulse::{Beat, Pulse};
pub use verdict::{Check, Phase, Rules, Seen, SelfTest, Sts, VERIFIED_FOR, Verdict, judge};

use crate::credentials::{CacheEvent, Failure, Observe};

/// What the parts of a running proxy have published.
pub struct Health {
    /// Whether the engine is followed at this moment; unset until there is one to follow.
    engine: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
    pulse: Pulse,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    phase: Phase,
    /// Whether the rules are ours to look after.
    is_managed: bool,
    /// Whether what the rules refuse is not refused.
    is_observing: bool,
    /// When the rules were last compared with the plan, and whether they were in place.
    verified: Option<(Instant, bool)>,
    self_test: Proven,
    /// How often the self-test is made again.
    proven_every: Option<Duration>,
    /// Calls in a row that found no STS.
    failures: u32,
    last_failure: Option<(Instant, Failure)>,
}

/// What was told of the self-test.
#[derive(Debug)]
enum Proven {
    Pending,
    Passed(Instant),
    Failed(Instant, String),
    Skipped,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

impl Health {
    /// Of a proxy that starts: nothing is known yet. `is_managed`: the firewall is this proxy's to look after; `is_observing`: what the rules
    /// refuse is not refused.
    #[must_use]
    pub fn new(is_managed: bool, is_observing: bool) -> Self {
        Self {
            engine: OnceLock::new(),
            pulse: Pulse::default(),
            told: Mutex::new(Told {
                phase: Phase::Starting,
                is_managed,
                is_observing,
                verified: None,
                self_test: Proven::Pending,
                proven_every: None,
                failures: 0,
                last_failure: None,
            }),
        }
    }

    /// Takes what tells whether the engine is followed. The first one stays.
    pub fn follow_engine(&self, is_followed: impl Fn() -> bool + Send + Sync + 'static) {
        drop(self.engine.set(Box::new(is_followed)));
    }

    /// The rules were compared with the plan just now.
    pub fn tell_verified(&self, is_in_place: bool) {
        self.told().verified = Some((Instant::now(), is_in_place));
    }

    /// The self-test is left out.
    pub fn tell_unproven(&self) {
        self.told().self_test = Proven::Skipped;
    }

    /// The self-test was made just now; why it failed, if it did.
    pub fn tell_proof(&self, proof: Result<(), String>) {
        let now = Instant::now();
        self.told().self_test = match proof {
            Ok(()) => Proven::Passed(now),
            Err(why) => Proven::Failed(now, why),
        };
    }

    /// The self-test is made again and again from now on.
    pub fn expect_proofs(&self, every: Duration) {
        self.told().proven_every = Some(every);
    }

    /// What the proxy does now.
    pub fn tell_phase(&self, phase: Phase) {
        self.told().phase = phase;
    }

    /// Where the parts say that they go on.
    #[must_use]
    pub const fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Judges what is known at this moment.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let is_engine_followed = self.engine.get().map(|is_followed| is_followed());
        let told = self.told();
        let firewall = match (told.is_managed, told.verified) {
            (false, _) => Rules::Unmanaged,
            (true, None) => Rules::Unknown,
            (true, Some((at, is_in_place))) => Rules::Verified {
                ago: at.elapsed(),
                is_in_place,
            },
        };
        judge(&Seen {
            phase: told.phase,
            is_engine_followed,
            firewall,
            self_test: match &told.self_test {
                Proven::Pending => SelfTest::Pending,
                Proven::Skipped => SelfTest::Skipped,
                Proven::Passed(at) => SelfTest::Passed {
                    ago: at.elapsed(),
                    every: told.proven_every,
                },
                Proven::Failed(at, why) => SelfTest::Failed {
                    ago: at.elapsed(),
                    why: why.clone(),
                },
            },
            is_observing: told.is_observing,
            sts: Sts {
                failures: told.failures,
                last: told.last_failure.map(|(at, failure)| (failure, at.elapsed())),
            },
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observe for Health {
    fn observe(&self, event: CacheEvent) {
        let CacheEvent::Call(result) = event else { return };
        let mut told = self.told();
        match result {
            // Also a denial is an answer, to a request that was signed well.
            Ok(()) | Err(Failure::Denied | Failure::TagsDenied | Failure::SourceIdentityDenied) => {
                told.failures = 0;
                told.last_failure = None;
            }
            Err(failure @ (Failure::Unreachable | Failure::TimedOut | Failure::Broken)) => {
                told.failures = told.failures.saturating_add(1);
                told.last_failure = Some((Instant::now(), failure));
            }
            // Of one role or of a busy moment: it says nothing of STS as a whole.
            Err(
                Failure::Throttled
                | Failure::Rejected
                | Failure::WrongAnswer
                | Failure::Full
                | Failure::Withdrawn
                | Failure::Limited
                | Failure::Suspended,
            ) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn healthy() -> (Health, Arc<AtomicBool>) {
        let (health, engine) = (Health::new(true, false), Arc::new(AtomicBool::new(true)));
        let seen = Arc::clone(&engine);
        health.follow_engine(move || seen.load(Ordering::SeqCst));
        health.tell_verified(true);
        health.tell_proof(Ok(()));
        health.tell_phase(Phase::Serving);
        (health, engine)
    }

    fn failing(health: &Health) -> Vec<&'static str> {
        let verdict = health.verdict();
        let failing: Vec<_> = verdict
            .checks
            .iter()
            .filter(|check| !check.is_good)
            .map(|check| check.name)
            .collect();
        assert_eq!(verdict.is_ready(), failing.is_empty());
        failing
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_starts_is_not_ready_until_every_part_has_said_so() {
        let health = Health::new(true, false);
        assert_eq!(failing(&health), ["serving", "engine", "firewall", "self-test"]);
        let (health, engine) = healthy();
        assert_eq!(failing(&health), Vec::<&str>::new());
        engine.store(false, Ordering::SeqCst);
        assert_eq!(failing(&health), ["engine"]);
        engine.store(true, Ordering::SeqCst);
        health.tell_verified(false);
        assert_eq!(failing(&health), ["firewall"]);
        health.tell_verified(true);
        health.tell_phase(Phase::Stopping);
        assert_eq!(failing(&health), ["serving"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_self_test_that_fails_while_the_proxy_serves_is_told_until_one_passes() {
        let (health, _engine) = healthy();
        health.tell_proof(Err("the redirect is missing".to_owned()));
        assert_eq!(failing(&health), ["self-test"]);
        health.tell_proof(Ok(()));
        assert_eq!(failing(&health), Vec::<&str>::new());
        // One that is made only at the start does not grow old, and one that is to be repeated does.
        tokio::time::advance(Duration::from_hours(2)).await;
        health.tell_verified(true);
        assert_eq!(failing(&health), Vec::<&str>::new());
        health.expect_proofs(Duration::from_hours(1));
        assert_eq!(failing(&health), ["self-test"]);
    }

    #[tokio::test(start_paused = true)]
    async fn rules_that_nobody_looked_at_lately_are_not_known_to_be_there() {
        let (health, _engine) = healthy();
        tokio::time::advance(VERIFIED_FOR).await;
        assert_eq!(failing(&health), Vec::<&str>::new());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(failing(&health), ["firewall"]);
    }

    #[tokio::test(start_paused = true)]
    async fn sts_is_broken_after_three_calls_in_a_row_that_found_none() {
        let (health, _engine) = healthy();
        let call = |result| health.observe(CacheEvent::Call(result));
        call(Err(Failure::TimedOut));
        call(Err(Failure::Unreachable));
        assert_eq!(failing(&health), Vec::<&str>::new());
        // What is wrong with one role neither counts nor makes up for it.
        call(Err(Failure::Rejected));
        call(Err(Failure::Throttled));
        assert_eq!(failing(&health), Vec::<&str>::new());
        call(Err(Failure::Broken));
        assert_eq!(failing(&health), ["sts"]);
        call(Err(Failure::Denied));
        assert_eq!(failing(&health), Vec::<&str>::new());
        for _ in 0..3 {
            call(Err(Failure::TimedOut));
        }
        assert_eq!(failing(&health), ["sts"]);
        // Nobody has asked since: it is not known any more.
        tokio::time::advance(Duration::from_secs(301)).await;
        health.tell_verified(true);
        assert_eq!(failing(&health), Vec::<&str>::new());
    }
}
