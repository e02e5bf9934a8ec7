//! Patterns with `*` and `?`, and policy variables inside them. It must not know which text a pattern is compared with.

use super::condition::Keys;

/// One unit of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glyph {
    /// Any run of characters.
    Run,
    /// Any one character.
    One,
    /// This character.
    Only(char),
}

/// Replaces policy variables. What a variable stands for is literal: a `*` in a tag is no wildcard. `None` when a variable has no value
/// and no default: then nothing is known of the statement, and it fails closed.
pub(super) fn expand(text: &str, keys: &Keys, variables: bool) -> Option<Vec<Glyph>> {
    let mut glyphs = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if variables
            && let Some(inside) = rest.strip_prefix("${")
            && let Some((name, tail)) = inside.split_once('}')
        {
            let value = match name {
                "*" | "?" | "$" => name.to_owned(),
                _ => variable(name, keys)?,
            };
            glyphs.extend(value.chars().map(Glyph::Only));
            rest = tail;
            continue;
        }
        glyphs.push(match first {
            '*' => Glyph::Run,
            '?' => Glyph::One,
            other => Glyph::Only(other),
        });
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    Some(glyphs)
}

fn variable(text: &str, keys: &Keys) -> Option<String> {
    let (name, default) = match text.split_once(',') {
        Some((name, default)) => (name.trim(), Some(default.trim())),
        None => (text.trim(), None),
    };
    match keys.values(name) {
        [only] => Some(only.clone()),
        _ => default?.strip_prefix('\'')?.strip_suffix('\'').map(str::to_owned),
    }
}

/// The text of a pattern without its wildcards' meaning: for operators that compare exactly.
pub(super) fn literal(glyphs: &[Glyph]) -> String {
    glyphs
        .iter()
        .map(|glyph| match glyph {
            Glyph::Run => '*',
            Glyph::One => '?',
            Glyph::Only(character) => *character,
        })
        .collect()
}

/// Whether the whole text fits the pattern. Two cursors and one mark: the time is at most the product of the lengths.
pub(super) fn fits(pattern: &[Glyph], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut here) = (0, 0);
    let mut mark: Option<(usize, usize)> = None;
    while here < text.len() {
        match pattern.get(at) {
            Some(Glyph::Run) => {
                mark = Some((at + 1, here));
                at += 1;
                continue;
            }
            Some(Glyph::One) => {
                at += 1;
                here += 1;
                continue;
            }
            Some(Glyph::Only(wanted)) if text.get(here) == Some(wanted) => {
                at += 1;
                here += 1;
                continue;
            }
            Some(Glyph::Only(_)) | None => {}
        }
        let Some((after, from)) = mark else { return false };
        mark = Some((after, from + 1));
        at = after;
        here = from + 1;
    }
    pattern
        .get(at..)
        .unwrap_or_default()
        .iter()
        .all(|glyph| *glyph == Glyph::Run)
}

/// Compares two ARNs part by part, so that a `*` never reaches over a colon except in the resource.
pub(super) fn fits_arn(pattern: &[Glyph], text: &str) -> bool {
    let patterns: Vec<&[Glyph]> = pattern.splitn(6, |glyph| *glyph == Glyph::Only(':')).collect();
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    patterns.len() == parts.len() && patterns.iter().zip(&parts).all(|(pattern, part)| fits(pattern, part))
}
