//! How many records one caller may cause: a bucket of tokens for each, and a count of what was left out. Pure.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Records at once.
const BURST: f64 = 200.0;
/// Records a second after that.
const RATE: f64 = 10.0;
/// Callers remembered.
const CALLERS_MAX: usize = 8192;

/// Whether a record may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// It may, and so many were left out before it.
    Write {
        /// Records left out since the last one.
        suppressed: u64,
    },
    /// It may not.
    Suppress,
}

/// Counts the records of each caller.
#[derive(Debug, Default)]
pub struct Limiter {
    buckets: HashMap<String, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    suppressed: u64,
}

impl Limiter {
    /// Asks for one more record of a caller.
    pub fn take(&mut self, caller: &str, now: Instant) -> Allowance {
        if !self.buckets.contains_key(caller) {
            self.make_room(now);
            self.buckets.insert(
                caller.to_owned(),
                Bucket {
                    left: BURST,
                    at: now,
                    suppressed: 0,
                },
            );
        }
        let Some(bucket) = self.buckets.get_mut(caller) else {
            return Allowance::Suppress;
        };
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * RATE;
        bucket.left = (bucket.left + gained).min(BURST);
        bucket.at = now;
        if bucket.left < 1.0 {
            bucket.suppressed += 1;
            return Allowance::Suppress;
        }
        bucket.left -= 1.0;
        Allowance::Write {
            suppressed: std::mem::take(&mut bucket.suppressed),
        }
    }

    /// Forgets callers that are quiet, else the one that is quiet for longest.
    fn make_room(&mut self, now: Instant) {
        if self.buckets.len() < CALLERS_MAX {
            return;
        }
        let full_again = Duration::from_secs_f64(BURST / RATE);
        self.buckets
            .retain(|_, bucket| now.saturating_duration_since(bucket.at) < full_again);
        if self.buckets.len() >= CALLERS_MAX
            && let Some(quiet) = self
                .buckets
                .iter()
                .min_by_key(|(_, bucket)| bucket.at)
                .map(|(key, _)| key.clone())
        {
            self.buckets.remove(&quiet);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Allowance, Limiter};

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_and_counted_and_does_not_touch_others() {
        let mut limiter = Limiter::default();
        let now = tokio::time::Instant::now();
        let written = (0..1000)
            .filter(|_| limiter.take("a", now) != Allowance::Suppress)
            .count();
        assert_eq!(written, 200);
        assert_eq!(limiter.take("b", now), Allowance::Write { suppressed: 0 });
        let later = now + Duration::from_secs(1);
        assert_eq!(limiter.take("a", later), Allowance::Write { suppressed: 800 });
        assert_eq!(limiter.take("a", later), Allowance::Write { suppressed: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_callers_is_bounded() {
        let mut limiter = Limiter::default();
        let now = tokio::time::Instant::now();
        for caller in 0..20_000 {
            limiter.take(&caller.to_string(), now);
        }
        assert!(limiter.buckets.len() <= super::CALLERS_MAX);
    }
}
