//! Firewall and routing of an instance as text: to compare two moments, and to change them.
//!
//! It must not know what any rule is for.

use std::{fmt, time::Duration};

use thiserror::Error;

use crate::{Instance, InstanceError, Output, Place, Program};

/// Listing or loading rules takes hundredths of a second.
const WITHIN: Duration = Duration::from_secs(20);

/// Why rules could not be listed or changed.
#[derive(Debug, Error)]
pub enum RulesError {
    /// The program could not be run.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The program refused.
    #[error("{command} failed: {said}")]
    Refused {
        /// What was run.
        command: String,
        /// What it wrote to standard error.
        said: String,
    },
}

/// Everything that decides where a packet goes in one network namespace: firewall, policy rules and routes. Counters are left out, and so
/// are the kernel's own routes for local addresses, which say nothing that the interfaces do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSnapshot {
    lines: Vec<String>,
}

impl RuleSnapshot {
    /// Every rule and route, each with where it stands.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What must be removed (`- `) from and added (`+ `) to this snapshot to make it the other. Empty where they are equal, but for the
    /// order of lines.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let mut removed = self.lines.clone();
        let mut added = Vec::new();
        for line in &other.lines {
            match removed.iter().position(|known| known == line) {
                Some(place) => drop(removed.remove(place)),
                None => added.push(format!("+ {line}")),
            }
        }
        removed
            .into_iter()
            .map(|line| format!("- {line}"))
            .chain(added)
            .collect()
    }
}

impl fmt::Display for RuleSnapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

impl Instance {
    /// Firewall, policy rules and routes at this moment.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn rules(&self, place: Place) -> Result<RuleSnapshot, RulesError> {
        // As text: in JSON, nft shows nothing of the matches that iptables put there.
        let firewall = self.listing(place, "nft", &["-s", "list", "ruleset"]).await?;
        let mut lines = firewall_lines(&firewall);
        for (name, args) in [
            ("rule", &["-4", "rule"][..]),
            ("rule6", &["-6", "rule"]),
            ("route", &["-4", "route", "show", "table", "all"]),
            ("route6", &["-6", "route", "show", "table", "all"]),
        ] {
            lines.extend(routing_lines(name, &self.listing(place, "ip", args).await?));
        }
        Ok(RuleSnapshot { lines })
    }

    /// Loads rules in the language of `nft -f`, all or none.
    ///
    /// # Errors
    /// When nft refuses them.
    pub async fn apply_rules(&self, place: Place, text: &str) -> Result<(), RulesError> {
        let program = Program::new("nft").args(["-f", "-"]).stdin(text.as_bytes());
        said(&program, self.run(place, &program, WITHIN).await?).map(drop)
    }

    async fn listing(&self, place: Place, program: &str, args: &[&str]) -> Result<String, RulesError> {
        let program = Program::new(program).args(args);
        said(&program, self.run(place, &program, WITHIN).await?)
    }
}

fn said(program: &Program, output: Output) -> Result<String, RulesError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = std::iter::once(program.path.as_os_str()).chain(program.args.iter().map(AsRef::as_ref));
    let command = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    Err(RulesError::Refused {
        command,
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// One line per rule, each with its table and chain: `table inet lab / chain source / …`.
fn firewall_lines(listing: &str) -> Vec<String> {
    let mut context: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for line in listing
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let whole =
            |line: &str, context: &[&str]| context.iter().chain([&line]).copied().collect::<Vec<_>>().join(" / ");
        if let Some(opened) = line.strip_suffix('{').filter(|_| !line.contains('}')) {
            let opened = opened.trim_end();
            lines.push(whole(opened, &context));
            context.push(opened);
        } else if line == "}" {
            context.pop();
        } else {
            lines.push(whole(line, &context));
        }
    }
    lines
}

fn routing_lines(name: &str, listing: &str) -> Vec<String> {
    let kernels =
        |line: &str| line.contains(" table local ") || line.starts_with("multicast ") || line.starts_with("ff00::/8 ");
    let lines = listing
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !kernels(line));
    lines.map(|line| format!("{name} / {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_listed_with_its_table_and_chain() {
        let listing = "# Warning\ntable inet a {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1 }\n\t}\n\n\tchain c {\n\t\ttcp dport 80 accept\n\t}\n}\n";
        insta::assert_snapshot!(firewall_lines(listing).join("\n"), @r"
        table inet a
        table inet a / set s
        table inet a / set s / type ipv4_addr
        table inet a / set s / elements = { 10.0.0.1 }
        table inet a / chain c
        table inet a / chain c / tcp dport 80 accept
        ");
    }

    #[test]
    fn a_difference_names_what_went_and_what_came() {
        let snapshot = |lines: &[&str]| RuleSnapshot {
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        let (before, after) = (snapshot(&["a", "b", "b"]), snapshot(&["b", "c"]));
        assert_eq!(before.difference(&after), ["- a", "- b", "+ c"]);
        assert!(before.difference(&before).is_empty());
    }
}
