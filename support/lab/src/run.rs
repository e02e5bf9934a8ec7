//! The name of a run: what everything that a lab makes is labelled with.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Longest name of a run. Names end up in socket paths, which Linux cuts at 108 bytes.
const LONGEST_RUN_ID: usize = 12;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Names one run of the lab: one to twelve lower-case letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

/// Why a text does not name a run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("run id {text:?} is not one to {LONGEST_RUN_ID} lower-case letters and digits")]
pub struct RunIdError {
    /// The text as given.
    pub text: String,
}

impl RunId {
    /// A name made of the bits, the same for the same bits: eight characters, five bits each.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let character = |place: u32| {
            let index = usize::try_from((bits >> (5 * place)) & 31).unwrap_or_default();
            char::from(ALPHABET.get(index).copied().unwrap_or(b'a'))
        };
        Self((0..8).map(character).collect())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the cgroup, in every hierarchy, that holds instance `number`.
    pub(crate) fn cgroup(&self, number: u32) -> String {
        format!("{}{number}", self.cgroup_prefix())
    }

    /// What the names of all cgroups of this run begin with. No other run's do, since a run id holds no hyphen.
    pub(crate) fn cgroup_prefix(&self) -> String {
        format!("lab-{}-", self.0)
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let fits = (1..=LONGEST_RUN_ID).contains(&text.len());
        if fits
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(RunIdError { text: text.to_owned() })
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_names_a_run(bits: u64) {
            let run = RunId::from_bits(bits);
            prop_assert_eq!(run.as_str().parse::<RunId>().unwrap(), run);
        }

        #[test]
        fn whatever_parses_prints_as_it_was(text in ".{0,16}") {
            if let Ok(run) = text.parse::<RunId>() {
                prop_assert_eq!(run.to_string(), text);
            }
        }
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        for text in ["", "..", "a/b", "a-b", "UPPER", "morethantwelve"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }
}
