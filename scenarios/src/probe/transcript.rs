//! Everything that a container wrote: the job's log, and what the canary scan reads. Knows nothing of the protocol inside it.

use std::fmt;

/// How much of each stream is kept: several answers of the largest size.
const MAX_KEPT: usize = 32 * 1024 * 1024;

/// The raw output of one container or exec, in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// Standard output, base64 of the protocol included.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How many bytes were not kept, so that a scan can say that it did not see everything.
    pub dropped: u64,
}

impl fmt::Debug for Transcript {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Holds what jobs received, credentials included.
        formatter
            .debug_struct("Transcript")
            .field("stdout_bytes", &self.stdout.len())
            .field("stderr_bytes", &self.stderr.len())
            .field("dropped", &self.dropped)
            .finish()
    }
}

impl Transcript {
    pub(super) fn add(&mut self, is_error: bool, bytes: &[u8]) {
        let stream = if is_error { &mut self.stderr } else { &mut self.stdout };
        let room = MAX_KEPT - stream.len().min(MAX_KEPT);
        stream.extend(bytes.iter().take(room));
        self.dropped += u64::try_from(bytes.len().saturating_sub(room)).unwrap_or(u64::MAX);
    }

    /// The last words on standard error, for a report.
    pub fn last_words(&self) -> String {
        const LAST: usize = 400;
        let from = self.stderr.len().saturating_sub(LAST);
        let tail = self.stderr.get(from..).unwrap_or_default();
        String::from_utf8_lossy(tail).trim().to_owned()
    }
}
