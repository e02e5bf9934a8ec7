//! What a run found, and the ways to tell it: live lines, a table, `report.json`, `junit.xml`, `report.html`. All of them are folds over [`RunReport`]; none decides anything.

mod grid;
pub mod html;
pub mod junit;
pub mod progress;
pub mod redact;
pub mod table;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::external::External;
use crate::verdict::{Expected, Judgement, Verdict};

/// One attempt and what it got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// Number of the step in the case, from 1.
    pub step: usize,
    /// Where it was made.
    pub place: String,
    /// What was tried, in a few words.
    pub what: String,
    /// The case's own remark.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What it got.
    pub verdict: Verdict,
    /// What it may get.
    pub expected: Expected,
    /// The exchanges, secrets taken out.
    pub exchanges: Vec<Shown>,
}

/// An exchange as people may see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// The request.
    pub request: String,
    /// How connecting went.
    pub connect: String,
    /// The answer, markers and secrets replaced by their names.
    pub answer: String,
    /// How the connection ended.
    pub end: String,
}

/// Something an oracle saw that belongs to no single attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// `canary`, `ledger`, `capture`, `log`, `denial`, `control`, `lab`.
    pub oracle: String,
    /// What it amounts to.
    pub verdict: Verdict,
    /// In words, with the place where it was seen.
    pub what: String,
}

/// One scenario under one defence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// The case's id.
    pub id: String,
    /// Its short name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// The defence; for a negative control what stands in its place, `weak-proxy(hole)`.
    pub defence: String,
    /// The judgement.
    pub judgement: Judgement,
    /// What was tried.
    pub attempts: Vec<Attempt>,
    /// What else was seen.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub seconds: f64,
}

impl ScenarioReport {
    /// The judgement that attempts and findings amount to.
    pub fn judge(attempts: &[Attempt], findings: &[Finding]) -> Judgement {
        let attempts: Vec<_> = attempts
            .iter()
            .map(|attempt| (attempt.verdict.clone(), attempt.expected.clone()))
            .collect();
        let findings: Vec<_> = findings.iter().map(|finding| finding.verdict.clone()).collect();
        crate::verdict::judge(&attempts, &findings)
    }

    /// The verdicts in few words, each once, in the order they came.
    pub fn verdicts(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        for word in self.attempts.iter().map(|attempt| attempt.verdict.to_string()) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        if words.is_empty() {
            "nothing tried".to_owned()
        } else {
            words.join(" ")
        }
    }

    /// Why it does not hold, one line each.
    pub fn reasons(&self) -> Vec<String> {
        let attempts = self
            .attempts
            .iter()
            .filter(|attempt| attempt.verdict.is_leak() || !attempt.expected.allows(&attempt.verdict))
            .map(|attempt| {
                let note = if attempt.note.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", attempt.note)
                };
                // A verdict on somebody who never got through says nothing of what stood in the way.
                let unconnected = attempt.exchanges.iter().find(|exchange| exchange.connect != "ok");
                let connect =
                    unconnected.map_or_else(String::new, |exchange| format!(" (connect: {})", exchange.connect));
                format!(
                    "step {}, {}: {}{note} got {}{connect}, may get {}",
                    attempt.step, attempt.place, attempt.what, attempt.verdict, attempt.expected
                )
            });
        attempts
            .chain(
                self.findings
                    .iter()
                    .map(|finding| format!("{}: {}", finding.oracle, finding.what)),
            )
            .collect()
    }
}

/// A scenario that was asked for, and has no question to a defence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRun {
    /// The case's id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The defence.
    pub defence: String,
    /// Why not.
    pub reason: String,
}

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReport {
    /// Version of this format.
    pub format: u32,
    /// When the run began, RFC 3339.
    pub started: String,
    /// The seed of every marker and id.
    pub seed: String,
    /// Whether documented leaks are part of what was expected.
    pub matrix: bool,
    /// The proxy that was the defence `external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<External>,
    /// What was not run, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_run: Vec<NotRun>,
    /// What was run, in the order of the case files.
    pub scenarios: Vec<ScenarioReport>,
    /// Findings that no scenario could be named for.
    pub findings: Vec<Finding>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// How many containers were started.
    #[serde(default)]
    pub containers: usize,
}

impl RunReport {
    /// Whether the run fails.
    pub fn fails(&self) -> bool {
        !self.findings.is_empty()
            || self
                .scenarios
                .iter()
                .any(|scenario| scenario.judgement.fails(self.matrix))
    }

    /// Writes `report.json`, `junit.xml` and `report.html` into a directory, which is made if need be. Each file appears whole or not at all.
    ///
    /// # Errors
    /// What the file system or an encoder says.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        let junit = junit::render(self).map_err(io::Error::other)?;
        let html = html::render(self);
        for (name, bytes) in [
            ("report.json", json),
            ("junit.xml", junit.into_bytes()),
            ("report.html", html.into_bytes()),
        ] {
            let draft = directory.join(format!(".{name}.part"));
            std::fs::write(&draft, bytes)?;
            std::fs::rename(&draft, directory.join(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
