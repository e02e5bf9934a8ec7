//! An entry as it is kept: one block of bytes, read again only when somebody asks. It must not know who asks, nor for what.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Answered, Entry};

/// What the allocator needs for a block beside its bytes.
const ALLOCATION: usize = 16;
/// Room that is kept for the answer, which comes later.
const ANSWER_BYTES: usize = 40;
/// What an entry without an answer says.
const UNANSWERED: &str = "not answered yet";

const HEADER: u8 = b'h';
const FACT: u8 = b'f';
const ANSWER: u8 = b'a';

/// A packed entry: time, then service, source, local, method, target and the body's length, then any number of marked parts. Of facts with one
/// name, and of answers, the last counts. Numbers take seven bits a byte, texts their length before them.
#[derive(Debug)]
pub(crate) struct Packed(Vec<u8>);

/// The parts that every entry has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) at: Timestamp,
    pub(super) service: &'a str,
    pub(super) source: &'a str,
    pub(super) local: &'a str,
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) body_bytes: u64,
}

impl Packed {
    /// An entry without headers, facts and answer; `later` bytes of those are expected.
    pub(super) fn of(arrival: &Arrival<'_>, later: usize) -> Self {
        let texts = [
            arrival.service,
            arrival.source,
            arrival.local,
            arrival.method,
            arrival.target,
        ];
        let length: usize = texts.iter().map(|text| text.len() + 2).sum();
        let mut packed = Self(Vec::with_capacity(length + later + ANSWER_BYTES + 16));
        packed.0.extend(arrival.at.as_second().to_le_bytes());
        packed.0.extend(arrival.at.subsec_nanosecond().to_le_bytes());
        for text in texts {
            packed.text(text);
        }
        packed.number(arrival.body_bytes);
        packed
    }

    /// As it was unpacked.
    pub(super) fn again(entry: &Entry) -> Self {
        let arrival = Arrival {
            at: entry.at,
            service: &entry.service,
            source: &entry.source,
            local: &entry.local,
            method: &entry.method,
            target: &entry.target,
            body_bytes: entry.body_bytes,
        };
        let mut packed = Self::of(&arrival, 0);
        for (name, value) in &entry.headers {
            packed.header(name, value);
        }
        for (name, value) in &entry.facts {
            packed.fact(name, value);
        }
        packed.answer(entry.answer.status, &entry.answer.reason);
        packed
    }

    pub(super) fn header(&mut self, name: &str, value: &str) {
        self.part(HEADER, name, value);
    }

    pub(super) fn fact(&mut self, name: &str, value: &str) {
        self.part(FACT, name, value);
    }

    fn part(&mut self, mark: u8, name: &str, value: &str) {
        self.0.reserve_exact(room(name) + room(value) + 1);
        self.0.push(mark);
        self.text(name);
        self.text(value);
    }

    pub(super) fn answer(&mut self, status: u16, reason: &str) {
        self.0.reserve_exact(room(reason) + 3);
        self.0.push(ANSWER);
        self.0.extend(status.to_le_bytes());
        self.text(reason);
    }

    /// What it takes of the machine's memory.
    pub(super) fn occupied(&self) -> usize {
        self.0.capacity() + ALLOCATION
    }

    fn text(&mut self, text: &str) {
        self.number(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.0.extend(text.as_bytes());
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(low_bits(number) | 0x80);
            number >>= 7;
        }
        self.0.push(low_bits(number));
    }

    fn read(&self) -> (Arrival<'_>, Parts<'_>) {
        let mut rest = Rest(&self.0);
        let seconds = i64::from_le_bytes(rest.array());
        let nanoseconds = i32::from_le_bytes(rest.array());
        let arrival = Arrival {
            at: Timestamp::new(seconds, nanoseconds).unwrap_or_default(),
            service: rest.text(),
            source: rest.text(),
            local: rest.text(),
            method: rest.text(),
            target: rest.text(),
            body_bytes: rest.number(),
        };
        (arrival, Parts(rest))
    }

    /// The whole entry, which is the `seq`th.
    pub(crate) fn entry(&self, seq: u64) -> Entry {
        let (arrival, parts) = self.read();
        let (mut headers, mut facts) = (Vec::new(), BTreeMap::new());
        let mut answer = Part::UNANSWERED;
        for part in parts {
            match part {
                Part::Header(name, value) => headers.push((name.to_owned(), value.to_owned())),
                Part::Fact(name, value) => {
                    facts.insert(name.to_owned(), value.to_owned());
                }
                Part::Answer(status, reason) => answer = (status, reason),
            }
        }
        Entry {
            seq,
            at: arrival.at,
            service: arrival.service.to_owned(),
            source: arrival.source.to_owned(),
            local: arrival.local.to_owned(),
            method: arrival.method.to_owned(),
            target: arrival.target.to_owned(),
            headers,
            body_bytes: arrival.body_bytes,
            facts,
            answer: Answered {
                status: answer.0,
                reason: answer.1.to_owned(),
            },
        }
    }

    /// What it says to a name: a fact of that name, one of [`crate::question::NAMES`], or `header:NAME`.
    pub(crate) fn says(&self, name: &str) -> Option<Cow<'_, str>> {
        let (arrival, parts) = self.read();
        let mut answer = Part::UNANSWERED;
        let (mut fact, mut header) = (None, None);
        let wanted = name.strip_prefix("header:");
        for part in parts {
            match part {
                Part::Fact(known, value) if known == name => fact = Some(value),
                Part::Header(known, value) if wanted.is_some_and(|wanted| known.eq_ignore_ascii_case(wanted)) => {
                    header = header.or(Some(value));
                }
                Part::Answer(status, reason) => answer = (status, reason),
                Part::Fact(..) | Part::Header(..) => {}
            }
        }
        if let Some(fact) = fact {
            return Some(fact.into());
        }
        Some(match name {
            "service" => arrival.service.into(),
            "source" => arrival.source.into(),
            "client" => arrival
                .source
                .rsplit_once(':')
                .map_or(arrival.source, |(ip, _)| ip)
                .into(),
            "local" => arrival.local.into(),
            "method" => arrival.method.into(),
            "target" => arrival.target.into(),
            "status" => answer.0.to_string().into(),
            "reason" => answer.1.into(),
            _ => header?.into(),
        })
    }
}

/// At most the bytes that a text takes.
fn room(text: &str) -> usize {
    text.len() + 5
}

fn low_bits(number: u64) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low & 0x7f
}

/// What is marked in a block.
enum Part<'a> {
    Header(&'a str, &'a str),
    Fact(&'a str, &'a str),
    Answer(u16, &'a str),
}

impl Part<'_> {
    const UNANSWERED: (u16, &'static str) = (0, UNANSWERED);
}

/// The marked parts of a block.
struct Parts<'a>(Rest<'a>);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let rest = &mut self.0;
        let (mark, behind) = rest.0.split_first()?;
        rest.0 = behind;
        Some(match *mark {
            HEADER => Part::Header(rest.text(), rest.text()),
            FACT => Part::Fact(rest.text(), rest.text()),
            _ => Part::Answer(u16::from_le_bytes(rest.array()), rest.text()),
        })
    }
}

/// What of a block is still to be read. Of what is not there it reads nothing; a block is whole, since only this file writes it.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap_or([0; N])
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        for place in 0..10 {
            let [byte] = self.array();
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    fn text(&mut self) -> &'a str {
        let length = usize::try_from(self.number()).unwrap_or(usize::MAX);
        std::str::from_utf8(self.take(length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Entry> {
        let texts = proptest::collection::vec("\\PC{0,9}", 5);
        let pairs = proptest::collection::vec(("[a-z]{1,4}", "\\PC{0,200}"), 0..5);
        let facts = proptest::collection::btree_map("[a-z]{1,4}", "\\PC{0,20}", 0..5);
        let when = -1_000_000_i128..4_000_000_000_000_000_000_i128;
        (texts, pairs, facts, when, any::<u64>(), any::<u16>(), "\\PC{0,300}").prop_map(
            |(texts, headers, facts, at, body_bytes, status, reason)| Entry {
                seq: 7,
                at: Timestamp::from_nanosecond(at).unwrap(),
                service: texts[0].clone(),
                source: texts[1].clone(),
                local: texts[2].clone(),
                method: texts[3].clone(),
                target: texts[4].clone(),
                headers,
                body_bytes,
                facts,
                answer: Answered { status, reason },
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(entry in entries()) {
            prop_assert_eq!(Packed::again(&entry).entry(7), entry);
        }

        #[test]
        fn a_packed_entry_says_what_the_entry_does(entry in entries()) {
            let packed = Packed::again(&entry);
            for (name, value) in &entry.facts {
                prop_assert_eq!(packed.says(name).unwrap(), value.as_str());
            }
            if let Some((name, _)) = entry.headers.first() {
                let first = entry.headers.iter().find(|(other, _)| other == name).unwrap();
                prop_assert_eq!(packed.says(&format!("header:{name}")).unwrap(), first.1.as_str());
            }
            prop_assert_eq!(packed.says("STATUS:"), None);
            prop_assert_eq!(packed.says("status").unwrap(), entry.answer.status.to_string());
        }

        #[test]
        fn a_broken_block_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let packed = Packed(bytes);
            let _entry = packed.entry(1);
            let _said = packed.says("path");
        }
    }

    #[test]
    fn a_later_fact_and_a_later_answer_count() {
        let arrival = Arrival {
            at: Timestamp::UNIX_EPOCH,
            service: "s",
            source: "unix",
            local: "unix:/s",
            method: "GET",
            target: "/",
            body_bytes: 0,
        };
        let mut packed = Packed::of(&arrival, 0);
        assert_eq!(packed.entry(1).answer.reason, UNANSWERED);
        packed.fact("role", "a");
        packed.fact("role", "b");
        packed.answer(200, "well");
        packed.answer(500, "no");
        assert_eq!(packed.entry(1).facts["role"], "b");
        assert_eq!(
            (packed.says("role").unwrap(), packed.says("reason").unwrap()),
            ("b".into(), "no".into())
        );
        assert_eq!(packed.says("client").unwrap(), "unix");
    }
}
