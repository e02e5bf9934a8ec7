//! Patterns of refs. `*` is any text within one part of a ref (between slashes), `**` is any text; everything else is itself, and a pattern
//! covers a whole ref or none of it. Knows no file and no container.

use std::fmt;

use super::NameFault;
use super::names::Ref;

/// What GitLab calls neither branch nor tag: merge requests, above all, whose commits may come from a fork.
const OUTSIDE: &str = "refs/";
/// Patterns are compared with each other and with what an author chose, part by part: this bounds the work.
const LONGEST: usize = 256;

/// An exact ref, or a pattern of refs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefPattern {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Token {
    /// Itself.
    Char(char),
    /// `*`: any text without a slash.
    Within,
    /// `**`: any text.
    Across,
}

impl Token {
    /// Whether a token that stands for any text covers what this one stands for, a character at a time.
    const fn takes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Char(_), _) => false,
            (Self::Within, Self::Char(c)) => c != '/',
            (Self::Within | Self::Across, _) => true,
        }
    }
}

impl RefPattern {
    /// # Errors
    /// What no ref is called, and patterns outside branches and tags that do not spell out of what.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        Ref::parse(text)?;
        // What Git allows in no ref is a sign of another language of patterns.
        if text.len() > LONGEST || text.contains(['?', '[', ']', '\\', '^', '~', ':']) || text.contains("***") {
            return Err(NameFault::RefPattern);
        }
        if let Some(rest) = text.strip_prefix(OUTSIDE) {
            let (first, behind) = rest.split_once('/').ok_or(NameFault::OutsideRef)?;
            if first.is_empty() || first.contains('*') || behind.is_empty() {
                return Err(NameFault::OutsideRef);
            }
        }
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (token, length) = match c {
                '*' if rest.starts_with("**") => (Token::Across, 2),
                '*' => (Token::Within, 1),
                other => (Token::Char(other), other.len_utf8()),
            };
            tokens.push(token);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }

    /// Whether the ref is one of the pattern's. What is neither branch nor tag is one only if the pattern spells out its first two parts.
    #[must_use]
    pub fn covers(&self, reference: &Ref) -> bool {
        // Whatever the author chose is itself, an asterisk too.
        let tokens: Vec<Token> = reference.as_str().chars().map(Token::Char).collect();
        self.is_outside() == is_outside(reference) && meet(&self.tokens, &tokens)
    }

    /// Whether some ref is covered by both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.is_outside() == other.is_outside() && meet(&self.tokens, &other.tokens)
    }

    /// Whether the pattern is of refs that are neither branch nor tag.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        self.text.starts_with(OUTSIDE)
    }

    /// The text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RefPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether the ref is neither branch nor tag, such as `refs/merge-requests/7/head`.
#[must_use]
pub fn is_outside(reference: &Ref) -> bool {
    reference.as_str().starts_with(OUTSIDE)
}

/// Whether some text is covered by both. Every pair of places is looked at once: a row holds the places of `other` that can be reached
/// together with one place of `one`.
fn meet(one: &[Token], other: &[Token]) -> bool {
    let mut row = vec![false; other.len() + 1];
    if let Some(start) = row.first_mut() {
        *start = true;
    }
    reach_along(one.first(), other, &mut row);
    for (at, token) in one.iter().enumerate() {
        let mut next = vec![false; other.len() + 1];
        for (column, _) in row.iter().enumerate().filter(|(_, reached)| **reached) {
            let facing = other.get(column);
            // Leaving a token that stands for any text costs nothing; a character needs its like, or a token that takes it.
            match (token, facing) {
                (Token::Within | Token::Across, _) => mark(&mut next, column),
                (Token::Char(own), Some(Token::Char(theirs))) if own == theirs => mark(&mut next, column + 1),
                (Token::Char(_), Some(facing)) if facing.takes(*token) => mark(&mut next, column),
                (Token::Char(_), _) => {}
            }
        }
        reach_along(one.get(at + 1), other, &mut next);
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Steps that stay at one place of `one`: its token takes what `other` has, or `other` leaves a token that stands for any text.
fn reach_along(token: Option<&Token>, other: &[Token], row: &mut [bool]) {
    for (column, facing) in other.iter().enumerate() {
        let is_reached = row.get(column).copied().unwrap_or_default();
        let taken = token.is_some_and(|token| token.takes(*facing));
        if is_reached && (taken || !matches!(facing, Token::Char(_))) {
            mark(row, column + 1);
        }
    }
}

fn mark(row: &mut [bool], column: usize) {
    if let Some(place) = row.get_mut(column) {
        *place = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Ref, RefPattern};
    use crate::config::NameFault;

    fn pattern(text: &str) -> RefPattern {
        RefPattern::parse(text).unwrap()
    }

    fn covers(text: &str, reference: &str) -> bool {
        pattern(text).covers(&Ref::parse(reference).unwrap())
    }

    #[test]
    fn a_pattern_covers_whole_refs() {
        for (text, covered, others) in [
            (
                "main",
                &["main"][..],
                &["main2", "xmain", "Main", "mai", "main/x", "x/main"][..],
            ),
            (
                "release/*",
                &["release/1", "release/", "release/*"],
                &["release", "release/1/2", "xrelease/1", "release//1", "releases/1"],
            ),
            (
                "release/**",
                &["release/1", "release/1/2"],
                &["release", "prerelease/1"],
            ),
            (
                "*",
                &["main", "*"],
                &["a/b", "refs/heads/main", "refs/merge-requests/7/head"],
            ),
            (
                "**",
                &["main", "a/b", "a/b/c"],
                &["refs/heads/main", "refs/merge-requests/7/head", "refs/x"],
            ),
            ("v*.*", &["v1.2", "v.", "v1.2.3"], &["v1", "xv1.2", "v1/2.3"]),
            (
                "*/hotfix",
                &["a/hotfix", "/hotfix"],
                &["a/b/hotfix", "hotfix", "a/hotfixes"],
            ),
            (
                "refs/merge-requests/*/head",
                &["refs/merge-requests/7/head"],
                &[
                    "refs/merge-requests/7/merge",
                    "merge-requests/7/head",
                    "refs/merge-requests/7/8/head",
                ],
            ),
            (
                "refs/merge-requests/**",
                &["refs/merge-requests/7/head", "refs/merge-requests/7/merge"],
                &["main", "refs/pipelines/7"],
            ),
        ] {
            for reference in covered {
                assert!(covers(text, reference), "{text} {reference}");
            }
            for reference in others {
                assert!(!covers(text, reference), "{text} {reference}");
            }
        }
    }

    #[test]
    fn what_looks_like_another_language_of_patterns_is_refused() {
        for bad in ["^main$", "v[0-9]", "v?", "a\\*", "main~1", "a:b", "***", "a b", ""] {
            assert!(RefPattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(RefPattern::parse(&"x".repeat(257)), Err(NameFault::RefPattern));
        for bad in [
            "refs/*",
            "refs/**",
            "refs/",
            "refs/*/7/head",
            "refs/merge*/7/head",
            "refs/merge-requests",
            "refs/merge-requests/",
            "refs//x",
        ] {
            assert_eq!(RefPattern::parse(bad), Err(NameFault::OutsideRef), "{bad}");
        }
    }

    #[test]
    fn the_longest_pattern_and_the_longest_ref_are_compared_at_once() {
        let worst = pattern(&"*a".repeat(128));
        let reference = Ref::parse(&"a".repeat(1024)).unwrap();
        assert!(worst.covers(&reference));
        assert!(!pattern(&format!("{}b", "*a".repeat(127))).covers(&reference));
    }

    /// The same by trying everything, as the definition reads.
    fn tries(pattern: &str, text: &str) -> bool {
        if let Some(rest) = pattern.strip_prefix("**") {
            return (0..=text.len()).any(|length| tries(rest, &text[length..]));
        }
        if let Some(rest) = pattern.strip_prefix('*') {
            let longest = text.find('/').unwrap_or(text.len());
            return (0..=longest).any(|length| tries(rest, &text[length..]));
        }
        match (pattern.chars().next(), text.chars().next()) {
            (None, None) => true,
            (Some(one), Some(other)) if one == other => tries(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    /// Every text of up to so many of the characters.
    fn texts(longest: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..longest {
            last = last
                .iter()
                .flat_map(|text| ["a", "b", "/"].map(|c| format!("{text}{c}")))
                .collect();
            all.extend(last.clone());
        }
        all.retain(|text| !text.is_empty());
        all
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(vec!["a", "b", "/", "*", "**"]), 1..6)
            .prop_map(|parts| parts.concat())
            .prop_filter("two languages", |text| !text.contains("***"))
    }

    proptest! {
        #[test]
        fn a_pattern_covers_what_its_definition_says(text in any_pattern(), reference in "[ab/]{1,8}") {
            prop_assert_eq!(covers(&text, &reference), tries(&text, &reference));
        }

        #[test]
        fn patterns_meet_if_some_ref_is_covered_by_both(one in any_pattern(), other in any_pattern()) {
            // The shortest text that both cover has no character that neither of them spells out.
            let spelled = one.replace('*', "").len() + other.replace('*', "").len();
            prop_assume!((1..=7).contains(&spelled));
            let is_shared = texts(spelled).iter().any(|text| tries(&one, text) && tries(&other, text));
            prop_assert_eq!(pattern(&one).meets(&pattern(&other)), is_shared, "{} {}", one, other);
            prop_assert_eq!(pattern(&other).meets(&pattern(&one)), is_shared, "{} {}", other, one);
        }

        #[test]
        fn a_ref_is_covered_by_its_own_name(reference in "[!-~&&[^?*\\[\\]\\\\^~:]]{1,80}") {
            if let Ok(exact) = RefPattern::parse(&reference) {
                prop_assert!(exact.covers(&Ref::parse(&reference).unwrap()));
                for other in [format!("{reference}x"), format!("x{reference}")] {
                    prop_assert!(!exact.covers(&Ref::parse(&other).unwrap()));
                }
            }
        }

        #[test]
        fn no_ref_outside_branches_and_tags_is_covered_unless_it_is_spelled_out(text in "[*ref/m-]{1,12}", kind in "[a-z-]{1,8}", rest in "[a-z0-9/]{1,8}") {
            let spelled = format!("refs/{kind}/");
            let reference = Ref::parse(&format!("{spelled}{rest}")).unwrap();
            if let Ok(pattern) = RefPattern::parse(&text) {
                prop_assert!(!pattern.covers(&reference) || text.starts_with(&spelled));
            }
        }
    }
}
