//! `doctor`: what this machine lacks, and the command that installs it.

use std::fmt::Write;

use super::{Exit, complain, say};
use crate::ambient::Ambient;

/// Programs of this project that a run starts; cargo builds them all.
const PROGRAMS: [&str; 5] = ["fake-imds", "fake-sts", "metadata-proxy", "probe", "weak-proxy"];

pub(super) fn examine(ambient: &Ambient) -> Exit {
    let lacks = lacks(ambient);
    if lacks.is_empty() {
        say("this machine can run the lab");
        return Exit::Held;
    }
    complain(&lacks);
    Exit::CannotRun
}

/// A line for each lack, empty if there is none.
pub(super) fn lacks(ambient: &Ambient) -> String {
    let mut text = String::new();
    for lack in lab::Requirements::check() {
        let _ = writeln!(text, "{lack}");
    }
    let unbuilt: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|program| !ambient.programs.join(program).is_file())
        .collect();
    if !unbuilt.is_empty() {
        let _ = writeln!(
            text,
            "not built: {}: run cargo build --workspace --bins",
            unbuilt.join(", ")
        );
    }
    text
}
