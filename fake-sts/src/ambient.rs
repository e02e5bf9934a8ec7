//! The one place that reads files and the environment. Everything else takes their content as values.

use std::io;
use std::path::Path;

/// The text of a file.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub fn read_file(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// Which log lines are wanted, in `RUST_LOG`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn log_filter() -> String {
    std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned())
}

/// The time, for questions to a world that is not served.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
