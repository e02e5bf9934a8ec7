//! The only file that touches the ambient world: wall clock, randomness, environment. Everything else takes them as values.

use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use rand::Rng as _;

/// The wall clock.
#[derive(Debug, Clone, Copy, Default)]
struct WallClock;

impl TimeSource for WallClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The wall clock as a value.
#[must_use]
pub fn clock() -> SharedTimeSource {
    SharedTimeSource::new(WallClock)
}

/// Microseconds of the monotonic clock, by which the service manager tells one reload from another.
#[must_use]
pub fn monotonic_microseconds() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| {
        u64::try_from(Duration::from(now).as_micros()).unwrap_or(u64::MAX)
    })
}

/// Unpredictable bytes of the operating system's generator.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads randomness")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// One setting of the environment; empty counts as absent.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
