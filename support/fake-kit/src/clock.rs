//! The fake's time: the machine's, or one that a test keeps. It can be moved, stopped, and made to go faster. It must not know who asks.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};

use crate::ambient;

/// How fast time may go: a day in less than a tenth of a second.
pub const MOST_SPEED: u32 = 1_000_000;
/// As the machine's.
const USUAL: u64 = 1000;

/// A clock that can be moved. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Base,
    course: Arc<RwLock<Course>>,
}

#[derive(Debug, Clone, Copy)]
enum Base {
    System,
    Frozen(Timestamp),
}

/// How the time goes on from where it was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Course {
    /// What the base showed then, and this clock.
    from: Option<(Timestamp, Timestamp)>,
    /// Seconds in a thousand of the base.
    pace: u64,
    stopped: bool,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            from: None,
            pace: USUAL,
            stopped: false,
        }
    }
}

impl Course {
    fn now(&self, base: Timestamp) -> Timestamp {
        let Some((from, shown)) = self.from else { return base };
        if self.stopped {
            return shown;
        }
        let gone = base.duration_since(from).as_millis();
        let gone = gone.saturating_mul(i128::from(self.pace)) / 1000;
        let gone = SignedDuration::from_millis(i64::try_from(gone).unwrap_or(i64::MAX));
        shown.checked_add(gone).unwrap_or(shown)
    }
}

impl Clock {
    /// The machine's time until it is changed.
    pub fn system() -> Self {
        Self {
            base: Base::System,
            course: Arc::default(),
        }
    }

    /// A time that moves only when it is moved.
    pub fn frozen(at: Timestamp) -> Self {
        Self {
            base: Base::Frozen(at),
            course: Arc::default(),
        }
    }

    /// The time of this fake.
    pub fn now(&self) -> Timestamp {
        let base = self.base_time();
        self.course().now(base)
    }

    /// Moves the clock, backwards with a negative number, and returns the new time. What would lead beyond the calendar is not done.
    pub fn advance(&self, seconds: i64) -> Timestamp {
        self.change(|course, now| {
            let moved = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
            course.from = course.from.map(|(base, _)| (base, moved));
        })
    }

    /// Sets the clock, and returns that time.
    pub fn set(&self, to: Timestamp) -> Timestamp {
        self.change(|course, _| course.from = course.from.map(|(base, _)| (base, to)))
    }

    /// Stops the time where it is, and returns it.
    pub fn freeze(&self) -> Timestamp {
        self.change(|course, _| course.stopped = true)
    }

    /// Lets a time that was stopped go on.
    pub fn resume(&self) -> Timestamp {
        self.change(|course, _| course.stopped = false)
    }

    /// From now on this many thousand seconds pass in a thousand of the machine's, at most [`MOST_SPEED`] times as many.
    pub fn pace(&self, thousandths: u64) -> Timestamp {
        let most = u64::from(MOST_SPEED).saturating_mul(USUAL);
        self.change(|course, _| course.pace = thousandths.min(most))
    }

    /// Whether it was stopped, and the seconds that pass in a thousand of the machine's.
    pub fn course_of_time(&self) -> (bool, u64) {
        let course = self.course();
        (course.stopped || matches!(self.base, Base::Frozen(_)), course.pace)
    }

    /// Back to the base time, as fast as it.
    pub fn reset(&self) {
        *self.course.write().unwrap_or_else(PoisonError::into_inner) = Course::default();
    }

    fn base_time(&self) -> Timestamp {
        match self.base {
            Base::System => ambient::now(),
            Base::Frozen(at) => at,
        }
    }

    fn course(&self) -> Course {
        *self.course.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Course, Timestamp)) -> Timestamp {
        let base = self.base_time();
        let mut course = self.course.write().unwrap_or_else(PoisonError::into_inner);
        let now = course.now(base);
        course.from = Some((base, now));
        change(&mut course, now);
        course.now(base)
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
        assert_eq!(clock.advance(-30).to_string(), "2026-01-02T03:05:05Z");
        clock.reset();
        assert_eq!(other.now(), start);
        assert_eq!(clock.set(Timestamp::UNIX_EPOCH), other.now());
    }

    #[test]
    fn an_impossible_move_is_not_made() {
        let clock = Clock::frozen(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.advance(i64::MAX), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_course_goes_at_its_pace_from_where_it_was_changed() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let course = Course {
            from: Some((at(100), at(5000))),
            pace: 60_000,
            stopped: false,
        };
        assert_eq!(course.now(at(100)), at(5000));
        assert_eq!(course.now(at(102)), at(5120));
        let stopped = Course {
            stopped: true,
            ..course
        };
        assert_eq!(stopped.now(at(102)), at(5000));
        assert_eq!(Course::default().now(at(7)), at(7));
        let endless = Course {
            pace: u64::MAX,
            ..course
        };
        assert_eq!(endless.now(at(i64::from(i32::MAX))), at(5000));
    }

    #[test]
    fn a_stopped_clock_can_be_moved_and_goes_on() {
        let clock = Clock::system();
        let stopped = clock.freeze();
        assert_eq!(clock.now(), stopped);
        assert_eq!(clock.advance(60), stopped + SignedDuration::from_secs(60));
        assert!(clock.course_of_time().0);
        clock.resume();
        assert!(clock.now() >= stopped + SignedDuration::from_secs(60));
        assert_eq!(clock.course_of_time(), (false, 1000));
    }
}
