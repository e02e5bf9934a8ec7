//! What a program writes: a bounded tail in memory that can be waited on, and the whole in a log file.

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// How much of a stream is kept in memory. A program's log of a whole run fits; one that floods loses its oldest bytes here, not in the file.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// One stream of a program, as far as it has been written.
#[derive(Debug)]
pub(crate) struct Captured {
    tail: Mutex<Tail>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    /// Offset in the stream of the first byte that is kept.
    start: u64,
    closed: bool,
}

/// Reads lines of a stream that is still being written, each once.
#[derive(Debug, Default)]
pub(crate) struct LineCursor {
    offset: u64,
    partial: Vec<u8>,
}

impl Captured {
    /// Drains `stream` on a thread until it ends, into memory and into `log`.
    pub(crate) fn drain(mut stream: impl Read + Send + 'static, mut log: Option<File>) -> std::io::Result<Arc<Self>> {
        let captured = Arc::new(Self {
            tail: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        let filled = Arc::clone(&captured);
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut buffer = vec![0_u8; 64 * 1024];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => {
                        let bytes = buffer.get(..length).unwrap_or_default();
                        // A log file that cannot be written (a full disk) must not stop the program that is being watched.
                        if log.as_mut().is_some_and(|file| file.write_all(bytes).is_err()) {
                            log = None;
                        }
                        filled.push(bytes);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            filled.close();
        })?;
        Ok(captured)
    }

    /// Told of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What is kept, as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.iter().copied().collect()
    }

    /// What is kept, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Whether the stream has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whole lines after the cursor; a last line without an end counts once the stream is closed.
    pub(crate) fn lines(&self, cursor: &mut LineCursor) -> Vec<String> {
        let tail = self.lock();
        if cursor.offset < tail.start {
            cursor.partial.clear();
            cursor.offset = tail.start;
        }
        let skip = usize::try_from(cursor.offset - tail.start).unwrap_or(usize::MAX);
        let mut lines = Vec::new();
        for byte in tail.bytes.iter().skip(skip) {
            cursor.offset += 1;
            if *byte == b'\n' {
                lines.push(String::from_utf8_lossy(&cursor.partial).into_owned());
                cursor.partial.clear();
            } else {
                cursor.partial.push(*byte);
            }
        }
        if tail.closed && !cursor.partial.is_empty() {
            lines.push(String::from_utf8_lossy(&cursor.partial).into_owned());
            cursor.partial.clear();
        }
        lines
    }

    fn push(&self, bytes: &[u8]) {
        let mut tail = self.lock();
        tail.bytes.extend(bytes);
        let excess = tail.bytes.len().saturating_sub(KEPT_BYTES);
        tail.bytes.drain(..excess);
        tail.start += u64::try_from(excess).unwrap_or_default();
        drop(tail);
        self.changed.send_modify(|version| *version += 1);
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn drained(bytes: &'static [u8]) -> Arc<Captured> {
        let captured = Captured::drain(bytes, None).unwrap();
        let mut changes = captured.changes();
        while !captured.is_closed() {
            changes.changed().await.unwrap();
        }
        captured
    }

    #[tokio::test]
    async fn lines_come_once_and_the_last_without_an_end_too() {
        let captured = drained(b"one\ntwo\nthree").await;
        let mut cursor = LineCursor::default();
        assert_eq!(captured.lines(&mut cursor), ["one", "two", "three"]);
        assert!(captured.lines(&mut cursor).is_empty());
    }

    #[tokio::test]
    async fn a_flood_keeps_its_end() {
        let flood: &'static [u8] = vec![b'x'; KEPT_BYTES + 3].leak();
        let captured = drained(flood).await;
        captured.push(b"\nend\n");
        assert_eq!(captured.bytes().len(), KEPT_BYTES);
        assert_eq!(captured.lines(&mut LineCursor::default()).last().unwrap(), "end");
    }
}
