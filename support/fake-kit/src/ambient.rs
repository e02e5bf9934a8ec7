//! The one place that reads the machine's clock and its signals. Everything else takes them as values.

use std::io;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

/// The machine's time.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Completes when the process is asked to stop. Call it before serving, so that an early signal is not lost.
///
/// # Errors
/// The signal listeners could not be installed.
pub fn stop_requested() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
