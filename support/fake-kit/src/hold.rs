//! Barriers: an answer waits at a named hold until a test releases it. It must not know who waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// No answer waits longer, whatever a test forgot.
pub const LONGEST_HOLD: Duration = Duration::from_secs(30);
/// How long a test may wait for requests to arrive at a hold.
pub const LONGEST_POLL: Duration = Duration::from_secs(10);
/// Names are kept while somebody waits; idle ones beyond this number are forgotten.
const IDLE_NAMES: usize = 1024;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A test released the hold.
    Released,
    /// Nobody did, for [`LONGEST_HOLD`].
    TimedOut,
}

/// The barriers of one fake.
#[derive(Debug, Default)]
pub struct Holds {
    names: Mutex<BTreeMap<String, Arc<watch::Sender<Hold>>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Hold {
    waiting: usize,
    releases: u64,
}

struct Waiting(Arc<watch::Sender<Hold>>);

impl Drop for Waiting {
    // A request whose client left waits no longer.
    fn drop(&mut self) {
        self.0.send_modify(|hold| hold.waiting = hold.waiting.saturating_sub(1));
    }
}

impl Holds {
    fn hold(&self, name: &str) -> Arc<watch::Sender<Hold>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= IDLE_NAMES {
            names.retain(|_, hold| hold.borrow().waiting > 0 || hold.receiver_count() > 0);
        }
        Arc::clone(names.entry(name.to_owned()).or_default())
    }

    /// Waits at the hold until it is released, at most [`LONGEST_HOLD`].
    pub async fn wait(&self, name: &str) -> End {
        let hold = self.hold(name);
        let mut seen = hold.subscribe();
        let mut arrived = 0;
        hold.send_modify(|hold| {
            hold.waiting += 1;
            arrived = hold.releases;
        });
        let _waiting = Waiting(Arc::clone(&hold));
        let released = seen.wait_for(|hold| hold.releases > arrived);
        match tokio::time::timeout(LONGEST_HOLD, released).await {
            Ok(_) => End::Released,
            Err(_) => End::TimedOut,
        }
    }

    /// Waits until that many requests wait there, at most [`LONGEST_POLL`]; the number that do, and whether it is reached.
    pub async fn waiting(&self, name: &str, wanted: usize) -> (usize, bool) {
        let hold = self.hold(name);
        let mut seen = hold.subscribe();
        let reached = seen.wait_for(|hold| hold.waiting >= wanted);
        match tokio::time::timeout(LONGEST_POLL, reached).await {
            Ok(Ok(state)) => (state.waiting, true),
            Ok(Err(_)) | Err(_) => (hold.borrow().waiting, false),
        }
    }

    /// Lets everybody go who waits there now; how many that were. Later requests wait again.
    pub fn release(&self, name: &str) -> usize {
        release(&self.hold(name))
    }

    /// Lets everybody go.
    pub fn release_all(&self) -> usize {
        let names: Vec<_> = self
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        names.iter().map(|hold| release(hold)).sum()
    }
}

fn release(hold: &watch::Sender<Hold>) -> usize {
    let mut released = 0;
    hold.send_modify(|hold| {
        released = hold.waiting;
        hold.releases += 1;
    });
    released
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_held_answer_goes_on_when_released() {
        let holds = Arc::new(Holds::default());
        let held = tokio::spawn({
            let holds = Arc::clone(&holds);
            async move { holds.wait("swap").await }
        });
        assert_eq!(holds.waiting("swap", 1).await, (1, true));
        assert_eq!(holds.release("swap"), 1);
        assert_eq!(held.await.unwrap(), End::Released);
        assert_eq!(holds.waiting("swap", 0).await, (0, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_nobody_releases_ends_by_itself() {
        let holds = Holds::default();
        assert_eq!(holds.wait("forgotten").await, End::TimedOut);
        assert_eq!(holds.waiting("forgotten", 1).await, (0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_before_the_wait_releases_nobody_later() {
        let holds = Holds::default();
        assert_eq!(holds.release("early"), 0);
        assert_eq!(holds.wait("early").await, End::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_waits_no_longer() {
        let holds = Arc::new(Holds::default());
        let held = tokio::spawn({
            let holds = Arc::clone(&holds);
            async move { holds.wait("gone").await }
        });
        assert_eq!(holds.waiting("gone", 1).await, (1, true));
        held.abort();
        assert!(held.await.unwrap_err().is_cancelled());
        assert_eq!(holds.release_all(), 0);
    }
}
