//! Tests that need the lab. Where the machine cannot run it they are listed as ignored, with the reason, unless `REQUIRE_LAB=1` makes them fail instead.

use libtest_mimic::Trial;
use scenarios::ambient::Ambient;

/// Whether they are ignored, given what the machine lacks.
pub(crate) fn is_ignored(ambient: &Ambient, lacks: &str) -> bool {
    !lacks.is_empty() && !ambient.require_lab
}

/// Marks a test as one of them.
pub(crate) fn lab(trial: Trial, ignored: bool) -> Trial {
    let trial = trial.with_ignored_flag(ignored);
    if ignored {
        trial.with_kind("needs root, Docker's engine and nftables: see scenarios doctor")
    } else {
        trial
    }
}
