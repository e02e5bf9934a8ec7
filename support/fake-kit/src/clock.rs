//! The fake's time: the machine's plus an offset that tests move, or a time that stands still. It must not know who asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::ambient;

/// A clock that can be moved. Clones share the offset.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Base,
    offset_seconds: Arc<AtomicI64>,
}

#[derive(Debug, Clone, Copy)]
enum Base {
    System,
    Frozen(Timestamp),
}

impl Clock {
    /// The machine's time plus the offset.
    pub fn system() -> Self {
        Self {
            base: Base::System,
            offset_seconds: Arc::default(),
        }
    }

    /// A time that moves only by [`Clock::advance`].
    pub fn frozen(at: Timestamp) -> Self {
        Self {
            base: Base::Frozen(at),
            offset_seconds: Arc::default(),
        }
    }

    /// The time of this fake. An offset beyond the calendar leaves the base time.
    pub fn now(&self) -> Timestamp {
        let base = match self.base {
            Base::System => ambient::now(),
            Base::Frozen(at) => at,
        };
        let offset = SignedDuration::from_secs(self.offset_seconds.load(Ordering::Relaxed));
        base.checked_add(offset).unwrap_or(base)
    }

    /// Moves the clock, backwards with a negative number, and returns the new time.
    pub fn advance(&self, seconds: i64) -> Timestamp {
        self.offset_seconds.fetch_add(seconds, Ordering::Relaxed);
        self.now()
    }

    /// Back to the base time.
    pub fn reset(&self) {
        self.offset_seconds.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_when_advanced() {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let clock = Clock::frozen(start);
        let other = clock.clone();
        assert_eq!(clock.now(), start);
        assert_eq!(clock.advance(90).to_string(), "2026-01-02T03:05:35Z");
        assert_eq!(other.now().to_string(), "2026-01-02T03:05:35Z");
        clock.reset();
        assert_eq!(other.now(), start);
    }

    #[test]
    fn an_impossible_offset_does_not_panic() {
        let clock = Clock::frozen(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.advance(i64::MAX), Timestamp::UNIX_EPOCH);
    }
}
