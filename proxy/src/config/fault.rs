//! What is wrong with a configuration: where, which field, what, and what to do. Collects; decides nothing.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use thiserror::Error;

/// One fault of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as the operator named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The field, such as `rule[0].role`; empty when the file as a whole is meant.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}\n  remedy: {}", self.problem, self.remedy)
    }
}

/// Every fault of a configuration file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", lines(.0))]
pub struct Faults(pub Vec<Fault>);

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The text under examination, and what was found wrong with it so far.
#[derive(Debug)]
pub(super) struct Source<'t> {
    file: &'t str,
    text: &'t str,
    faults: RefCell<Vec<Fault>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            faults: RefCell::default(),
        }
    }

    pub(super) fn fault(
        &self,
        at: Range<usize>,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let before = self.text.as_bytes().get(..at.start).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        self.faults.borrow_mut().push(Fault {
            file: self.file.to_owned(),
            line,
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// Ends the examination: the value, unless anything was found.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Faults> {
        let mut faults = self.faults.into_inner();
        // What stands on a line that is not TOML was only guessed; the syntax is what is wrong there.
        let broken: Vec<usize> = faults
            .iter()
            .filter(|fault| fault.field.is_empty())
            .map(|fault| fault.line)
            .collect();
        faults.retain(|fault| fault.field.is_empty() || !broken.contains(&fault.line));
        match value {
            Some(value) if faults.is_empty() => Ok(value),
            Some(_) | None => {
                faults.sort_by_key(|fault| fault.line);
                Err(Faults(faults))
            }
        }
    }
}
