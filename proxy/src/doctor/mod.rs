//! What on this host would break isolation, or keep jobs from what they may have: each finding with why it matters and what to do.
//! `probe` looks, `judge` decides; neither sends a packet anywhere.

mod judge;
mod probe;
#[cfg(test)]
mod tests;

use std::fmt;

pub use judge::judge;
pub use probe::probe;

use crate::engine::{NetworkSetting, Setting};
use crate::paragraph::wrap;

/// What was seen of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: String,
    /// Whether a cgroup v2 hierarchy is mounted.
    pub has_cgroup2: bool,
    /// Whether a cgroup v1 hierarchy is mounted that shows whose a process is.
    pub has_cgroup1: bool,
    /// Controllers of cgroup v1 that take the place of a socket's cgroup v2 id.
    pub old_controllers: Vec<&'static str>,
    /// The containers that run, or why they cannot be told.
    pub containers: Result<Vec<Setting>, String>,
    /// The engine's networks.
    pub networks: Vec<NetworkSetting>,
    /// Whether others than root and a group may open the engine's socket.
    pub is_socket_open: bool,
    /// Signs of engines other than the configured one.
    pub engines: Vec<String>,
    /// Tables with rules of iptables' old backend.
    pub legacy_tables: Vec<String>,
    /// Firewall managers that are active.
    pub managers: Vec<Manager>,
    /// How the live rules differ from the plan, or why that cannot be told.
    pub rules: Result<Vec<String>, String>,
    /// The container that this program runs in, if any.
    pub own_container: Option<String>,
}

/// A firewall manager that may drop what is redirected to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// firewalld
    Firewalld,
    /// ufw
    Ufw,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// To be known.
    Note,
    /// Isolation is broken, or the proxy cannot work.
    Danger,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// Why it matters, and what to do; empty if all is well.
    pub advice: Option<Advice>,
}

/// Why something matters, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Why.
    pub why: String,
    /// What to do: sentences, or a command on a line of its own.
    pub fix: Vec<String>,
}

/// All that was found, the worst first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Whether nothing breaks isolation.
    #[must_use]
    pub fn are_harmless(&self) -> bool {
        self.0.iter().all(|finding| finding.level != Level::Danger)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.0 {
            let word = match finding.level {
                Level::Ok => "ok",
                Level::Note => "note",
                Level::Danger => "danger",
            };
            writeln!(f, "{word:<7} {}", wrap(&finding.what, 8, 8))?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "{:8}why: {}", "", wrap(&advice.why, 13, 13))?;
                for line in &advice.fix {
                    // A command will be copied.
                    if line.contains(" --") {
                        writeln!(f, "{:8}fix: {line}", "")?;
                        continue;
                    }
                    writeln!(f, "{:8}fix: {}", "", wrap(line, 13, 13))?;
                }
            }
        }
        let count = |level| self.0.iter().filter(|finding| finding.level == level).count();
        let (dangers, notes, good) = (count(Level::Danger), count(Level::Note), count(Level::Ok));
        writeln!(
            f,
            "{dangers} to be put right, {notes} to be known, {good} as it should be"
        )
    }
}
