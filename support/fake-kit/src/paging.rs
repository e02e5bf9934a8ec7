//! A page of the ledger as JSON, piece by piece: a large ledger is never unpacked as a whole, nor locked for long.
//! It must not know how it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use crate::ledger::Ledger;
use crate::question::Question;

/// Bytes of a piece, roughly.
const PIECE_BYTES: usize = 64 * 1024;
/// Entries that are looked at under one lock.
const LOOKED_AT: usize = 1024;

/// What [`Ledger::answer`] gives, in JSON. It ends with the entries that there were when it began.
#[derive(Debug)]
pub struct Paging {
    ledger: Arc<Ledger>,
    question: Question,
    /// The number of the next entry to look at.
    at: u64,
    /// The number after the last entry that is asked for.
    end: u64,
    /// What stands before the next entry.
    before: &'static str,
    /// The next piece.
    ready: Vec<u8>,
    ended: bool,
}

impl Paging {
    /// The page that answers a question.
    pub fn new(ledger: Arc<Ledger>, question: Question) -> Self {
        let mut paging = Self {
            at: question.since,
            end: ledger.next(),
            ledger,
            question,
            before: "{\"entries\":[",
            ready: Vec::new(),
            ended: false,
        };
        paging.prepare();
        paging
    }

    /// The whole page, if it is of one piece.
    ///
    /// # Errors
    /// It is not: the pieces.
    pub fn whole(self) -> Result<Vec<u8>, Self> {
        if self.ended { Ok(self.ready) } else { Err(self) }
    }

    /// The next piece; nothing after the last.
    pub fn piece(&mut self) -> Vec<u8> {
        let piece = std::mem::take(&mut self.ready);
        self.prepare();
        piece
    }

    fn prepare(&mut self) {
        let mut text = Vec::new();
        while !self.ended && text.len() < PIECE_BYTES {
            self.write(&mut text);
        }
        self.ready = text;
    }

    fn write(&mut self, text: &mut Vec<u8>) {
        let ledger = Arc::clone(&self.ledger);
        ledger.look(|view| {
            let mut left = view.since(self.at).take_while(|(seq, _)| *seq < self.end).peekable();
            for (seq, packed) in left.by_ref().take(LOOKED_AT) {
                self.at = seq + 1;
                if self.question.wants(packed) {
                    text.extend(self.before.bytes());
                    self.before = ",";
                    // Texts and numbers can always be written.
                    let _written = serde_json::to_writer(&mut *text, &packed.entry(seq));
                }
                if text.len() >= PIECE_BYTES {
                    break;
                }
            }
            if left.peek().is_none() {
                if self.before != "," {
                    text.extend(self.before.bytes());
                }
                let (next, dropped) = (self.end, view.dropped());
                text.extend(format!("],\"next\":{next},\"dropped\":{dropped}}}").into_bytes());
                self.ended = true;
            }
        });
    }
}

impl Body for Paging {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.piece();
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::{Answered, Entry, Page};
    use crate::question::matches;

    fn entry(target: String) -> Entry {
        Entry {
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            service: "test".to_owned(),
            source: "127.0.0.1:1".to_owned(),
            local: "127.0.0.1:2".to_owned(),
            method: "GET".to_owned(),
            target,
            headers: Vec::new(),
            body_bytes: 0,
            facts: BTreeMap::new(),
            answer: Answered {
                status: 200,
                reason: "fine".to_owned(),
            },
        }
    }

    fn pieces(mut paging: Paging) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| Some(paging.piece()).filter(|piece| !piece.is_empty())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pieces_together_are_the_page(count in 0_usize..3_000, since in 0_u64..3_500, odd: bool) {
            let ledger = Arc::new(Ledger::default());
            for number in 0..count {
                ledger.record(&entry(format!("/{}", number % 2)));
            }
            let matches = if odd { matches([("target", "/1")]) } else { matches([]) };
            let question = Question { since, matches };
            let pieces = pieces(Paging::new(Arc::clone(&ledger), question.clone()));
            prop_assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 1_000));
            let page: Page = serde_json::from_slice(&pieces.concat()).unwrap();
            prop_assert_eq!(page, ledger.answer(&question));
        }
    }

    #[test]
    fn what_comes_meanwhile_is_for_the_next_page_and_what_goes_is_counted() {
        let ledger = Arc::new(Ledger::bounded(crate::ledger::Size::of_bytes(1 << 20)));
        for number in 0..2_000 {
            ledger.record(&entry(format!("/{number}")));
        }
        let mut paging = Paging::new(Arc::clone(&ledger), Question::default());
        let mut text = paging.piece();
        assert!(!paging.ended);
        for number in 2_000..30_000 {
            ledger.record(&entry(format!("/{number}")));
        }
        text.extend(pieces(paging).concat());
        let page: Page = serde_json::from_slice(&text).unwrap();
        assert_eq!(page.next, 2_001);
        assert!(page.dropped > 2_000 && page.entries.len() < 2_000);
    }
}
