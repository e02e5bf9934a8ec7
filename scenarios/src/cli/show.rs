//! `list` and `explain`.

use std::fmt::Write;

use super::args::Format;
use super::{Exit, complain, say};
use crate::case::model::{Case, Opening};
use crate::report::table::WIDTH;

pub(super) fn list(cases: &[&Case], format: Format) -> Exit {
    if cases.is_empty() {
        complain("error: no scenario matches");
        return Exit::NothingMatched;
    }
    match format {
        Format::Text => {
            for case in cases {
                say(&format!("{:<9} {}", case.id, case.title));
            }
        }
        Format::Json => {
            let rows: Vec<_> = cases
                .iter()
                .map(|case| {
                    let expect: serde_json::Map<_, _> = case
                        .expect
                        .iter()
                        .map(|(defence, expected)| (defence.to_string(), expected.to_string().into()))
                        .collect();
                    serde_json::json!({
                        "id": case.id, "name": case.name, "title": case.title, "exclusive": case.exclusive, "expect": expect,
                        "hole": {
                            "weak": case.hole.weak,
                            "defence": case.hole.defence,
                            "opening": case.hole.openings().map(|opening| opening.to_string()).collect::<Vec<_>>(),
                        },
                    })
                })
                .collect();
            say(&serde_json::Value::Array(rows).to_string());
        }
    }
    Exit::Held
}

pub(super) fn explain(cases: &[&Case], id: &str) -> Exit {
    let Some(case) = cases
        .iter()
        .find(|case| case.id.eq_ignore_ascii_case(id))
        .or_else(|| cases.first())
    else {
        complain(&format!(
            "error: there is no scenario {id}; `scenarios list` shows them all"
        ));
        return Exit::NothingMatched;
    };
    say(&text(case));
    Exit::Held
}

/// A case for a person who never saw it.
fn text(case: &Case) -> String {
    let paragraphs: Vec<String> = case
        .doc
        .trim()
        .split("\n\n")
        .map(|paragraph| fill(paragraph, "", ""))
        .collect();
    let mut text = format!("{}  {}\n\n{}\n\n", case.id, case.title, paragraphs.join("\n\n"));
    text.push_str("A defence may answer\n");
    for (defence, expected) in &case.expect {
        let _ = writeln!(text, "  {defence:<10} {expected}");
    }
    let holes: Vec<String> = case
        .hole
        .weak
        .iter()
        .map(|hole| format!("weak-proxy --hole {hole}"))
        .chain(case.hole.openings().map(|opening| told(case, &opening)))
        .chain(case.hole.defence.iter().map(|defence| format!("defence {defence}")))
        .collect();
    let _ = writeln!(text, "\nIt turns red against\n  {}", holes.join("\n  "));
    if !case.references.is_empty() {
        let references: Vec<String> = case
            .references
            .iter()
            .map(|reference| fill(reference, "  ", "    "))
            .collect();
        let _ = writeln!(text, "\nReferences\n{}", references.join("\n"));
    }
    text.trim_end().to_owned()
}

/// What is open, for a person.
fn told(case: &Case, opening: &Opening) -> String {
    match opening {
        Opening::Role(number) => {
            let weak = number.checked_sub(1).and_then(|at| case.hole.roles.get(at));
            let name = weak.map_or("", |weak| weak.name.as_str());
            format!("policy {number} of the hole, for the role {name}")
        }
        Opening::Sts(check) => format!("fake-sts --skip-check {check}"),
        Opening::Runner(word) => format!("a runner with {word}"),
    }
}

/// Broken anew for a terminal; the lines of a case are as long as its author's editor is wide.
fn fill(text: &str, first: &str, others: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let options = textwrap::Options::new(WIDTH)
        .break_words(false)
        .initial_indent(first)
        .subsequent_indent(others);
    textwrap::fill(&words, options)
}
