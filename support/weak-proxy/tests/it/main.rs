//! The program's command line.

use std::io;
use std::process::{Command, Output};

#[expect(clippy::disallowed_methods, reason = "the program under test")]
fn run(arguments: &[&str]) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_weak-proxy")).args(arguments).output()
}

#[test]
fn list_holes_prints_the_table_and_needs_no_configuration() {
    let output = run(&["--list-holes"]).unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), weak_proxy::hole::table());
}

#[test]
fn help_teaches_on_stdout() {
    let output = run(&["--help"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for word in ["negative controls", "--hole", "--list-holes", "Exit codes", "Examples"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn a_wrong_switch_and_a_broken_file_are_usage_errors() {
    for arguments in [
        &["--config", "x", "--hole", "no-such"][..],
        &["--config", "/nonexistent.toml"],
        &[],
    ] {
        let output = run(arguments).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}
