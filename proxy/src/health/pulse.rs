//! Whether the parts of the proxy that must go on for ever do go on: each says so again and again. What does not is cured by nothing but another
//! start, unlike everything that `verdict` judges: an engine that is down, rules that were removed, an STS that fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The parts that go on.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Vec<Part>>>);

#[derive(Debug)]
struct Part {
    name: &'static str,
    at: Arc<Mutex<Instant>>,
    patience: Duration,
}

/// One part's own. It does not leave when it is dropped: a part that has ended is not going on.
#[derive(Debug)]
pub struct Beat(Arc<Mutex<Instant>>);

impl Pulse {
    /// Takes in a part, which is stuck if it says nothing for longer than that.
    #[must_use]
    pub fn join(&self, name: &'static str, patience: Duration) -> Beat {
        let at = Arc::new(Mutex::new(Instant::now()));
        let beat = Beat(Arc::clone(&at));
        self.parts().push(Part { name, at, patience });
        beat
    }

    /// The parts that are stuck.
    #[must_use]
    pub fn stuck(&self) -> Vec<&'static str> {
        let parts = self.parts();
        let stuck = parts.iter().filter(|part| lock(&part.at).elapsed() > part.patience);
        stuck.map(|part| part.name).collect()
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat {
    /// The part goes on.
    pub fn go_on(&self) {
        *lock(&self.0) = Instant::now();
    }
}

fn lock(at: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    at.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_says_nothing_or_has_ended_is_stuck() {
        let pulse = Pulse::default();
        assert_eq!(pulse.stuck(), [""; 0]);
        let listener = pulse.join("listener", Duration::from_secs(10));
        let firewall = pulse.join("firewall", Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(pulse.stuck(), ["listener"]);
        listener.go_on();
        assert_eq!(pulse.stuck(), [""; 0]);
        drop(firewall);
        tokio::time::advance(Duration::from_secs(20)).await;
        listener.go_on();
        assert_eq!(pulse.stuck(), ["firewall"]);
    }
}
