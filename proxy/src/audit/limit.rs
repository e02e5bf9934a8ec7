//! How many records one caller may cause: a bucket of tokens for each, and a count of what was left out, which is told in the end. Pure.

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

/// Records of somebody that were left out, and of whom nobody has heard since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remainder {
    /// Who; None: callers that had to make room for others.
    pub caller: Option<String>,
    /// How many.
    pub suppressed: u64,
}

/// Counts the records of each caller.
#[derive(Debug, Default)]
pub struct Limiter {
    buckets: HashMap<String, Bucket>,
    /// Records left out of callers that were forgotten.
    forgotten: u64,
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
        if let Some(bucket) = self.buckets.get_mut(caller) {
            return bucket.take(now);
        }
        self.make_room(now);
        let full = Bucket {
            left: BURST,
            at: now,
            suppressed: 0,
        };
        self.buckets.entry(caller.to_owned()).or_insert(full).take(now)
    }

    /// What was left out of a caller since the last record, which is told now.
    pub fn take_count(&mut self, caller: &str) -> u64 {
        let bucket = self.buckets.get_mut(caller);
        bucket.map_or(0, |bucket| std::mem::take(&mut bucket.suppressed))
    }

    /// What was left out of those who are quiet now, or of everybody: no later record of theirs would tell it.
    pub fn settle(&mut self, now: Instant, everybody: bool) -> Vec<Remainder> {
        let forgotten = std::mem::take(&mut self.forgotten);
        let nobody = (forgotten > 0).then_some(Remainder {
            caller: None,
            suppressed: forgotten,
        });
        let buckets = self.buckets.iter_mut();
        let left_out = buckets.filter(|(_, bucket)| bucket.suppressed > 0 && (everybody || bucket.is_quiet(now)));
        let each = left_out.map(|(caller, bucket)| Remainder {
            caller: Some(caller.clone()),
            suppressed: std::mem::take(&mut bucket.suppressed),
        });
        nobody.into_iter().chain(each).collect()
    }

    /// Forgets callers that are quiet, else the one that is quiet for longest.
    fn make_room(&mut self, now: Instant) {
        if self.buckets.len() < CALLERS_MAX {
            return;
        }
        let forgotten = &mut self.forgotten;
        self.buckets.retain(|_, bucket| {
            let stays = !bucket.is_quiet(now);
            if !stays {
                *forgotten = forgotten.saturating_add(bucket.suppressed);
            }
            stays
        });
        if self.buckets.len() >= CALLERS_MAX
            && let Some(quiet) = self
                .buckets
                .iter()
                .min_by_key(|(_, bucket)| bucket.at)
                .map(|(key, _)| key.clone())
            && let Some(bucket) = self.buckets.remove(&quiet)
        {
            self.forgotten = self.forgotten.saturating_add(bucket.suppressed);
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Allowance {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * RATE;
        self.left = (self.left + gained).min(BURST);
        self.at = now;
        if self.left < 1.0 {
            self.suppressed += 1;
            return Allowance::Suppress;
        }
        self.left -= 1.0;
        Allowance::Write {
            suppressed: std::mem::take(&mut self.suppressed),
        }
    }

    /// Whether it would be full again, as if its caller had never come.
    fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= Duration::from_secs_f64(BURST / RATE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Allowance, Limiter, Remainder};

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
    async fn what_was_left_out_of_a_caller_who_falls_silent_is_told_once() {
        let mut limiter = Limiter::default();
        let now = tokio::time::Instant::now();
        for _ in 0..300 {
            limiter.take("a", now);
        }
        limiter.take("b", now);
        assert_eq!(limiter.settle(now, false), [], "it may go on");
        let later = now + Duration::from_secs(20);
        let told = Remainder {
            caller: Some("a".to_owned()),
            suppressed: 100,
        };
        assert_eq!(limiter.settle(later, false), [told]);
        assert_eq!(limiter.settle(later, true), []);
        for _ in 0..201 {
            limiter.take("b", later);
        }
        assert_eq!(limiter.settle(later, true).len(), 1, "nobody goes on");
        assert_eq!(limiter.take_count("a"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_callers_is_bounded_and_no_count_is_lost_with_them() {
        let mut limiter = Limiter::default();
        let now = tokio::time::Instant::now();
        for _ in 0..1000 {
            limiter.take("first", now);
        }
        let later = now + Duration::from_secs(1);
        for caller in 0..20_000 {
            limiter.take(&caller.to_string(), later);
        }
        assert!(limiter.buckets.len() <= super::CALLERS_MAX);
        let told = Remainder {
            caller: None,
            suppressed: 800,
        };
        assert_eq!(limiter.settle(later, true), [told]);
    }
}
