//! Placeholders: named values that the caller knows, and kinds of text that differ from answer to answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use regex::Regex;
use thiserror::Error;

/// The values of named placeholders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<String, String>);

/// Why a line with placeholders cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Neither a value nor a kind of text.
    #[error("nothing is known of the placeholder {{{name}}} in `{line}`")]
    Unknown {
        /// The placeholder.
        name: String,
        /// Where it stands.
        line: String,
    },
    /// A kind of text stands where the caller needs a value.
    #[error("the placeholder {{{name}}} in `{line}` has no value")]
    NoValue {
        /// The placeholder.
        name: String,
        /// Where it stands.
        line: String,
    },
}

impl Values {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let own = self.0.get(name).map(|value| Cow::Borrowed(value.as_str()));
        own.or_else(|| repeated(name).map(Cow::Owned))
    }

    /// A line of a request, with every placeholder replaced by its value.
    ///
    /// # Errors
    /// When one has none.
    pub fn fill(&self, line: &str) -> Result<String, PatternError> {
        let mut filled = String::with_capacity(line.len());
        for piece in pieces(line) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder(name) => {
                    let value = self.value(name).ok_or_else(|| PatternError::NoValue {
                        name: name.to_owned(),
                        line: line.to_owned(),
                    })?;
                    filled.push_str(&value);
                }
            }
        }
        Ok(filled)
    }

    /// What a line of an answer must look like.
    pub(crate) fn pattern(&self, line: &str) -> Result<Regex, PatternError> {
        let mut pattern = String::from("^(?:");
        for piece in pieces(line) {
            match piece {
                Piece::Text(text) => pattern.push_str(&regex::escape(text)),
                Piece::Placeholder(name) => match self.value(name) {
                    Some(value) => pattern.push_str(&regex::escape(&value)),
                    None => pattern.push_str(&kind(name).ok_or_else(|| unknown(name, line))?),
                },
            }
        }
        pattern.push_str(")$");
        Regex::new(&pattern).map_err(|_| unknown(line, line))
    }
}

fn unknown(name: &str, line: &str) -> PatternError {
    PatternError::Unknown {
        name: name.to_owned(),
        line: line.to_owned(),
    }
}

/// The expression of a kind of text such as `{date}` or `{base64:56}`.
fn kind(name: &str) -> Option<String> {
    let (name, length) = match name.split_once(':') {
        Some((name, length)) => (name, Some(length.parse::<u16>().ok()?)),
        None => (name, None),
    };
    let characters = match (name, length) {
        ("any", None) => return Some(".*".to_owned()),
        ("number", None) => return Some("[0-9]+".to_owned()),
        ("date", None) => {
            return Some("[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT".to_owned());
        }
        ("time", None) => return Some("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z".to_owned()),
        ("basic", None) => return Some("[0-9]{8}T[0-9]{6}Z".to_owned()),
        ("uuid", None) => return Some("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}".to_owned()),
        ("base64", _) => "[A-Za-z0-9+/=]",
        ("token", _) => "[A-Za-z0-9_=-]",
        ("id", _) => "[A-Z0-9]",
        _ => return None,
    };
    Some(length.map_or_else(
        || format!("{characters}+"),
        |length| format!("{characters}{{{length}}}"),
    ))
}

/// What a repetition starts with: `{times:3:ab}` stands for `ababab`.
const TIMES: &str = "times:";

/// The longest text that a repetition makes, in bytes: more than the 10,000,000 that STS takes.
const MOST_BYTES: usize = 16_000_000;

fn repeated(name: &str) -> Option<String> {
    let (count, text) = name.strip_prefix(TIMES)?.split_once(':')?;
    let count: usize = count.parse().ok()?;
    (count.checked_mul(text.len())? <= MOST_BYTES).then(|| text.repeat(count))
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// Text and placeholders in turn. A brace that no placeholder follows is text: JSON has many.
fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    let mut searched = 0;
    while let Some(open) = rest
        .get(searched..)
        .and_then(|tail| tail.find('{'))
        .map(|at| at + searched)
    {
        let inside = rest.get(open + 1..).unwrap_or_default();
        let name = inside.split('}').next().unwrap_or_default();
        let is_named = name.starts_with(|letter: char| letter.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte));
        let is_placeholder = name.len() < inside.len() && (is_named || name.starts_with(TIMES));
        if is_placeholder {
            pieces.push(Piece::Text(rest.get(..open).unwrap_or_default()));
            pieces.push(Piece::Placeholder(name));
            rest = inside.get(name.len() + 1..).unwrap_or_default();
            searched = 0;
        } else {
            searched = open + 1;
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Values::new()
            .with("role", "lab.host")
            .pattern(pattern)
            .unwrap()
            .is_match(text)
    }

    #[test]
    fn values_stand_for_themselves_and_kinds_for_their_texts() {
        assert!(matches("a {role}", "a lab.host"));
        assert!(!matches("a {role}", "a labxhost"));
        assert!(matches("Date: {date}", "Date: Sun, 13 Feb 2022 13:37:57 GMT"));
        assert!(!matches("Date: {date}", "Date: 2022-02-13T13:37:57Z"));
        assert!(matches("\"{time}\",", "\"2022-02-13T13:37:57Z\","));
        assert!(matches("{token:4}", "A_-="));
        assert!(!matches("{token:4}", "A_-=x"));
        assert!(matches("AIPA{id:17}", "AIPAVMQT32F2Q43IXV2TC"));
        assert!(matches("{", "{"));
        assert!(matches("{ \"a\" : {} }", "{ \"a\" : {} }"));
    }

    #[test]
    fn a_repetition_is_its_text_so_many_times_on_either_side() {
        assert_eq!(Values::new().fill("<{times:3:a b}>").unwrap(), "<a ba ba b>");
        assert_eq!(Values::new().fill("{times:0:x}").unwrap(), "");
        assert!(matches("{times:2:é.}!", "é.é.!"));
        assert!(!matches("{times:2:é.}!", "é.é.é.!"));
        for wrong in ["{times:x:a}", "{times:3}", "{times:99999999:ab}"] {
            assert!(
                matches!(Values::new().fill(wrong), Err(PatternError::NoValue { .. })),
                "{wrong}"
            );
            assert!(
                matches!(Values::new().pattern(wrong), Err(PatternError::Unknown { .. })),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_unknown_placeholder_is_an_error_on_either_side() {
        assert!(matches!(
            Values::new().pattern("{wat}"),
            Err(PatternError::Unknown { .. })
        ));
        assert!(matches!(
            Values::new().fill("{date}"),
            Err(PatternError::NoValue { .. })
        ));
    }

    proptest! {
        #[test]
        fn a_line_without_placeholders_matches_itself_alone(line in "[ -z|~]{0,40}", other in "[ -z|~]{0,40}") {
            prop_assert!(matches(&line, &line));
            prop_assert_eq!(matches(&line, &other), line == other);
        }

        #[test]
        fn no_line_makes_the_reader_panic(line in ".{0,60}") {
            let _ = Values::new().pattern(&line);
            let _ = Values::new().fill(&line);
        }
    }
}
