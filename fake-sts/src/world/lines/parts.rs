//! A world file in parts that are read one after the other: the tree of a whole file is many times its world, and an allocator keeps what it
//! took. It must not know what the parts say.

use serde_json::{Map, Value};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::parse;

/// A text, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Parts<'a> {
    /// Everything but the roles.
    pub(in super::super) rest: String,
    /// Each `[[role]]`, with the tables below it.
    pub(in super::super) roles: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    /// `[[role]]`.
    Role,
    /// `[role.x]` or `[[role.x]]`.
    OfRole,
    /// Another.
    Other,
}

/// Takes a text apart at its headers.
pub(in super::super) fn take_apart(text: &str) -> Parts<'_> {
    let mut parts = Parts {
        rest: String::new(),
        roles: Vec::new(),
    };
    let headers = headers(text);
    let ends = headers.iter().skip(1).map(|(at, _)| *at).chain([text.len()]);
    let first = headers.first().map_or(text.len(), |(at, _)| *at);
    parts.rest.push_str(text.get(..first).unwrap_or_default());
    // Where the role begins that tables may still belong to.
    let mut open: Option<usize> = None;
    for ((at, kind), end) in headers.iter().zip(ends) {
        open = match (kind, open) {
            (Header::Role, _) => Some(*at),
            (Header::OfRole, Some(start)) => {
                parts.roles.pop();
                Some(start)
            }
            (Header::OfRole, None) | (Header::Other, _) => None,
        };
        match open {
            Some(start) => parts.roles.extend(text.get(start..end)),
            None => parts.rest.push_str(text.get(*at..end).unwrap_or_default()),
        }
    }
    parts
}

/// Where headers begin. The lexer knows strings and comments; brackets within a value are counted.
fn headers(text: &str) -> Vec<(usize, Header)> {
    let mut found = Vec::new();
    let (mut depth, mut fresh) = (0_usize, true);
    for token in Source::new(text).lex() {
        let start = token.span().start();
        match token.kind() {
            TokenKind::Newline => fresh = true,
            TokenKind::Whitespace => {}
            TokenKind::LeftSquareBracket if fresh && depth == 0 => {
                found.push((start, header(text.get(start..).unwrap_or_default())));
                (depth, fresh) = (1, false);
            }
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => (depth, fresh) = (depth + 1, false),
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                (depth, fresh) = (depth.saturating_sub(1), false);
            }
            _ => fresh = false,
        }
    }
    found
}

/// A name that is written otherwise (`[[ "role" ]]`) is another's: it is read with the rest.
fn header(text: &str) -> Header {
    if text.starts_with("[[role]]") {
        Header::Role
    } else if text.trim_start_matches('[').starts_with("role.") {
        Header::OfRole
    } else {
        Header::Other
    }
}

/// Reads a part; `None` when it is broken, or not one role.
pub(in super::super) fn parse_role(part: &str) -> Option<Map<String, Value>> {
    let Ok(Value::Object(mut table)) = parse(part) else {
        return None;
    };
    match table.remove("role") {
        Some(Value::Array(list)) if table.is_empty() => match <[Value; 1]>::try_from(list) {
            Ok([Value::Object(role)]) => Some(role),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{parse, parse_role, take_apart};

    /// What the parts say together.
    fn together(text: &str) -> Option<Value> {
        let parts = take_apart(text);
        let mut whole = parse(&parts.rest).ok()?;
        let roles: Option<Vec<Value>> = parts
            .roles
            .iter()
            .map(|part| parse_role(part).map(Value::Object))
            .collect();
        let roles = roles?;
        let table = whole.as_object_mut()?;
        if !roles.is_empty() && table.insert("role".to_owned(), Value::Array(roles)).is_some() {
            return None;
        }
        Some(whole)
    }

    #[test]
    fn brackets_in_values_are_no_headers() {
        let text = r##"a = 1
[account]
id = [
[["x"]],
]
[[role]]
name = """
[[role]]
"""
trust = { a = [
[1]] } # [[role]]
 [role.tags]
[[role.more]]

  [[role]]
name = '''
[user]
'''
[[user]]
[user.tags]
"##;
        let parts = take_apart(text);
        assert_eq!(parts.roles.len(), 2, "{parts:?}");
        assert_eq!(together(text).unwrap(), parse(text).unwrap());
    }

    const LINES: [&str; 19] = [
        "[[role]]",
        "[role.tags]",
        "[[role.more]]",
        "[[user]]",
        "[account]",
        "[user.tags]",
        "[[ role ]]",
        "[[\"role\"]]",
        "[roles]",
        "role = 1",
        "a = 1",
        "b = '[[role]]'",
        "c = [\n[1], [\n]]",
        "d = \"\"\"\n[[role]]\n\"\"\"",
        "e = {f = [\n[1]\n]}",
        "# [[role]]",
        "'",
        "]",
        " ",
    ];

    proptest! {
        #[test]
        fn the_parts_say_what_the_whole_says(lines in proptest::collection::vec(prop::sample::select(&LINES[..]), 0..14)) {
            let text = lines.join("\n");
            // Where the parts cannot be read the whole is, and tells its faults.
            if let (Some(together), Ok(whole)) = (together(&text), parse(&text)) {
                prop_assert_eq!(together, whole);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}", markup in "[\\[\\]{}'\"#= \nrole.]{0,40}") {
            for text in [text, markup] {
                let parts = take_apart(&text);
                prop_assert!(parts.roles.iter().filter_map(|part| parse_role(part)).count() <= parts.roles.len());
            }
        }
    }
}
