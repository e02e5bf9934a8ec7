//! The one place that reads this process's environment: the log filter. Everything else takes values.

/// What to log, from `RUST_LOG`; warnings when it says nothing.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn log_filter() -> String {
    std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned())
}
