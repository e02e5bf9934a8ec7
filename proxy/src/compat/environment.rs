//! Files of `NAME=value` lines: what systemd (`EnvironmentFile=`), Docker (`--env-file`) and shells agree about. What they read differently is
//! a fault, so that nothing is taken for what the earlier proxy was not told.

use std::collections::BTreeMap;

/// Nobody writes more.
const LENGTH_MAX: usize = 64 * 1024;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its value. It may be a secret.
    pub value: String,
}

/// A line that cannot be read without doubt. Does not hold the line, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The line, from 1.
    pub line: usize,
    /// The setting, if that much is known.
    pub name: String,
    /// What is wrong.
    pub problem: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// Reads a file: every setting, and every line that is broken.
#[must_use]
pub fn read(text: &str) -> (Vec<Entry>, Vec<Broken>) {
    if text.len() > LENGTH_MAX {
        let broken = Broken {
            line: 1,
            name: String::new(),
            problem: "is longer than 64 KiB",
            remedy: "name the file of the earlier proxy's settings",
        };
        return (Vec::new(), vec![broken]);
    }
    let (mut entries, mut broken): (Vec<Entry>, Vec<Broken>) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, written) in text.lines().enumerate() {
        let line = index + 1;
        match read_line(written.trim()) {
            Ok(None) => {}
            Ok(Some((name, value))) => match seen.get(name).and_then(|at| entries.get(*at)) {
                Some(earlier) if earlier.value == value => {}
                Some(_) => broken.push(Broken {
                    line,
                    name: name.to_owned(),
                    problem: "is set before, to another value",
                    remedy: "leave the one that holds",
                }),
                None => {
                    seen.insert(name.to_owned(), entries.len());
                    entries.push(Entry {
                        line,
                        name: name.to_owned(),
                        value: value.to_owned(),
                    });
                }
            },
            Err((name, problem, remedy)) => broken.push(Broken {
                line,
                name: name.to_owned(),
                problem,
                remedy,
            }),
        }
    }
    (entries, broken)
}

type Fault<'l> = (&'l str, &'static str, &'static str);

fn read_line(line: &str) -> Result<Option<(&str, &str)>, Fault<'_>> {
    const SHAPE: &str = "write NAME=value, with nothing around the equals sign";
    if line.is_empty() || line.starts_with(['#', ';']) {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=').ok_or(("", "is not NAME=value", SHAPE))?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name {
        return Err(("", "is not NAME=value", SHAPE));
    }
    if value.starts_with([' ', '\t']) {
        return Err((name, "has a blank behind the equals sign", SHAPE));
    }
    if value.chars().any(char::is_control) {
        return Err((name, "holds a control character", "remove it"));
    }
    read_value(value).map(|value| Some((name, value))).map_err(|problem| {
        (
            name,
            problem,
            "write the whole value in single quotes, or without what needs them",
        )
    })
}

fn read_value(value: &str) -> Result<&str, &'static str> {
    const DIFFERENT: &str = "is read differently by systemd, Docker and a shell";
    let quoted = |quote: char| value.strip_prefix(quote).map(|rest| rest.strip_suffix(quote));
    if let Some(inner) = quoted('\'') {
        let inner = inner.ok_or("has a quote without an end")?;
        return if inner.contains('\'') {
            Err(DIFFERENT)
        } else {
            Ok(inner)
        };
    }
    let inner = match quoted('"') {
        Some(inner) => inner.filter(|inner| !inner.contains('"')).ok_or(DIFFERENT)?,
        None if value.contains(" #") || value.contains("\t#") => return Err(DIFFERENT),
        None => value,
    };
    if inner.contains(['\\', '$', '`']) {
        Err(DIFFERENT)
    } else {
        Ok(inner)
    }
}
