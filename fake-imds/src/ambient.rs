//! The one place that reads this process's environment: the log filter, and what amazon-ec2-metadata-mock is told. Everything else takes values.

/// What to log, from `RUST_LOG`; warnings when it says nothing.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn log_filter() -> String {
    std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned())
}

/// The variables that begin so. What is no text is read over.
pub fn variables(prefix: &str) -> Vec<(String, String)> {
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut own: Vec<(String, String)> = all.filter(|(name, _)| name.starts_with(prefix)).collect();
    own.sort();
    own
}
