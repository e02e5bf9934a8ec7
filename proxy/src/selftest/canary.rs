//! A canary on its way: which request is its own, and as whose it came. No path exists because of it: to everybody else, and once it is back, its
//! path is one that does not exist.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::caller::Unattested;

/// What serving knows of a canary. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Canary(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Asked for every request: almost always there is none.
    is_out: AtomicBool,
    errand: Mutex<Option<Errand>>,
}

#[derive(Debug)]
struct Errand {
    container: String,
    length: usize,
    /// Of its path: comparing it tells nobody how much of a guess was right.
    digest: [u8; 32],
    met: Option<Met>,
}

/// As whose the canary's request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    /// Its own.
    Itself,
    /// Another container's.
    Other(String),
    /// Nobody's.
    Nobody(Unattested),
}

/// A canary is out until this is dropped.
#[derive(Debug)]
pub struct Flight(Canary);

impl Canary {
    /// Sends a container out with a path that nobody else knows. There is one at a time: an earlier one is forgotten.
    #[must_use]
    pub fn send_out(&self, container: &str, path: &str) -> Flight {
        *self.errand() = Some(Errand {
            container: container.to_owned(),
            length: path.len(),
            digest: Sha256::digest(path).into(),
            met: None,
        });
        self.0.is_out.store(true, Ordering::Release);
        Flight(self.clone())
    }

    /// Takes note of a request; whether it is the canary's, and came as its own.
    #[must_use]
    pub fn meet(&self, path: &str, came_as: Result<&str, Unattested>) -> bool {
        if !self.0.is_out.load(Ordering::Acquire) {
            return false;
        }
        let mut errand = self.errand();
        let Some(errand) = errand.as_mut() else { return false };
        if path.len() != errand.length || <[u8; 32]>::from(Sha256::digest(path)) != errand.digest {
            return false;
        }
        let met = match came_as {
            Ok(container) if container == errand.container => Met::Itself,
            Ok(other) => Met::Other(other.to_owned()),
            Err(reason) => Met::Nobody(reason),
        };
        let is_itself = met == Met::Itself;
        // What went wrong stays, whatever else comes.
        if errand.met.is_none() || !is_itself {
            errand.met = Some(met);
        }
        is_itself
    }

    /// Whether this is the canary's container.
    #[must_use]
    pub fn is(&self, container: &str) -> bool {
        self.0.is_out.load(Ordering::Acquire)
            && self
                .errand()
                .as_ref()
                .is_some_and(|errand| errand.container == container)
    }

    fn errand(&self) -> MutexGuard<'_, Option<Errand>> {
        self.0.errand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// As whose its request came; None if it has not come.
    #[must_use]
    pub fn met(&self) -> Option<Met> {
        self.0.errand().as_ref().and_then(|errand| errand.met.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.is_out.store(false, Ordering::Release);
        *self.0.errand() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/self-test-call/0123";

    #[test]
    fn its_path_is_its_own_and_only_while_it_is_out() {
        let canary = Canary::default();
        assert!(!canary.meet(PATH, Ok("own")) && !canary.is("own"));
        let flight = canary.send_out("own", PATH);
        assert!(canary.is("own") && !canary.is("other"));
        for other in [
            "/self-test-call/0124",
            "/self-test-call/012",
            "/self-test-call/01234",
            "",
        ] {
            assert!(!canary.meet(other, Ok("own")));
        }
        assert_eq!(flight.met(), None);
        assert!(canary.meet(PATH, Ok("own")));
        assert_eq!(flight.met(), Some(Met::Itself));
        drop(flight);
        assert!(!canary.meet(PATH, Ok("own")) && !canary.is("own"));
    }

    #[test]
    fn what_went_wrong_is_not_made_good_by_what_comes_after() {
        let canary = Canary::default();
        for (came_as, met) in [
            (Ok("other"), Met::Other("other".to_owned())),
            (Err(Unattested::NoCgroup), Met::Nobody(Unattested::NoCgroup)),
        ] {
            let flight = canary.send_out("own", PATH);
            assert!(canary.meet(PATH, Ok("own")));
            assert!(!canary.meet(PATH, came_as));
            assert!(canary.meet(PATH, Ok("own")));
            assert_eq!(flight.met(), Some(met));
        }
    }
}
