//! Takes records to where they are kept, on a thread of its own: a slow reader must not hold up an answer.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::time::Instant;

use super::keys::Keys;
use super::{Action, Allowance, Given, Issue, Limiter, Proof, Record, Silence};

/// Lines on their way. More are dropped and counted: memory is bounded even when nobody reads.
const WAITING_MAX: usize = 8192;
/// Beyond those, lines that no flood may crowd out: keys that were issued or given for the first time, and orders.
const RESERVED: usize = 8192;

/// Where lines go.
pub type Sink = Box<dyn Write + Send>;

/// The audit log. Cloning shares it.
#[derive(Clone)]
pub struct AuditLog {
    memory: Arc<Mutex<Memory>>,
    lines: SyncSender<String>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
struct Memory {
    limiter: Limiter,
    keys: Keys,
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
        let (lines, receiver) = sync_channel(WAITING_MAX + RESERVED);
        let log = Self {
            memory: Arc::default(),
            lines,
            waiting: Arc::default(),
            dropped: Arc::new(dropped),
        };
        let (waiting, dropped) = (Arc::clone(&log.waiting), Arc::clone(&log.dropped));
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_lines(&receiver, sink, &waiting, &*dropped))?;
        Ok((log, thread))
    }

    /// Records a decision, unless its caller has caused too many. `record` is made only if it is written.
    pub fn record<'r>(&self, caller: &str, record: impl FnOnce() -> Record<'r>) {
        let allowance = self.memory().limiter.take(caller, Instant::now());
        self.write(allowance, record);
    }

    fn write<'r>(&self, allowance: Allowance, record: impl FnOnce() -> Record<'r>) {
        match allowance {
            Allowance::Suppress => {}
            Allowance::Write { suppressed } => {
                let record = Record { suppressed, ..record() };
                self.send(record.line());
            }
        }
    }

    /// Records that a container is given a key: the first time in any case, whatever it has caused before, and then like anything else. There
    /// are as many such records as keys, and STS is asked for those at a bounded rate.
    pub fn record_given<'r>(&self, given: &Given<'_>, record: impl FnOnce() -> Record<'r>) {
        let caller = &given.run.container_id;
        let mut memory = self.memory();
        if memory.keys.is_told(given) {
            let allowance = memory.limiter.take(caller, Instant::now());
            drop(memory);
            return self.write(allowance, record);
        }
        let record = Record {
            first: true,
            suppressed: memory.limiter.take_count(caller),
            ..record()
        };
        // What was lost was not told: the next answer with this key tries again.
        if self.send_reserved(record.line()) {
            memory.keys.tell(given);
        }
    }

    /// Records a key that STS gave.
    pub fn record_issue(&self, issue: &Issue<'_>) {
        self.send_reserved(issue.line());
    }

    /// Records an operator's order. No job causes one, so that none is left out.
    pub fn record_order(&self, action: &Action) {
        self.send_reserved(action.line());
    }

    /// Records a self-test.
    pub fn record_proof(&self, proof: &Proof) {
        self.send_reserved(proof.line());
    }

    /// Records what was left out of callers that have fallen silent, or of all: it is the end. Nothing else would tell it.
    pub fn settle(&self, time: &str, is_end: bool) {
        let remainders = self.memory().limiter.settle(Instant::now(), is_end);
        for remainder in remainders {
            let silence = Silence {
                time,
                caller: remainder.caller.as_deref(),
                suppressed: remainder.suppressed,
            };
            self.send(silence.line());
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, line: String) {
        if self.waiting.load(Ordering::Relaxed) < WAITING_MAX {
            self.send_reserved(line);
        } else {
            (self.dropped)();
        }
    }

    /// Whether there was room for it.
    fn send_reserved(&self, line: String) -> bool {
        // Before it can be taken, so that the number never falls below the truth.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let is_sent = self.lines.try_send(line).is_ok();
        if !is_sent {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            (self.dropped)();
        }
        is_sent
    }
}

fn write_lines(lines: &Receiver<String>, mut sink: Sink, waiting: &AtomicUsize, dropped: &(dyn Fn() + Send + Sync)) {
    while let Ok(line) = lines.recv() {
        waiting.fetch_sub(1, Ordering::Relaxed);
        // A reader that went away is not a reason to stop answering; the next line may find another.
        if let Err(error) = sink.write_all(line.as_bytes()).and_then(|()| sink.flush()) {
            tracing::warn!(%error, "an audit record is lost");
            dropped();
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;
    use crate::caller::Run;
    use crate::fixture::{PausedClock, facts};

    /// A reader that takes nothing until it is let.
    struct Stalled {
        gate: Receiver<()>,
        taken: Sender<String>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // It stays open once the other end is gone.
            let _closed = self.gate.recv();
            let _gone = self.taken.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn given<'g>(run: &'g Run, access_key: &'g str) -> Given<'g> {
        Given {
            run,
            access_key,
            expires: PausedClock::epoch() + Duration::from_secs(3600),
            now: PausedClock::epoch(),
        }
    }

    fn record(access_key: &str) -> Record<'_> {
        Record {
            access_key: Some(access_key),
            ..Record::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_flood_makes_the_first_time_of_a_key_vanish_even_where_nobody_reads() {
        let ((open, gate), (taken, lines)) = (channel(), channel());
        let lost = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lost);
        let (log, thread) = AuditLog::start(Box::new(Stalled { gate, taken }), move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        // A job with many containers: each has its burst, and together they fill what may wait.
        for caller in 0..100 {
            for _ in 0..300 {
                log.record(&format!("{caller:064}"), Record::default);
            }
        }
        assert!(lost.load(Ordering::SeqCst) > 10_000);
        let run = facts().run;
        for _ in 0..300 {
            log.record(&run.container_id, Record::default);
        }
        for key in ["ASIA0", "ASIA1"] {
            for _ in 0..300 {
                log.record_given(&given(&run, key), || record(key));
            }
        }
        drop(open);
        drop(log);
        thread.join().unwrap();
        let lines: Vec<String> = lines.iter().collect();
        let told = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!((told("ASIA0"), told("ASIA1")), (1, 1));
        assert_eq!(told("\"first\":true"), 2);
        // What was left out before is told with it: 300 records, of which 200 were allowed and found no room.
        let first = lines.iter().find(|line| line.contains("ASIA0")).unwrap();
        assert!(first.contains("\"suppressed\":100"), "{first}");
    }

    #[test]
    fn a_first_time_that_found_no_room_is_tried_again() {
        let (lines, waiting) = sync_channel(1);
        let log = AuditLog {
            memory: Arc::default(),
            lines,
            waiting: Arc::default(),
            dropped: Arc::new(|| {}),
        };
        let run = facts().run;
        log.record("another", Record::default);
        log.record_given(&given(&run, "ASIA0"), || record("ASIA0"));
        assert!(!waiting.recv().unwrap().contains("ASIA0"));
        log.record_given(&given(&run, "ASIA0"), || record("ASIA0"));
        assert!(waiting.recv().unwrap().contains("\"first\":true"));
        log.record_given(&given(&run, "ASIA0"), || record("ASIA0"));
        let again = waiting.recv().unwrap();
        assert!(again.contains("ASIA0") && !again.contains("first"), "{again}");
    }

    #[test]
    fn a_record_that_cannot_be_written_is_counted() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lost = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lost);
        let (log, thread) = AuditLog::start(Box::new(Full), move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        log.record("a", Record::default);
        drop(log);
        thread.join().unwrap();
        assert_eq!(lost.load(Ordering::SeqCst), 1);
    }
}
