//! Somebody else's metadata proxy as a person names it, and what of it stands in reports. Pure.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What starts an image: the engine's own command line.
pub const CLIENT: &str = "docker";

/// The proxy under test, and what leads jobs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// What is started.
    #[serde(flatten)]
    pub program: Started,
    /// The firewall rules in front of it.
    #[serde(default)]
    pub rules: Redirect,
}

/// What is started in the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Started {
    /// A program and its arguments.
    Command(Vec<String>),
    /// An image in the machine's own engine.
    Image(String),
}

/// Which rules lead jobs to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Redirect {
    /// The one rule that such proxies document: DNAT of 169.254.169.254:80 from docker0. Other bridges, IPv6 and other ports are not in it
    #[default]
    Documented,
    /// metadata-proxy's rules: every bridge, IPv4 and IPv6, and nothing beside them. What is red then is the proxy's own doing
    Complete,
}

impl External {
    /// What a person typed, in one line.
    pub fn describe(&self) -> String {
        let program = match &self.program {
            Started::Command(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
            Started::Image(name) => format!("the image {name}"),
        };
        let rules = match self.rules {
            Redirect::Documented => "",
            Redirect::Complete => ", behind complete rules",
        };
        format!("{program}{rules}")
    }
}

impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+=:,./@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A command line that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// A quote without its end.
    #[error("a quote is not closed")]
    Quote,
    /// A backslash with nothing behind it.
    #[error("nothing follows the last backslash")]
    Backslash,
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Not there.
    #[error("there is no program {name}{}", if .name.contains('/') { "" } else { " in PATH" })]
    Missing {
        /// As it was typed.
        name: String,
    },
}

/// Splits a command line into words as a shell does: at blanks, with single quotes, double quotes and backslashes. Nothing is expanded.
///
/// # Errors
/// When it ends within a quote, or has no word.
pub fn split(line: &str) -> Result<Vec<String>, BadCommand> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or(BadCommand::Quote)? {
                        '\'' => break,
                        inside => word.push(inside),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or(BadCommand::Quote)? {
                        '"' => break,
                        '\\' => match letters.next().ok_or(BadCommand::Quote)? {
                            plain @ ('"' | '\\' | '$' | '`') => word.push(plain),
                            other => word.extend(['\\', other]),
                        },
                        inside => word.push(inside),
                    }
                }
            }
            '\\' => {
                let next = letters.next().ok_or(BadCommand::Backslash)?;
                word.get_or_insert_default().push(next);
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.is_empty() {
        Err(BadCommand::Empty)
    } else {
        Ok(words)
    }
}

/// The program with its whole path, as the instance, which has another working directory, finds it: a path, or a name that is looked up in `path`.
///
/// # Errors
/// When there is no such file that may be executed.
pub fn locate(name: &str, here: &Path, path: Option<&OsStr>) -> Result<PathBuf, BadCommand> {
    use std::os::unix::fs::PermissionsExt as _;

    let runs = |file: &PathBuf| {
        file.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let found = if name.contains('/') {
        Some(here.join(name)).filter(runs)
    } else {
        let directories = path.map(std::env::split_paths).into_iter().flatten();
        directories.map(|directory| here.join(directory).join(name)).find(runs)
    };
    found.ok_or_else(|| BadCommand::Missing { name: name.to_owned() })
}

/// How much of what a proxy wrote a complaint repeats, in lines.
const LAST_LINES: usize = 12;

/// The end of what a proxy wrote, without blank lines, each line on one of its own and indented; `show` says how a line is shown.
pub(crate) fn last_lines(text: &str, show: impl Fn(&str) -> String) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    let last = lines.iter().skip(from);
    last.map(|line| format!("\n  {}", show(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_line_is_split_as_a_shell_splits_it() {
        let words = split(r#"env A='1 2' B="x \"y\" \z" ./proxy  --flag=a\ b '' "#).unwrap();
        assert_eq!(words, ["env", "A=1 2", r#"B=x "y" \z"#, "./proxy", "--flag=a b", ""]);
        assert_eq!(split("$HOME `x` *").unwrap(), ["$HOME", "`x`", "*"]);
        assert_eq!(split("proxy 'x"), Err(BadCommand::Quote));
        assert_eq!(split("proxy \"x\\"), Err(BadCommand::Quote));
        assert_eq!(split("proxy \\"), Err(BadCommand::Backslash));
        assert_eq!(split("  "), Err(BadCommand::Empty));
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let here = Path::new("/");
        assert_eq!(locate("bin/sh", here, None), Ok(PathBuf::from("/bin/sh")));
        let path = OsStr::new("/nonexistent:/bin");
        assert_eq!(locate("sh", here, Some(path)), Ok(PathBuf::from("/bin/sh")));
        let missing = |name: &str| locate(name, here, Some(path)).unwrap_err().to_string();
        assert_eq!(missing("no-such-proxy"), "there is no program no-such-proxy in PATH");
        // A directory, and a file that nobody may execute.
        assert_eq!(missing("/etc"), "there is no program /etc");
        assert_eq!(missing("etc/passwd"), "there is no program etc/passwd");
    }

    #[test]
    fn a_complaint_repeats_the_last_lines_that_say_something() {
        let wrote: String = (1..=20).map(|number| format!("line {number}\n \n")).collect();
        let last = last_lines(&wrote, str::to_uppercase);
        assert_eq!(last.lines().count(), 1 + LAST_LINES);
        assert!(
            last.starts_with("\n  LINE 9\n  LINE 10\n") && last.ends_with("\n  LINE 20"),
            "{last}"
        );
        assert_eq!(last_lines(" \n\n", str::to_owned), "");
    }

    #[test]
    fn a_report_holds_what_is_needed_to_start_it_again() {
        let external = External {
            program: Started::Command(split("env 'A=1 2' proxy").unwrap()),
            rules: Redirect::Complete,
        };
        let text = serde_json::to_string(&external).unwrap();
        assert_eq!(text, r#"{"command":["env","A=1 2","proxy"],"rules":"complete"}"#);
        assert_eq!(serde_json::from_str::<External>(&text).unwrap(), external);
        assert_eq!(external.to_string(), "env 'A=1 2' proxy, behind complete rules");
        let image: External = serde_json::from_str(r#"{"image":"proxy:1"}"#).unwrap();
        assert_eq!(image.to_string(), "the image proxy:1");
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_one_word(words in prop::collection::vec(".{0,12}", 1..5)) {
            let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line).unwrap(), words);
        }
    }
}
