//! The faults of a file, each with its line and remedy. It must not know which fields there are.

use std::fmt;
use std::ops::Range;

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The field, with its table; empty for a fault of the syntax.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.field.is_empty() { "" } else { ": " };
        write!(
            f,
            "{}: {}{separator}{}; {}",
            self.line, self.field, self.problem, self.remedy
        )
    }
}

/// What is wrong so far.
#[derive(Debug)]
pub(super) struct Faults<'t> {
    text: &'t str,
    found: Vec<Fault>,
}

impl<'t> Faults<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        span: Range<usize>,
        field: String,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        self.found.push(Fault {
            line,
            field,
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// All faults, in the order of the file. What a fault of the syntax leaves on its line says nothing about the fields there.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        let broken: Vec<usize> = self
            .found
            .iter()
            .filter(|fault| fault.field.is_empty())
            .map(|fault| fault.line)
            .collect();
        self.found
            .retain(|fault| fault.field.is_empty() || !broken.contains(&fault.line));
        self.found.sort_by_key(|fault| fault.line);
        self.found
    }
}
