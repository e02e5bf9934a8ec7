//! What opens the hole that a scenario exists for. Data, and its words in reports.

use std::fmt;

use serde::Deserialize;

use super::defence::Defence;

/// What opens the hole. Each entry by itself must turn the scenario red.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hole {
    /// Switches of weak-proxy.
    pub weak: Vec<String>,
    /// Defences in whose place what the case expects must turn red.
    pub defence: Vec<Defence>,
    /// Policies that an operator could have written instead.
    #[serde(rename = "role")]
    pub roles: Vec<WeakRole>,
    /// Checks of web identity tokens that STS leaves out.
    pub sts: Vec<String>,
    /// What a careless GitLab Runner would do.
    pub runner: Vec<String>,
}

/// A role of the case with other policies.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeakRole {
    /// The role's short name.
    pub name: String,
    /// Its trust policy instead.
    #[serde(default)]
    pub trust: Option<String>,
    /// Its identity policy instead.
    #[serde(default)]
    pub policy: Option<String>,
}

/// Words for `hole.runner`.
pub(super) const RUNNER_HOLES: &[&str] = &["public-id-tokens"];

/// Something that is open while a defence stands otherwise as it should.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Opening {
    /// The `n`th weak role of each case, from 1, is in place of the sound one.
    Role(usize),
    /// STS leaves out this check.
    Sts(String),
    /// The runner does this.
    Runner(String),
}

impl Opening {
    /// Reads the words of a report.
    pub fn parse(words: &str) -> Option<Self> {
        let (kind, what) = words.split_once(' ')?;
        match kind {
            "role" => what.parse().ok().map(Self::Role),
            "sts" => Some(Self::Sts(what.to_owned())),
            "runner" => Some(Self::Runner(what.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(number) => write!(f, "role {number}"),
            Self::Sts(check) => write!(f, "sts {check}"),
            Self::Runner(word) => write!(f, "runner {word}"),
        }
    }
}

impl Hole {
    /// Everything of it that opens while the defence stands.
    pub fn openings(&self) -> impl Iterator<Item = Opening> + '_ {
        let roles = (1..=self.roles.len()).map(Opening::Role);
        let sts = self.sts.iter().cloned().map(Opening::Sts);
        roles.chain(sts).chain(self.runner.iter().cloned().map(Opening::Runner))
    }

    /// Whether nothing opens it.
    pub fn is_empty(&self) -> bool {
        self.weak.is_empty() && self.defence.is_empty() && self.openings().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_every_opening_are_read_back() {
        for opening in [
            Opening::Role(2),
            Opening::Sts("algorithm".to_owned()),
            Opening::Runner("public-id-tokens".to_owned()),
        ] {
            assert_eq!(Opening::parse(&opening.to_string()), Some(opening));
        }
        assert_eq!(Opening::parse("door 1"), None);
    }
}
