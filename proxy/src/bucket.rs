//! A rate: so many a second, and ten seconds' worth of them at once. Pure: the time comes in as a value.

use std::time::{Duration, Instant};

/// What may come at once, in seconds of the rate: jobs start together.
const BURST_SECONDS: u32 = 10;

/// A token bucket, kept as the time at which it is full again.
#[derive(Debug)]
pub(crate) struct Bucket {
    interval: Duration,
    full: Option<Instant>,
}

impl Bucket {
    pub(crate) const fn new(per_second: u32) -> Self {
        let interval = match Duration::from_secs(1).checked_div(per_second) {
            Some(interval) => interval,
            None => Duration::from_secs(1),
        };
        Self { interval, full: None }
    }

    fn capacity(&self) -> Duration {
        Duration::from_secs(BURST_SECONDS.into()).max(self.interval)
    }

    /// How long until it is full.
    pub(crate) fn debt(&self, now: Instant) -> Duration {
        self.full
            .map_or(Duration::ZERO, |full| full.saturating_duration_since(now))
    }

    /// How long until one may be taken.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        (self.debt(now) + self.interval).saturating_sub(self.capacity())
    }

    /// Takes one, be there one or not.
    pub(crate) fn take(&mut self, now: Instant) {
        self.full = Some(now + self.debt(now) + self.interval);
    }

    /// Whether at least half of it is left when one is taken.
    pub(crate) fn is_half_full(&self, now: Instant) -> bool {
        self.debt(now) + self.interval <= self.capacity() / 2
    }
}
