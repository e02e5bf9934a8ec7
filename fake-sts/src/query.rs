//! The parameters of the Query protocol: form and query-string decoding. It must not know which parameters an action has.

use thiserror::Error;

/// Decoded name-value pairs in wire order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

/// Why a query or form could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QueryError {
    /// A `%` that two hex digits do not follow.
    #[error("bad percent escape at byte {at}")]
    BadEscape {
        /// Where in the text.
        at: usize,
    },
    /// The decoded bytes are not UTF-8.
    #[error("not UTF-8 once decoded")]
    NotUtf8,
}

impl Parameters {
    /// Reads `name=value&…`, with `+` as a space. Empty pieces are skipped; a piece without `=` has an empty value.
    ///
    /// # Errors
    /// A bad escape, or bytes that are not UTF-8.
    pub fn parse(text: &[u8]) -> Result<Self, QueryError> {
        let mut pairs = Vec::new();
        let mut start = 0;
        for piece in text.split(|byte| *byte == b'&') {
            if !piece.is_empty() {
                let mut halves = piece.splitn(2, |byte| *byte == b'=');
                let name = halves.next().unwrap_or_default();
                let value = halves.next().unwrap_or_default();
                pairs.push((decode(name, start)?, decode(value, start + name.len() + 1)?));
            }
            start += piece.len() + 1;
        }
        Ok(Self(pairs))
    }

    /// These parameters, then `other`'s.
    #[must_use]
    pub fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The value of `name`. Where a name stands twice the first wins, as it does in STS.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// These parameters but those of that name.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(key, _)| key != name).cloned().collect())
    }

    /// All pairs in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The members of a list such as `Tags.member.N.Key`: what follows `NAME.member.N`, by rising N, first of equal names first.
    #[must_use]
    pub fn members(&self, name: &str) -> Vec<(u32, &str, &str)> {
        let mut found: Vec<_> = self
            .iter()
            .filter_map(|(key, value)| {
                let rest = key.strip_prefix(name)?.strip_prefix(".member.")?;
                let (index, field) = rest.split_once('.').unwrap_or((rest, ""));
                Some((index.parse().ok()?, field, value))
            })
            .collect();
        found.sort_by_key(|(index, _, _)| *index);
        found
    }
}

fn decode(text: &[u8], start: usize) -> Result<String, QueryError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => break,
            [b'+', tail @ ..] => {
                bytes.push(b' ');
                tail
            }
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(nibble(*high) << 4 | nibble(*low));
                tail
            }
            [b'%', ..] => {
                return Err(QueryError::BadEscape {
                    at: start + text.len() - rest.len(),
                });
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                tail
            }
        };
    }
    String::from_utf8(bytes).map_err(|_| QueryError::NotUtf8)
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        // The caller has asked is_ascii_hexdigit.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Parameters, QueryError};
    use proptest::prelude::*;

    #[test]
    fn the_first_of_two_equal_names_wins() {
        let parameters = Parameters::parse(b"Action=A&Action=B&&x&y=a=b+c%20d%C3%A9").unwrap();
        assert_eq!(parameters.get("Action"), Some("A"));
        assert_eq!(parameters.get("x"), Some(""));
        assert_eq!(parameters.get("y"), Some("a=b c d\u{e9}"));
        assert_eq!(parameters.get("z"), None);
    }

    #[test]
    fn a_bad_escape_is_refused_with_its_place() {
        assert_eq!(Parameters::parse(b"a=1&b=%4"), Err(QueryError::BadEscape { at: 6 }));
        assert_eq!(Parameters::parse(b"%zz=1"), Err(QueryError::BadEscape { at: 0 }));
        assert_eq!(Parameters::parse(b"a=%ff"), Err(QueryError::NotUtf8));
    }

    #[test]
    fn list_members_come_by_their_number() {
        let parameters =
            Parameters::parse(b"T.member.10.Key=c&T.member.2.Key=b&T.member.2.Value=v&T.member.x=no").unwrap();
        assert_eq!(
            parameters.members("T"),
            [(2, "Key", "b"), (2, "Value", "v"), (10, "Key", "c")]
        );
    }

    fn escape(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    proptest! {
        #[test]
        fn what_was_escaped_is_read_back(pairs in proptest::collection::vec((".{1,12}", ".{0,12}"), 0..6)) {
            let text: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
            let read = Parameters::parse(text.join("&").as_bytes()).unwrap();
            let read: Vec<_> = read.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = Parameters::parse(&bytes);
        }
    }
}
