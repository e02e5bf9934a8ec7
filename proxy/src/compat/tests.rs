//! What earlier proxies were told, and what becomes of it.

mod assessment;
mod forms;

use proptest::prelude::*;

use super::{Broken, read_entries};

fn entries(text: &str) -> Vec<(String, String)> {
    let (entries, broken) = read_entries(text);
    assert_eq!(broken, Vec::new(), "{text}");
    entries.into_iter().map(|entry| (entry.name, entry.value)).collect()
}

#[test]
fn a_file_holds_names_and_values() {
    let text = "# comment\n; another\n\n  PORT=8000  \nexport HOST=0.0.0.0\nDEFAULT_ROLE='a b$c'\nLOG=\"x y\"\nE=\nM={\"a\":\"b=c\"}\r\nPORT=8000\n";
    let expected = [
        ("PORT", "8000"),
        ("HOST", "0.0.0.0"),
        ("DEFAULT_ROLE", "a b$c"),
        ("LOG", "x y"),
        ("E", ""),
        ("M", "{\"a\":\"b=c\"}"),
    ];
    assert_eq!(
        entries(text),
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn what_programs_read_differently_is_broken() {
    for line in [
        "PORT",
        "=x",
        "1A=x",
        "A B=x",
        "A =x",
        "A= x",
        "A-B=x",
        "A=$B",
        "A=\"$B\"",
        "A=`b`",
        "A=b\\",
        "A=b # c",
        "A='b",
        "A=\"b",
        "A='b'c'",
        "A=\"b\"c\"",
        "A=\"b\\\"c\"",
        "A=b\u{1b}c",
        "Ä=b",
    ] {
        let (entries, broken) = read_entries(&format!("X=y\n{line}\nY=z\n"));
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["X", "Y"], "{line:?}");
        assert_eq!(broken.iter().map(|one| one.line).collect::<Vec<_>>(), [2], "{line:?}");
    }
    let (_, twice) = read_entries("A=b\nA=b\nA=c\n");
    assert!(
        matches!(twice[..], [Broken { line: 3, ref name, .. }] if name == "A"),
        "{twice:?}"
    );
    let (entries, long) = read_entries(&"A=b\n".repeat(20_000));
    assert!(entries.is_empty() && long.len() == 1);
}

proptest! {
    #[test]
    fn a_setting_reads_as_it_was_written(
        settings in proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,20}", "[A-Za-z0-9@/:=,.{}+-]{0,40}", 0..8),
        style in 0_usize..3, noise in proptest::collection::vec("(#.{0,20}|;[a-z]*|[ \t]*)", 0..4),
    ) {
        let mut text = noise.join("\n");
        for (name, value) in &settings {
            let quote = ["", "'", "\""][style];
            text.extend(["\n", name, "=", quote, value, quote]);
        }
        let (entries, broken) = read_entries(&text);
        prop_assert_eq!(broken, Vec::new());
        let read: Vec<(String, String)> = entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
        let mut sorted = read.clone();
        sorted.sort();
        prop_assert_eq!(sorted, settings.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn every_line_of_any_text_is_read_once_or_is_broken_without_its_value(
        lines in proptest::collection::vec("(A|B|[A-Z]{1,3}|.{0,3})=?.{0,12}", 0..12),
    ) {
        let text = lines.join("\n");
        let (entries, broken) = read_entries(&text);
        let mut of_line: Vec<usize> = entries.iter().map(|entry| entry.line).chain(broken.iter().map(|one| one.line)).collect();
        of_line.sort_unstable();
        of_line.dedup();
        prop_assert_eq!(of_line.len(), entries.len() + broken.len());
        for entry in &entries {
            let line = text.lines().nth(entry.line - 1).unwrap_or_default();
            prop_assert!(line.contains(&entry.name) && line.contains(&entry.value));
            prop_assert!(!entry.value.chars().any(char::is_control));
        }
        for one in &broken {
            let name = &one.name;
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{}", name);
        }
    }
}
