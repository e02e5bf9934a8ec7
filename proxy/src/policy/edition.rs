//! Which reading of a rule something was given by.

use std::collections::BTreeSet;

/// A rule as it was read once. One that is changed, or removed and written again, is another edition: tokens and credentials are bound to it,
/// so that none of an earlier edition counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edition(u64);

impl Edition {
    /// The first one of a process.
    pub const FIRST: Self = Self(0);

    /// Its number: no two editions of a process have the same.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// The editions by which what was given is kept: every one, until a policy is replaced for the first time.
#[derive(Debug, Default)]
pub struct Kept(Option<BTreeSet<Edition>>);

impl Kept {
    /// Only these from now on.
    pub fn replace(&mut self, editions: impl Iterator<Item = Edition>) {
        self.0 = Some(editions.collect());
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, edition: Edition) -> bool {
        self.0.as_ref().is_none_or(|editions| editions.contains(&edition))
    }
}
