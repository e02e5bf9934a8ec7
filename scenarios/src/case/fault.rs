//! What is wrong with a case file, told so that its author can repair it: file, line, field, remedy.

use std::collections::BTreeMap;
use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file as it was found.
    pub file: String,
    /// Counted from one; 0 when the fault is not inside the file.
    pub line: usize,
    /// The key's path, `step[2].expect`; empty for the file itself.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// The first byte and the one after the last, where the fault is at one place of the text.
    pub span: Option<(usize, usize)>,
}

/// A stretch of a file's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// Counted from one.
    pub(super) line: usize,
    /// First byte.
    pub(super) start: usize,
    /// The byte after the last; the first one where only the line is known.
    pub(super) end: usize,
}

impl Span {
    /// A line without a place in it.
    pub(super) const fn line(line: usize) -> Self {
        Self { line, start: 0, end: 0 }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}

/// Everything that is wrong, by file and line. As text a line for each fault, for programs; [`Faults::drawn`] is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.faults))]
pub struct Faults {
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// The texts of the files they are in.
    pub(super) sources: BTreeMap<String, String>,
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
