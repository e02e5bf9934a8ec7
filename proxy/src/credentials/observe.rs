//! What is told of the cache to whoever counts and records.

use std::sync::Arc;

use super::restraint::Turn;
use super::{Failure, Issued, Key};

/// What the cache did, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheEvent {
    /// Served what was there.
    Hit,
    /// Waited for STS.
    Miss,
    /// Served old credentials, because STS failed.
    Old,
    /// STS was asked, with this end.
    Call(Result<(), Failure>),
    /// STS was not asked, for this reason.
    Withheld(Failure),
    /// STS is only tried from now on, or asked as before.
    Turn(Turn),
}

/// Whoever counts what the cache does.
pub trait Observe: Send + Sync + 'static {
    /// Called for each event.
    fn observe(&self, event: CacheEvent);

    /// Called for each set of credentials that STS gave, before anybody gets it. Who only counts need not know which.
    fn witness(&self, _key: &Key, _issued: &Issued) {}
}

/// Two who count are told one after the other.
impl<A: Observe, B: Observe> Observe for (Arc<A>, Arc<B>) {
    fn observe(&self, event: CacheEvent) {
        self.0.observe(event);
        self.1.observe(event);
    }

    fn witness(&self, key: &Key, issued: &Issued) {
        self.0.witness(key, issued);
        self.1.witness(key, issued);
    }
}
