//! What the program says of itself, line by line on stderr. Decisions are in the audit log.

use std::io;

use tracing_subscriber::filter::Filtered;
use tracing_subscriber::fmt::Layer as Lines;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::config::Traces;
use crate::spans::{self, Export, NoExport};

type OnStderr = Lines<Registry, DefaultFields, Format, fn() -> io::Stderr>;

/// Begins to log to stderr, and to send spans where the configuration says so, as long as what is returned lives.
///
/// # Errors
/// Spans cannot be sent.
pub fn start(traces: Option<&Traces>) -> Result<Option<Export>, NoExport> {
    let Some(traces) = traces else {
        lines().init();
        return Ok(None);
    };
    let (layer, export) = spans::export(traces)?;
    lines().with(layer).init();
    Ok(Some(export))
}

/// Without anything beside it: a layer that is not there would have every span made.
fn lines() -> Layered<Filtered<OnStderr, EnvFilter, Registry>, Registry> {
    // Other crates' words are warnings at least: theirs may hold more than ours do.
    let filter = EnvFilter::new("warn,metadata_proxy=info");
    let stderr: fn() -> io::Stderr = io::stderr;
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    tracing_subscriber::registry().with(lines.with_filter(filter))
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::lines;
    use crate::fixture::facts;
    use crate::spans;

    #[test]
    fn a_span_that_nobody_asked_for_is_not_made() {
        with_default(lines(), || {
            assert!(tracing::enabled!(tracing::Level::INFO));
            assert!(!tracing::enabled!(tracing::Level::DEBUG));
            assert!(spans::request(&facts()).is_disabled());
        });
    }
}
