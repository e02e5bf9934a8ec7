//! Patterns for facts: `*` is any text, `?` any one character, all else itself. A pattern matches the whole text.
//! It must not know what the text is; a slash is a character like any other.

use serde::{Deserialize, Serialize};

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// A pattern; any text is one.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether the whole text fits. Takes at most pattern length times text length steps.
    pub fn matches(&self, text: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        // Where to go on after the last star: the pattern behind it, and one character further in the text each time.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(c) = text.get(t) {
            match pattern.get(p) {
                Some('*') => {
                    retry = Some((p + 1, t));
                    p += 1;
                }
                Some(q) if *q == '?' || q == c => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((star, from)) = retry else { return false };
                    retry = Some((star, from + 1));
                    p = star;
                    t = from + 1;
                }
            }
        }
        pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_cross_slashes_and_question_marks_are_one_character() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*/c", "a/b/c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("abc", "abcd", false),
            ("*ü", "grün-ü", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_and_any_of_its_ends(text in "[a-z/]{0,20}", cut in 0_usize..20) {
            let cut = cut.min(text.len());
            prop_assert!(Glob::new(text.clone()).matches(&text));
            let starred = format!("*{}", text.split_at(cut).1);
            prop_assert!(Glob::new(starred).matches(&text));
        }

        #[test]
        fn no_pattern_panics(pattern in "[*?a]{0,12}", text in "[ab]{0,12}") {
            let _answer = Glob::new(pattern).matches(&text);
        }
    }
}
