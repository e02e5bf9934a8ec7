//! Which keys each container was given, so that the first time is never left out of the log, whatever else the container causes. Pure.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::caller::Run;

/// Pairs remembered. Whoever gets more of them out of STS than that is told of twice, and never not at all.
const PAIRS_MAX: usize = 16_384;
/// Fewer than that are not worth looking through for what has expired.
const TIDY_FROM: usize = 1024;

/// A key that a container is given.
#[derive(Debug, Clone, Copy)]
pub struct Given<'g> {
    /// To which run of which container.
    pub run: &'g Run,
    /// The access key id.
    pub access_key: &'g str,
    /// When the key ends: nobody is given it after that.
    pub expires: SystemTime,
    /// The time of the answer.
    pub now: SystemTime,
}

/// The keys that were told of, until they end.
#[derive(Debug)]
pub(super) struct Keys {
    by_run: HashMap<Run, HashMap<String, SystemTime>>,
    pairs: usize,
    tidy_at: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            by_run: HashMap::new(),
            pairs: 0,
            tidy_at: TIDY_FROM,
        }
    }
}

impl Keys {
    /// Whether it was told that this container has this key.
    pub(super) fn is_told(&self, given: &Given<'_>) -> bool {
        let keys = self.by_run.get(given.run);
        keys.is_some_and(|keys| keys.contains_key(given.access_key))
    }

    /// It is told now.
    pub(super) fn tell(&mut self, given: &Given<'_>) {
        if self.pairs >= self.tidy_at {
            self.retain(|_, expires| expires > given.now);
            self.tidy_at = self.pairs.saturating_mul(2).clamp(TIDY_FROM, PAIRS_MAX);
        }
        if self.pairs >= PAIRS_MAX {
            self.make_room();
        }
        let keys = self.by_run.entry(given.run.clone()).or_default();
        if keys.insert(given.access_key.to_owned(), given.expires).is_none() {
            self.pairs += 1;
        }
    }

    /// Forgets the key that ends first.
    fn make_room(&mut self) {
        let all = self.by_run.iter().flat_map(|(run, keys)| {
            let keys = keys.iter();
            keys.map(move |(key, expires)| (*expires, run, key))
        });
        let first = all.min().map(|(_, run, key)| (run.clone(), key.clone()));
        if let Some((run, key)) = first {
            self.retain(|(of, other), _| of != &run || other != key);
        }
    }

    fn retain(&mut self, keeps: impl Fn((&Run, &str), SystemTime) -> bool) {
        self.by_run.retain(|run, keys| {
            keys.retain(|key, expires| keeps((run, key.as_str()), *expires));
            !keys.is_empty()
        });
        self.pairs = self.by_run.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::{PausedClock, facts};

    fn given<'g>(run: &'g Run, access_key: &'g str, lives: u64) -> Given<'g> {
        Given {
            run,
            access_key,
            expires: PausedClock::epoch() + Duration::from_secs(lives),
            now: PausedClock::epoch(),
        }
    }

    #[test]
    fn each_run_is_told_of_once_for_each_key() {
        let mut keys = Keys::default();
        let first = facts().run;
        let mut restarted = first.clone();
        restarted.started_at = "2027-01-15T07:59:30Z".to_owned();
        for run in [&first, &restarted] {
            for key in ["ASIA0", "ASIA1"] {
                let given = given(run, key, 60);
                assert!(!keys.is_told(&given));
                keys.tell(&given);
                assert!(keys.is_told(&given));
            }
        }
        assert_eq!(keys.pairs, 4);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_ends_first_goes_first() {
        let mut keys = Keys::default();
        let run = facts().run;
        for number in 0..u64::try_from(PAIRS_MAX).unwrap() {
            keys.tell(&given(&run, &number.to_string(), 60 + number));
        }
        keys.tell(&given(&run, "more", 7200));
        assert_eq!(keys.pairs, PAIRS_MAX);
        assert!(!keys.is_told(&given(&run, "0", 60)));
        assert!(keys.is_told(&given(&run, "1", 61)) && keys.is_told(&given(&run, "more", 7200)));
    }

    #[test]
    fn keys_that_have_ended_make_room_and_leave_nothing_of_their_run() {
        let mut keys = Keys::default();
        let mut other = facts().run;
        other.started_at = "2027-01-15T07:59:30Z".to_owned();
        for number in 0..TIDY_FROM {
            keys.tell(&given(&other, &number.to_string(), 60));
        }
        let run = facts().run;
        let later = Given {
            now: PausedClock::epoch() + Duration::from_secs(61),
            ..given(&run, "later", 120)
        };
        keys.tell(&later);
        assert_eq!((keys.pairs, keys.by_run.len()), (1, 1));
        assert!(keys.is_told(&later));
    }
}
