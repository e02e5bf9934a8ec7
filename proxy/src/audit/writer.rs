//! Takes records to where they are kept, on a thread of its own: a slow reader must not hold up an answer.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::time::Instant;

use super::{Action, Allowance, Limiter, Record};

/// Lines on their way. More are dropped and counted: memory is bounded even when nobody reads.
const WAITING_MAX: usize = 8192;

/// Where lines go.
pub type Sink = Box<dyn Write + Send>;

/// The audit log. Cloning shares it.
#[derive(Clone)]
pub struct AuditLog {
    limiter: Arc<Mutex<Limiter>>,
    lines: SyncSender<String>,
    dropped: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Starts the thread. It ends when the last log is dropped, after the last line. `dropped` is called for each line that is lost.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(sink: Sink, dropped: impl Fn() + Send + Sync + 'static) -> io::Result<(Self, JoinHandle<()>)> {
        let (lines, receiver) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_lines(&receiver, sink))?;
        Ok((
            Self {
                limiter: Arc::default(),
                lines,
                dropped: Arc::new(dropped),
            },
            thread,
        ))
    }

    /// Records a decision, unless its caller has caused too many. `record` is made only if it is written.
    pub fn record<'r>(&self, caller: &str, record: impl FnOnce() -> Record<'r>) {
        let allowance = self
            .limiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(caller, Instant::now());
        match allowance {
            Allowance::Suppress => {}
            Allowance::Write { suppressed } => {
                let record = Record { suppressed, ..record() };
                self.send(record.line());
            }
        }
    }

    /// Records an operator's order. No job causes one, so that none is left out.
    pub fn record_order(&self, action: &Action) {
        self.send(action.line());
    }

    fn send(&self, line: String) {
        match self.lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => (self.dropped)(),
        }
    }
}

fn write_lines(lines: &Receiver<String>, mut sink: Sink) {
    while let Ok(line) = lines.recv() {
        // A reader that went away is not a reason to stop answering; the next line may find another.
        if let Err(error) = sink.write_all(line.as_bytes()).and_then(|()| sink.flush()) {
            tracing::warn!(%error, "an audit record is lost");
        }
    }
}

/// Opens the file that records are appended to; its mode is 0600.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> io::Result<Sink> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    Ok(Box::new(file))
}
