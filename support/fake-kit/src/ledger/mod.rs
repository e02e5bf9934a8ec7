//! The record of every request a fake saw, with the source it came from. Bounded by the memory that it takes.
//! It must not know what the requests mean; facts are the fake's own words.

mod packed;
mod size;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::malformed::Malformed;
use crate::serve::Request;
use packed::Arrival;
pub(crate) use packed::Packed;
pub use size::{Size, UnknownSize};

/// Bytes of a target that an entry keeps.
const TARGET_BYTES: usize = 8 * 1024;
/// Bytes of all header names and values that an entry keeps.
const HEADER_BYTES: usize = 32 * 1024;

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
    pub facts: BTreeMap<String, String>,
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

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
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
    size: Size,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    entries: VecDeque<Packed>,
    /// The number of the first of them, or of the next.
    first: u64,
    /// What all blocks take.
    bytes: usize,
    dropped: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 1,
            bytes: 0,
            dropped: 0,
        }
    }
}

impl Kept {
    fn next(&self) -> u64 {
        self.first
            .saturating_add(u64::try_from(self.entries.len()).unwrap_or(u64::MAX))
    }

    fn occupied(&self) -> usize {
        self.bytes + self.entries.capacity() * size_of::<Packed>()
    }

    fn drop_first(&mut self) {
        if let Some(lost) = self.entries.pop_front() {
            self.bytes = self.bytes.saturating_sub(lost.occupied());
            self.first += 1;
            self.dropped += 1;
        }
    }
}

/// What of a ledger can be looked at while nobody writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a>(&'a Kept);

impl<'a> View<'a> {
    /// The entries with a number of at least `seq`, in their order.
    pub(crate) fn since(self, seq: u64) -> impl Iterator<Item = (u64, &'a Packed)> {
        let skip = usize::try_from(seq.saturating_sub(self.0.first)).unwrap_or(usize::MAX);
        (self.0.first..).zip(&self.0.entries).skip(skip)
    }

    /// The number that the next entry gets.
    pub(crate) fn next(self) -> u64 {
        self.0.next()
    }

    /// How many entries were lost since the last reset.
    pub(crate) fn dropped(self) -> u64 {
        self.0.dropped
    }
}

impl Ledger {
    /// A ledger that takes so much memory; older entries are dropped and counted. The last one is always kept.
    pub fn bounded(size: Size) -> Self {
        Self {
            size,
            kept: Mutex::default(),
        }
    }

    /// The memory that it may take.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Records a request that is already answered; its number, whatever the entry says.
    pub fn record(&self, entry: &Entry) -> u64 {
        self.keep(Packed::again(entry))
    }

    /// Records what never became a request; its number.
    pub fn record_malformed(&self, service: &str, at: Timestamp, malformed: &Malformed) -> u64 {
        let text = String::from_utf8_lossy(&malformed.received);
        let first = text.trim_start().lines().next().unwrap_or_default();
        let arrival = Arrival {
            at,
            service,
            source: malformed.connection.source(),
            local: malformed.connection.local(),
            method: "",
            target: cut(first, TARGET_BYTES),
            body_bytes: 0,
        };
        let mut packed = Packed::of(&arrival, 0);
        packed.fact("malformed", &malformed.reason);
        packed.answer(malformed.status, &format!("malformed: {}", malformed.reason));
        self.keep(packed)
    }

    /// Records a request on arrival, so that one that never gets an answer counts too.
    pub fn open(self: &Arc<Self>, service: &str, at: Timestamp, request: &Request, facts: &Facts) -> Open {
        let arrival = Arrival {
            at,
            service,
            source: request.connection.source(),
            local: request.connection.local(),
            method: request.method.as_str(),
            target: cut(request.target(), TARGET_BYTES),
            body_bytes: u64::try_from(request.body.len()).unwrap_or(u64::MAX),
        };
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4);
        let stated = facts.iter().map(|(name, value)| name.len() + value.len() + 4);
        let mut packed = Packed::of(
            &arrival,
            headers.sum::<usize>().min(HEADER_BYTES) + stated.sum::<usize>(),
        );
        let mut room = HEADER_BYTES;
        for (name, value) in &request.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let length = name.as_str().len() + value.len();
            if length > room {
                packed.header(name.as_str(), cut(&value, room));
                break;
            }
            room -= length;
            packed.header(name.as_str(), &value);
        }
        for (name, value) in facts.iter() {
            packed.fact(name, value);
        }
        Open {
            seq: self.keep(packed),
            ledger: Arc::clone(self),
            answered: false,
        }
    }

    fn keep(&self, packed: Packed) -> u64 {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = kept.next();
        kept.bytes += packed.occupied();
        kept.entries.push_back(packed);
        self.shorten(&mut kept);
        seq
    }

    fn shorten(&self, kept: &mut Kept) {
        while kept.occupied() > self.size.bytes() && kept.entries.len() > 1 {
            kept.drop_first();
        }
    }

    /// The entries with a number of at least `seq`.
    pub fn since(&self, seq: u64) -> Page {
        self.look(|view| Page {
            entries: view.since(seq).map(|(seq, packed)| packed.entry(seq)).collect(),
            next: view.next(),
            dropped: view.dropped(),
        })
    }

    /// What the kept entries say to that, without copying them all. Nobody writes meanwhile.
    pub(crate) fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        look(View(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The number that the next entry gets.
    pub fn next(&self) -> u64 {
        self.look(|view| view.next())
    }

    /// Forgets everything; numbers go on.
    pub fn clear(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.next();
        *kept = Kept {
            first,
            ..Kept::default()
        };
    }

    fn change(&self, seq: u64, change: impl FnOnce(&mut Packed)) {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        let index = seq
            .checked_sub(kept.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(packed) = index.and_then(|index| kept.entries.get_mut(index)) {
            let before = packed.occupied();
            change(packed);
            kept.bytes = (kept.bytes + packed.occupied()).saturating_sub(before);
            self.shorten(kept);
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
    pub fn fact(&self, name: &str, value: impl AsRef<str>) {
        self.ledger.change(self.seq, |packed| packed.fact(name, value.as_ref()));
    }

    /// Writes the answer down.
    pub fn answer(mut self, status: u16, reason: impl AsRef<str>) {
        self.answered = true;
        self.ledger
            .change(self.seq, |packed| packed.answer(status, reason.as_ref()));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.answered {
            self.ledger.change(self.seq, |packed| {
                packed.answer(0, "the connection ended before the answer");
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
            facts: BTreeMap::new(),
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
        ledger.record(&entry("/1"));
        ledger.record(&entry("/2"));
        assert_eq!(ledger.since(0).entries.len(), 2);
        let page = ledger.since(2);
        assert_eq!(
            (page.entries.len(), page.entries[0].target.as_str(), page.next),
            (1, "/2", 3)
        );
        assert!(ledger.since(page.next).entries.is_empty());
        ledger.clear();
        assert_eq!(ledger.record(&entry("/3")), 3);
    }

    #[test]
    fn old_entries_are_dropped_and_counted() {
        let ledger = Arc::new(Ledger::bounded(Size::of_bytes(0)));
        let count = 2_000;
        for number in 1..=count {
            ledger.record(&entry(&format!("/{number}")));
        }
        let page = ledger.since(0);
        assert_eq!((page.next, page.entries.last().unwrap().seq), (count + 1, count));
        assert_eq!(page.entries[0].seq, page.dropped + 1);
        assert_eq!(page.entries[0].target, format!("/{}", page.dropped + 1));
        assert!(page.dropped > 0 && page.entries.len() > 100);
        ledger.change(1, |_| panic!("it is gone"));
        ledger.clear();
        assert_eq!((ledger.since(0).dropped, ledger.next()), (0, count + 1));
    }

    #[test]
    fn what_is_kept_stays_below_the_size_also_while_answers_grow() {
        let ledger = Ledger::bounded(Size::of_bytes(100_000));
        for number in 0..1_000 {
            let seq = ledger.record(&entry(&"x".repeat(number % 700)));
            ledger.change(seq, |packed| packed.answer(200, &"y".repeat(number % 300)));
            let kept = ledger.kept.lock().unwrap();
            let blocks: usize = kept.entries.iter().map(Packed::occupied).sum();
            assert_eq!(kept.bytes, blocks);
            assert!(kept.occupied() <= 100_000);
        }
        let huge = entry(&"x".repeat(200_000));
        ledger.record(&huge);
        assert_eq!(
            ledger.since(0).entries[0].target,
            huge.target,
            "the last is kept, whatever it takes"
        );
    }

    #[test]
    fn an_entry_is_answered_once_or_says_that_the_connection_ended() {
        let ledger = Arc::new(Ledger::default());
        let open = |seq| Open {
            ledger: Arc::clone(&ledger),
            seq,
            answered: false,
        };
        let first = open(ledger.record(&entry("/a")));
        first.fact("role", "x");
        first.answer(403, "refused");
        drop(open(ledger.record(&entry("/b"))));
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
