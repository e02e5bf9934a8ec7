//! How often STS is asked: a rate for each role and for all of them together, and a breaker for each, which stops asking an STS that only
//! fails and tries it with one call at a time. Pure: the time and chance come in as values.
//!
//! What a job does reaches only its own role's rate: whether STS is in trouble is judged by failures that no request can cause.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Failure;
use crate::bucket::Bucket;
use crate::config::Role;

/// A call that could only be made later than that is refused: nobody waits for it that long.
const QUEUE: Duration = Duration::from_secs(2);
/// Failures in a row after which a role is not asked for, and after which STS is not asked at all. The second is the higher, so that a few
/// roles in trouble do not take the others with them.
const ROLE_FAILURES: u32 = 4;
const OVERALL_FAILURES: u32 = 16;
/// Before the first try of STS, doubled after each that fails, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A try whose end nobody told is over by then.
const TRY: Duration = Duration::from_secs(10);
/// Roles of which something is remembered. Beyond that, those are forgotten of which there is nothing to remember.
const ROLES_MAX: usize = 1024;

/// How often STS may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Calls a second, of all roles together.
    pub overall: u32,
    /// Calls a second for one role.
    pub role: u32,
}

/// What a breaker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every role.
    Overall,
    /// One role.
    Role,
}

impl Scope {
    /// A short fixed word for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overall => "overall",
            Self::Role => "role",
        }
    }
}

/// A change that an operator should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// From now on STS is only tried.
    Suspended(Scope),
    /// STS is asked again as before.
    Resumed(Scope),
}

/// What is known of STS, and how much of the rates is used up.
#[derive(Debug)]
pub(super) struct Restraint {
    rates: Rates,
    overall: Gate,
    roles: HashMap<Role, Gate>,
}

impl Restraint {
    pub(super) fn new(rates: Rates) -> Self {
        Self {
            rates,
            overall: Gate::new(rates.overall, OVERALL_FAILURES),
            roles: HashMap::new(),
        }
    }

    /// Asks for leave to call STS for a role: when, from now, the call may be made. Leave counts as a call.
    pub(super) fn admit(&mut self, role: &Role, now: Instant) -> Result<Duration, Failure> {
        self.make_room(role, now);
        let fresh = Gate::new(self.rates.role, ROLE_FAILURES);
        let one = self.roles.entry(role.clone()).or_insert(fresh);
        if !self.overall.breaker.is_passable(now) || !one.breaker.is_passable(now) {
            return Err(Failure::Suspended);
        }
        let wait = self.overall.bucket.wait(now).max(one.bucket.wait(now));
        if wait > QUEUE {
            return Err(Failure::Limited);
        }
        for gate in [&mut self.overall, one] {
            gate.bucket.take(now);
            gate.breaker.pass(now);
        }
        Ok(wait)
    }

    /// The same for a call that nobody waits for: only while all is well and half of each rate is unused.
    pub(super) fn admit_spare(&mut self, role: &Role, now: Instant) -> Result<Duration, Failure> {
        for gate in [Some(&self.overall), self.roles.get(role)].into_iter().flatten() {
            if !gate.breaker.is_closed() {
                return Err(Failure::Suspended);
            }
            if !gate.bucket.is_half_full(now) {
                return Err(Failure::Limited);
            }
        }
        self.admit(role, now)
    }

    /// Learns how a call ended for which there was leave. `chance` is a number from 0 to 1.
    pub(super) fn learn(&mut self, role: &Role, end: Result<(), Failure>, now: Instant, chance: f64) -> Vec<Turn> {
        let one = self.roles.get_mut(role).map(|gate| (Scope::Role, gate));
        let gates = one.into_iter().chain([(Scope::Overall, &mut self.overall)]);
        gates
            .filter_map(|(scope, gate)| {
                if is_trouble(end) {
                    gate.breaker.fail(now, chance).then_some(Turn::Suspended(scope))
                } else {
                    gate.breaker.succeed().then_some(Turn::Resumed(scope))
                }
            })
            .collect()
    }

    /// Whether STS as a whole is only tried.
    pub(super) const fn is_suspended(&self) -> bool {
        !self.overall.breaker.is_closed()
    }

    fn make_room(&mut self, role: &Role, now: Instant) {
        if self.roles.len() >= ROLES_MAX && !self.roles.contains_key(role) {
            self.roles.retain(|_, gate| !gate.is_idle(now));
            // Roles come from rules alone, so that this many are in use only after reloads upon reloads.
            if self.roles.len() >= ROLES_MAX {
                self.roles.clear();
            }
        }
    }
}

/// Whether STS was in trouble, rather than the request. Denials and rejections are answers, which a job's own circumstances may bring about.
const fn is_trouble(end: Result<(), Failure>) -> bool {
    match end {
        Ok(()) => false,
        Err(failure) => match failure {
            Failure::Throttled | Failure::Unreachable | Failure::TimedOut | Failure::Broken => true,
            Failure::Denied
            | Failure::TagsDenied
            | Failure::SourceIdentityDenied
            | Failure::Rejected
            | Failure::WrongAnswer
            | Failure::Full
            | Failure::Withdrawn
            | Failure::Limited
            | Failure::Suspended => false,
        },
    }
}

/// How long a failure is remembered for its key. `chance` is a number from 0 to 1, so that keys that failed together do not come again
/// together.
pub(super) fn pause(failure: Failure, chance: f64) -> Duration {
    let (least, spread) = match failure {
        // The answer will be the same until somebody changes a policy.
        Failure::Denied
        | Failure::TagsDenied
        | Failure::SourceIdentityDenied
        | Failure::Rejected
        | Failure::WrongAnswer => (5000, 0),
        // STS asks to come less often.
        Failure::Throttled => (4000, 4000),
        Failure::Unreachable
        | Failure::TimedOut
        | Failure::Broken
        | Failure::Limited
        | Failure::Suspended
        | Failure::Full
        | Failure::Withdrawn => (1000, 500),
    };
    Duration::from_millis(least) + Duration::from_millis(spread).mul_f64(chance.clamp(0.0, 1.0))
}

#[derive(Debug)]
struct Gate {
    bucket: Bucket,
    breaker: Breaker,
}

impl Gate {
    const fn new(per_second: u32, failures: u32) -> Self {
        Self {
            bucket: Bucket::new(per_second),
            breaker: Breaker::Closed {
                failures: 0,
                most: failures,
            },
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.bucket.debt(now).is_zero() && matches!(self.breaker, Breaker::Closed { failures: 0, .. })
    }
}

#[derive(Debug)]
enum Breaker {
    /// Calls are made.
    Closed { failures: u32, most: u32 },
    /// None is made until then.
    Open { until: Instant, pause: Duration, most: u32 },
    /// One was made, and its end is awaited until then.
    Trying { until: Instant, pause: Duration, most: u32 },
}

impl Breaker {
    const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    fn is_passable(&self, now: Instant) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { until, .. } | Self::Trying { until, .. } => *until <= now,
        }
    }

    /// A call is made, as it may.
    fn pass(&mut self, now: Instant) {
        match *self {
            Self::Closed { .. } => {}
            Self::Open { pause, most, .. } | Self::Trying { pause, most, .. } => {
                *self = Self::Trying {
                    until: now + TRY,
                    pause,
                    most,
                };
            }
        }
    }

    /// Says whether that changes anything.
    fn succeed(&mut self) -> bool {
        let was_closed = self.is_closed();
        let (Self::Closed { most, .. } | Self::Open { most, .. } | Self::Trying { most, .. }) = *self;
        *self = Self::Closed { failures: 0, most };
        !was_closed
    }

    /// Says whether that opens it.
    fn fail(&mut self, now: Instant, chance: f64) -> bool {
        let open = |pause: Duration, most| Self::Open {
            until: now + pause.mul_f64(1.0 + chance.clamp(0.0, 1.0) / 2.0),
            pause,
            most,
        };
        match *self {
            Self::Closed { failures, most } => {
                let failures = failures.saturating_add(1);
                if failures < most {
                    *self = Self::Closed { failures, most };
                    false
                } else {
                    *self = open(FIRST_PAUSE, most);
                    true
                }
            }
            // Calls of before may still come back.
            Self::Open { .. } => false,
            Self::Trying { pause, most, .. } => {
                *self = open((pause * 2).min(LONGEST_PAUSE), most);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
