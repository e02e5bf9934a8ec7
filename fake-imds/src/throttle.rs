//! How many requests come too many: a bucket that fills with the fake's time. It must not know what a throttled client is told.

use jiff::Timestamp;

use crate::world::Throttle;

/// What a request takes.
const WHOLE: u64 = 1000;

/// How many requests may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    limit: Throttle,
    /// Thousandths of a request.
    left: u64,
    filled: Option<Timestamp>,
}

impl Bucket {
    /// A full one.
    pub fn full(limit: Throttle) -> Self {
        Self {
            limit,
            left: Self::most(limit),
            filled: None,
        }
    }

    fn most(limit: Throttle) -> u64 {
        u64::from(limit.burst.unwrap_or(limit.requests_per_second)).saturating_mul(WHOLE)
    }

    /// Whether one more may come now.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let gone = self
            .filled
            .map_or(0, |filled| now.duration_since(filled).as_millis().max(0));
        let gained = u64::try_from(gone)
            .unwrap_or(u64::MAX)
            .saturating_mul(u64::from(self.limit.requests_per_second));
        self.left = self.left.saturating_add(gained).min(Self::most(self.limit));
        self.filled = Some(now);
        let enough = self.left >= WHOLE;
        self.left -= if enough { WHOLE } else { 0 };
        enough
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_burst_and_then_as_many_as_the_rate() {
        let limit = Throttle {
            requests_per_second: 2,
            burst: Some(3),
        };
        let mut bucket = Bucket::full(limit);
        let start = Timestamp::UNIX_EPOCH;
        let taken: Vec<bool> = (0..5).map(|_| bucket.take(start)).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert!(!bucket.take(start + SignedDuration::from_millis(499)));
        assert!(bucket.take(start + SignedDuration::from_millis(500)));
        let later = start + SignedDuration::from_hours(1);
        let taken = (0..9).filter(|_| bucket.take(later)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(start), "a clock that goes back gains nothing");
    }
}
