//! Recorded exchanges: a request and the answer that the real service gave, as text files, and whether another answer is that one.
//!
//! Pure. It must not know sockets, which service was recorded, nor who is judged; the caller brings the values of named placeholders and
//! the bytes received. The format stands in `scenarios/transcripts/README.md`.

mod file;
mod pattern;
mod verdict;

pub use file::{Evidence, Fault, Transcript};
pub use pattern::{PatternError, Values};
pub use verdict::Difference;
