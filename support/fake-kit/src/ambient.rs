//! The one place that reads the machine's clock and its signals. Everything else takes them as values.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

/// The machine's time.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Lets this process have as many descriptors as it may: what it is given at first, often 1,024, is fewer than the connections that it serves.
pub fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "no more descriptors to be had; some connections will wait");
    }
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
