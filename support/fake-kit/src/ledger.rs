//! The record of every request a fake saw, with the source it came from. Bounded in entries and bytes.
//! It must not know what the requests mean; facts are the fake's own words.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fault::Facts;
use crate::serve::{Malformed, Request};

/// Entries kept; older ones are dropped and counted.
pub const MOST_ENTRIES: usize = 200_000;
/// Text kept in all entries together; a flood of long requests must not exhaust the machine.
pub const MOST_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of a target that an entry keeps.
const TARGET_BYTES: usize = 8 * 1024;
/// Bytes of all header names and values that an entry keeps.
const HEADER_BYTES: usize = 32 * 1024;
/// What an entry takes beside its text, roughly.
const ENTRY_BYTES: usize = 512;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1, in the order of arrival.
    pub seq: u64,
    /// When it arrived, by the fake's clock.
    pub at: Timestamp,
    /// The fake that saw it.
    pub service: String,
    /// The peer's address and port.
    pub source: String,
    /// The address and port that it reached.
    pub local: String,
    /// The method; empty if what came was no request.
    pub method: String,
    /// The target as received; of what was no request, its first line.
    pub target: String,
    /// The headers, names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// How long the body was.
    pub body_bytes: u64,
    /// What the fake states about the request.
    pub facts: Facts,
    /// What was answered.
    pub answer: Answered,
}

/// What was answered, and a short reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// HTTP status; 0 while, or if, there is no answer.
    pub status: u16,
    /// Why.
    pub reason: String,
}

impl Entry {
    /// The entry for a request that has not been answered yet.
    pub fn of(service: &str, at: Timestamp, request: &Request, facts: Facts) -> Self {
        let mut room = HEADER_BYTES;
        let mut headers = Vec::with_capacity(request.headers.len());
        for (name, value) in &request.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let size = name.as_str().len() + value.len();
            if size > room {
                headers.push((name.as_str().to_owned(), cut(&value, room)));
                break;
            }
            room -= size;
            headers.push((name.as_str().to_owned(), value.into_owned()));
        }
        Self {
            seq: 0,
            at,
            service: service.to_owned(),
            source: request.connection.source().to_owned(),
            local: request.connection.local().to_owned(),
            method: request.method.as_str().to_owned(),
            target: cut(&request.target, TARGET_BYTES),
            headers,
            body_bytes: u64::try_from(request.body.len()).unwrap_or(u64::MAX),
            facts,
            answer: Answered {
                status: 0,
                reason: "not answered yet".to_owned(),
            },
        }
    }

    /// The entry for what never became a request.
    pub fn malformed(service: &str, at: Timestamp, malformed: &Malformed) -> Self {
        let text = String::from_utf8_lossy(&malformed.received);
        let first = text.trim_start().lines().next().unwrap_or_default();
        Self {
            seq: 0,
            at,
            service: service.to_owned(),
            source: malformed.connection.source().to_owned(),
            local: malformed.connection.local().to_owned(),
            method: String::new(),
            target: cut(first, TARGET_BYTES),
            headers: Vec::new(),
            body_bytes: 0,
            facts: Facts::from([("malformed".to_owned(), malformed.reason.clone())]),
            answer: Answered {
                status: malformed.status,
                reason: format!("malformed: {}", malformed.reason),
            },
        }
    }

    fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        ENTRY_BYTES + self.target.len() + headers
    }
}

fn cut(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// A page of the ledger, as the control API gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The entries asked for.
    pub entries: Vec<Entry>,
    /// What to ask for next.
    pub next: u64,
    /// How many entries were lost to the bounds since the last reset.
    pub dropped: u64,
}

/// The record of one fake.
#[derive(Debug)]
pub struct Ledger {
    most_entries: usize,
    most_bytes: usize,
    kept: Mutex<Kept>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::bounded(MOST_ENTRIES, MOST_BYTES)
    }
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
    last: u64,
    dropped: u64,
}

impl Ledger {
    /// A ledger that keeps at most so many entries, and of their text about so many bytes.
    pub fn bounded(most_entries: usize, most_bytes: usize) -> Self {
        Self {
            most_entries,
            most_bytes,
            kept: Mutex::default(),
        }
    }

    /// Records a request that is already answered; its number.
    pub fn record(&self, mut entry: Entry) -> u64 {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        kept.last += 1;
        entry.seq = kept.last;
        kept.bytes += entry.size();
        kept.entries.push_back(entry);
        while kept.entries.len() > self.most_entries || (kept.bytes > self.most_bytes && kept.entries.len() > 1) {
            let Some(lost) = kept.entries.pop_front() else { break };
            kept.bytes = kept.bytes.saturating_sub(lost.size());
            kept.dropped += 1;
        }
        kept.last
    }

    /// Records a request on arrival, so that one that never gets an answer counts too.
    pub fn open(self: &Arc<Self>, entry: Entry) -> Open {
        Open {
            seq: self.record(entry),
            ledger: Arc::clone(self),
            answered: false,
        }
    }

    /// The entries with a number of at least `seq`.
    pub fn since(&self, seq: u64) -> Page {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.entries.front().map_or(1, |entry| entry.seq);
        let skip = usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX);
        Page {
            entries: kept.entries.iter().skip(skip).cloned().collect(),
            next: kept.last + 1,
            dropped: kept.dropped,
        }
    }

    /// What the kept entries say to that, without copying them all.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&VecDeque<Entry>, u64) -> T) -> T {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        look(&kept.entries, kept.dropped)
    }

    /// The number that the next entry gets.
    pub fn next(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).last + 1
    }

    /// Forgets everything; numbers go on.
    pub fn clear(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kept.last;
        *kept = Kept {
            last,
            ..Kept::default()
        };
    }

    fn change(&self, seq: u64, change: impl FnOnce(&mut Entry)) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = kept.entries.front().map(|entry| entry.seq) else {
            return;
        };
        let index = seq.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| kept.entries.get_mut(index)) {
            change(entry);
        }
    }
}

/// An entry whose answer is still to come. Dropped without one, it says that the client left.
#[derive(Debug)]
pub struct Open {
    ledger: Arc<Ledger>,
    seq: u64,
    answered: bool,
}

impl Open {
    /// States another fact, or a better one.
    pub fn fact(&self, name: &str, value: impl Into<String>) {
        let value = value.into();
        self.ledger.change(self.seq, |entry| {
            entry.facts.insert(name.to_owned(), value);
        });
    }

    /// Writes the answer down.
    pub fn answer(mut self, status: u16, reason: impl Into<String>) {
        self.answered = true;
        let reason = reason.into();
        self.ledger
            .change(self.seq, |entry| entry.answer = Answered { status, reason });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.answered {
            self.ledger.change(self.seq, |entry| {
                "the connection ended before the answer".clone_into(&mut entry.answer.reason);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(target: &str) -> Entry {
        Entry {
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            service: "test".to_owned(),
            source: "127.0.0.1:1".to_owned(),
            local: "127.0.0.1:2".to_owned(),
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body_bytes: 0,
            facts: Facts::new(),
            answer: Answered {
                status: 200,
                reason: "fine".to_owned(),
            },
        }
    }

    #[test]
    fn pages_continue_where_the_last_one_ended() {
        let ledger = Ledger::default();
        assert_eq!(
            ledger.since(0),
            Page {
                entries: vec![],
                next: 1,
                dropped: 0
            }
        );
        ledger.record(entry("/1"));
        ledger.record(entry("/2"));
        assert_eq!(ledger.since(0).entries.len(), 2);
        let page = ledger.since(2);
        assert_eq!(
            (page.entries.len(), page.entries[0].target.as_str(), page.next),
            (1, "/2", 3)
        );
        assert!(ledger.since(page.next).entries.is_empty());
        ledger.clear();
        assert_eq!(ledger.record(entry("/3")), 3);
    }

    #[test]
    fn old_entries_are_dropped_and_counted() {
        let ledger = Ledger::bounded(3, usize::MAX);
        for _ in 0..5 {
            ledger.record(entry("/"));
        }
        let page = ledger.since(0);
        assert_eq!((page.entries.len(), page.dropped, page.entries[0].seq), (3, 2, 3));
        ledger.change(1, |_| panic!("it is gone"));
        let ledger = Ledger::bounded(usize::MAX, 3 * (ENTRY_BYTES + 100));
        for _ in 0..5 {
            ledger.record(entry(&"x".repeat(100)));
        }
        assert_eq!((ledger.since(0).entries.len(), ledger.since(0).dropped), (3, 2));
    }

    #[test]
    fn an_entry_is_answered_once_or_says_that_the_connection_ended() {
        let ledger = Arc::new(Ledger::default());
        let open = ledger.open(entry("/a"));
        open.fact("role", "x");
        open.answer(403, "refused");
        drop(ledger.open(entry("/b")));
        let entries = ledger.since(0).entries;
        assert_eq!(
            entries[0].answer,
            Answered {
                status: 403,
                reason: "refused".to_owned()
            }
        );
        assert_eq!(entries[0].facts["role"], "x");
        assert_eq!(entries[1].answer.reason, "the connection ended before the answer");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("grün", 3), "gr");
        assert_eq!(cut("grün", 4), "grü");
    }

    #[test]
    fn an_entry_has_the_form_of_the_control_api() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&entry("/x?y")).unwrap(), @r#"
        {
          "seq": 0,
          "at": "1970-01-01T00:00:00Z",
          "service": "test",
          "source": "127.0.0.1:1",
          "local": "127.0.0.1:2",
          "method": "GET",
          "target": "/x?y",
          "headers": [],
          "body_bytes": 0,
          "facts": {},
          "answer": {
            "status": 200,
            "reason": "fine"
          }
        }
        "#);
    }
}
