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
#[derive(Debug, Default)]
pub struct Ledger {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
    last: u64,
    dropped: u64,
}

impl Ledger {
    /// Records a request that is already answered; its number.
    pub fn record(&self, mut entry: Entry) -> u64 {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        kept.last += 1;
        entry.seq = kept.last;
        kept.bytes += entry.size();
        kept.entries.push_back(entry);
        while kept.entries.len() > MOST_ENTRIES || (kept.bytes > MOST_BYTES && kept.entries.len() > 1) {
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
