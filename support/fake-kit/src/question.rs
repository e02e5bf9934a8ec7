//! Questions to the ledger, and claims about it that hold or do not. It must not know what the facts mean.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::glob::Glob;
use crate::ledger::{Entry, Ledger, Packed, Page, Size};

/// What every entry can be asked for, beside its facts and `header:NAME`. The client is the source without its port.
pub const NAMES: &[&str] = &[
    "method", "service", "source", "client", "local", "target", "status", "reason",
];
/// Entries that an unmet claim shows.
const SHOWN: usize = 20;

/// What is asked of entries, by name.
pub type Matches = BTreeMap<String, Glob>;

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// With a number of at least this.
    pub since: u64,
    /// All of these must match; an entry that lacks one does not.
    pub matches: Matches,
}

/// A claim about the requests that were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assertion {
    /// Which requests it is about; all of these must match.
    #[serde(rename = "match", skip_serializing_if = "Matches::is_empty")]
    pub matches: Matches,
    /// There are exactly so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exactly: Option<usize>,
    /// There are at least so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<usize>,
    /// There are at most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<usize>,
    /// They are counted for each value of this by itself, also where a value has none: `client` for each client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// Requests like these were made in this order, others between them or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_order: Vec<Matches>,
}

/// A claim that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{said}")]
pub struct Unmet {
    /// Why, in words.
    pub said: String,
    /// The claim.
    pub assertion: Assertion,
    /// The requests that it is about; the first of them.
    pub entries: Vec<Entry>,
}

impl Assertion {
    /// No request like these was made.
    pub fn none(matches: impl Into<Matches>) -> Self {
        Self::exactly(0, matches)
    }

    /// Exactly so many requests like these were made.
    pub fn exactly(count: usize, matches: impl Into<Matches>) -> Self {
        Self {
            matches: matches.into(),
            exactly: Some(count),
            ..Self::default()
        }
    }

    /// At least so many requests like these were made.
    pub fn at_least(count: usize, matches: impl Into<Matches>) -> Self {
        Self {
            matches: matches.into(),
            at_least: Some(count),
            ..Self::default()
        }
    }

    /// Requests like these were made one after the other.
    pub fn in_order(requests: impl IntoIterator<Item = Matches>) -> Self {
        Self {
            in_order: requests.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Counted for each value of this by itself.
    #[must_use]
    pub fn per(self, name: impl Into<String>) -> Self {
        Self {
            per: Some(name.into()),
            ..self
        }
    }

    /// Everything that it asks entries for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let ordered = self.in_order.iter().flat_map(BTreeMap::keys);
        self.matches.keys().chain(ordered).chain(&self.per).map(String::as_str)
    }

    fn fits(&self, count: usize) -> bool {
        self.exactly.is_none_or(|exactly| count == exactly)
            && self.at_least.is_none_or(|least| count >= least)
            && self.at_most.is_none_or(|most| count <= most)
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// Names and patterns, as a question takes them.
pub fn matches<const N: usize>(pairs: [(&str, &str); N]) -> Matches {
    pairs
        .into_iter()
        .map(|(name, pattern)| (name.to_owned(), Glob::new(pattern)))
        .collect()
}

fn fit(packed: &Packed, matches: &Matches) -> bool {
    matches
        .iter()
        .all(|(name, glob)| packed.says(name).is_some_and(|said| glob.matches(&said)))
}

/// Entries were lost, so that nobody knows what they said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger has lost {dropped} entries, so nobody knows; reset it earlier, or let it be larger than {size}")]
pub struct Lost {
    /// How many.
    pub dropped: u64,
    /// The size of the ledger.
    pub size: Size,
}

impl Question {
    /// Whether an entry with a number that is asked for is wanted.
    pub(crate) fn wants(&self, packed: &Packed) -> bool {
        fit(packed, &self.matches)
    }
}

impl Ledger {
    /// The entries that a question asks for, and how many others were lost.
    pub fn answer(&self, question: &Question) -> Page {
        self.look(|view| Page {
            entries: view
                .since(question.since)
                .filter(|(_, packed)| question.wants(packed))
                .map(|(seq, packed)| packed.entry(seq))
                .collect(),
            next: view.next(),
            dropped: view.dropped(),
        })
    }

    /// The requests that these match.
    ///
    /// # Errors
    /// Entries were lost, which may have matched.
    pub fn find(&self, matches: impl Into<Matches>) -> Result<Vec<Entry>, Lost> {
        let matches = matches.into();
        let page = self.answer(&Question { since: 0, matches });
        self.lost(page.dropped).map_or(Ok(page.entries), Err)
    }

    fn lost(&self, dropped: u64) -> Option<Lost> {
        let size = self.size();
        (dropped > 0).then_some(Lost { dropped, size })
    }

    /// Whether a claim holds.
    ///
    /// # Errors
    /// It does not, or entries were lost, so that nobody knows.
    pub fn check(&self, assertion: &Assertion) -> Result<(), Box<Unmet>> {
        self.look(|view| {
            let unmet = |said: String, shown: &[(u64, &Packed)]| {
                let shown = shown.iter().take(SHOWN);
                Box::new(Unmet {
                    said,
                    assertion: assertion.clone(),
                    entries: shown.map(|(seq, packed)| packed.entry(*seq)).collect(),
                })
            };
            if let Some(lost) = self.lost(view.dropped()) {
                return Err(unmet(lost.to_string(), &[]));
            }
            let all: Vec<(u64, &Packed)> = view.since(0).collect();
            let fitting = all.iter().filter(|(_, packed)| fit(packed, &assertion.matches));
            let about: Vec<(u64, &Packed)> = fitting.copied().collect();
            if let Some(name) = &assertion.per {
                let mut counts: BTreeMap<Cow<'_, str>, Vec<(u64, &Packed)>> = BTreeMap::new();
                for value in all.iter().filter_map(|(_, packed)| packed.says(name)) {
                    counts.entry(value).or_default();
                }
                for (seq, packed) in &about {
                    if let Some(own) = packed.says(name).and_then(|value| counts.get_mut(&value)) {
                        own.push((*seq, packed));
                    }
                }
                for (value, own) in &counts {
                    if !assertion.fits(own.len()) {
                        let said = format!("{name} {value}: {} of {assertion}", counted(own.len()));
                        return Err(unmet(said, own));
                    }
                }
            } else if !assertion.fits(about.len()) {
                let said = format!("{} of {assertion}", counted(about.len()));
                return Err(unmet(said, &about));
            }
            let mut rest = all.iter();
            for (number, wanted) in assertion.in_order.iter().enumerate() {
                if !rest.any(|(_, packed)| fit(packed, wanted)) {
                    let said = format!("there is no request {} in this order of {assertion}", number + 1);
                    return Err(unmet(said, &all));
                }
            }
            Ok(())
        })
    }
}

fn counted(count: usize) -> String {
    if count == 1 {
        "there is 1 request".to_owned()
    } else {
        format!("there are {count} requests")
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::ledger::Answered;

    fn ledger(requests: &[(&str, &str, &str)]) -> Ledger {
        let ledger = Ledger::default();
        for (client, method, path) in requests {
            ledger.record(&Entry {
                seq: 0,
                at: Timestamp::UNIX_EPOCH,
                service: "test".to_owned(),
                source: format!("{client}:1234"),
                local: "127.0.0.1:80".to_owned(),
                method: (*method).to_owned(),
                target: (*path).to_owned(),
                headers: vec![("user-agent".to_owned(), "it".to_owned())],
                body_bytes: 0,
                facts: BTreeMap::from([("path".to_owned(), (*path).to_owned())]),
                answer: Answered {
                    status: 200,
                    reason: "fine".to_owned(),
                },
            });
        }
        ledger
    }

    fn claim(json: &str) -> Assertion {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn entries_are_found_by_everything_that_they_say() {
        let ledger = ledger(&[
            ("10.0.0.1", "PUT", "/t"),
            ("10.0.0.1", "GET", "/x"),
            ("[fd00::2]", "GET", "/y"),
        ]);
        for (name, pattern, count) in [
            ("method", "GET", 2),
            ("path", "/?", 3),
            ("client", "10.0.0.1", 2),
            ("client", "[fd00::2]", 1),
            ("source", "10.0.0.1:*", 2),
            ("status", "200", 3),
            ("status", "4??", 0),
            ("header:User-Agent", "it", 3),
            ("header:host", "*", 0),
            ("colour", "*", 0),
        ] {
            assert_eq!(
                ledger.find(matches([(name, pattern)])).unwrap().len(),
                count,
                "{name} {pattern}"
            );
        }
        let question = Question {
            since: 3,
            matches: matches([("method", "GET")]),
        };
        assert_eq!(
            (ledger.answer(&question).entries.len(), ledger.answer(&question).next),
            (1, 4)
        );
    }

    #[test]
    fn claims_hold_or_say_why_not() {
        let ledger = ledger(&[
            ("10.0.0.1", "PUT", "/t"),
            ("10.0.0.1", "GET", "/x"),
            ("10.0.0.2", "GET", "/x"),
        ]);
        for json in [
            r#"{"match":{"path":"/nothing"},"exactly":0}"#,
            r#"{"match":{"path":"/x"},"at_least":1,"at_most":2}"#,
            r#"{"match":{"method":"GET"},"exactly":1,"per":"client"}"#,
            r#"{"in_order":[{"method":"PUT"},{"path":"/x"},{"client":"10.0.0.2"}]}"#,
            "{}",
        ] {
            assert_eq!(ledger.check(&claim(json)), Ok(()), "{json}");
        }
        let said: Vec<String> = [
            r#"{"match":{"path":"/x"},"exactly":0}"#,
            r#"{"match":{"method":"PUT"},"exactly":1,"per":"client"}"#,
            r#"{"in_order":[{"path":"/x"},{"method":"PUT"}]}"#,
        ]
        .map(|json| ledger.check(&claim(json)).unwrap_err().to_string())
        .into();
        insta::assert_snapshot!(said.join("\n"), @r#"
        there are 2 requests of {"match":{"path":"/x"},"exactly":0}
        client 10.0.0.2: there are 0 requests of {"match":{"method":"PUT"},"exactly":1,"per":"client"}
        there is no request 2 in this order of {"in_order":[{"path":"/x"},{"method":"PUT"}]}
        "#);
        assert_eq!(
            ledger
                .check(&Assertion::none(matches([("path", "/x")])))
                .unwrap_err()
                .entries
                .len(),
            2
        );
        assert!(
            ledger
                .check(&Assertion::at_least(1, matches([("path", "/t")])).per("client"))
                .is_err()
        );
    }

    #[test]
    fn a_ledger_that_lost_entries_claims_nothing() {
        let small = Ledger::bounded(Size::of_bytes(0));
        let one = ledger(&[("a", "GET", "/")]).since(0).entries.remove(0);
        let absent = || matches([("path", "/x")]);
        while small.since(u64::MAX).dropped == 0 {
            assert_eq!(small.check(&Assertion::none(absent())), Ok(()));
            assert_eq!(small.find(absent()), Ok(Vec::new()));
            for _ in 0..3 {
                small.record(&one);
            }
        }
        let unmet = small.check(&Assertion::none(absent())).unwrap_err();
        let lost = small.find(absent()).unwrap_err();
        assert_eq!(unmet.to_string(), lost.to_string());
        let said = lost.to_string().replace(&lost.dropped.to_string(), "N");
        insta::assert_snapshot!(said, @"the ledger has lost N entries, so nobody knows; reset it earlier, or let it be larger than 64KiB");
        assert!(small.check(&Assertion::at_least(0, absent())).is_err());
        small.clear();
        assert_eq!(small.check(&Assertion::none(absent())), Ok(()));
    }
}
