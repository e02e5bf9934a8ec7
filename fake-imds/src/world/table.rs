//! Reading a TOML table field by field, collecting every fault with its line and remedy. It must not know which fields there are.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The field, with its table; empty for a fault of the syntax.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.field.is_empty() { "" } else { ": " };
        write!(
            f,
            "{}: {}{separator}{}; {}",
            self.line, self.field, self.problem, self.remedy
        )
    }
}

/// What is wrong so far.
#[derive(Debug)]
pub(super) struct Faults<'t> {
    text: &'t str,
    found: Vec<Fault>,
}

impl<'t> Faults<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        span: Range<usize>,
        field: String,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        self.found.push(Fault {
            line,
            field,
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// All faults, in the order of the file. What a fault of the syntax leaves on its line says nothing about the fields there.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        let broken: Vec<usize> = self
            .found
            .iter()
            .filter(|fault| fault.field.is_empty())
            .map(|fault| fault.line)
            .collect();
        self.found
            .retain(|fault| fault.field.is_empty() || !broken.contains(&fault.line));
        self.found.sort_by_key(|fault| fault.line);
        self.found
    }
}

/// A table of the file.
#[derive(Debug, Clone)]
pub(super) struct Table<'v> {
    name: String,
    values: &'v DeTable<'v>,
}

impl<'v> Table<'v> {
    pub(super) fn root(values: &'v DeTable<'v>) -> Self {
        Self {
            name: String::new(),
            values,
        }
    }

    fn path(&self, field: &str) -> String {
        if self.name.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.name)
        }
    }

    fn get(&self, field: &str) -> Option<&'v Spanned<DeValue<'v>>> {
        self.values
            .iter()
            .find(|(name, _)| name.get_ref() == field)
            .map(|(_, value)| value)
    }

    /// Refuses every field but these.
    pub(super) fn only(&self, faults: &mut Faults<'_>, known: &[&str]) {
        for name in self.values.keys() {
            if !known.contains(&name.get_ref().as_ref()) {
                let field = self.path(name.get_ref());
                faults.add(
                    name.span(),
                    field,
                    "is unknown",
                    format!("remove it, or use one of {}", known.join(", ")),
                );
            }
        }
    }

    /// A table below this one.
    pub(super) fn table(&self, faults: &mut Faults<'_>, field: &str) -> Option<Self> {
        let value = self.get(field)?;
        match value.get_ref().as_table() {
            Some(values) => Some(Table {
                name: self.path(field),
                values,
            }),
            None => {
                faults.add(
                    value.span(),
                    self.path(field),
                    "is not a table",
                    format!("write [{}]", self.path(field)),
                );
                None
            }
        }
    }

    /// A text that passes the check.
    pub(super) fn text(
        &self,
        faults: &mut Faults<'_>,
        field: &str,
        check: fn(&str) -> bool,
        remedy: &str,
    ) -> Option<String> {
        let value = self.get(field)?;
        match value.get_ref().as_str() {
            Some(text) if check(text) => return Some(text.to_owned()),
            Some(text) => faults.add(
                value.span(),
                self.path(field),
                format!("{text:?} is not accepted"),
                remedy,
            ),
            None => faults.add(value.span(), self.path(field), "is not a string", remedy),
        }
        None
    }

    /// A whole number in a range.
    pub(super) fn number(
        &self,
        faults: &mut Faults<'_>,
        field: &str,
        range: std::ops::RangeInclusive<u8>,
    ) -> Option<u8> {
        let value = self.get(field)?;
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|number| number.as_str().parse::<u8>().ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let remedy = format!("give a whole number from {} to {}", range.start(), range.end());
            faults.add(value.span(), self.path(field), "is out of range", remedy);
        }
        number
    }

    /// True or false.
    pub(super) fn flag(&self, faults: &mut Faults<'_>, field: &str) -> Option<bool> {
        let value = self.get(field)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            faults.add(
                value.span(),
                self.path(field),
                "is neither true nor false",
                "write true or false, without quotes",
            );
        }
        flag
    }

    /// Every field, as text that passes the checks.
    pub(super) fn texts(
        &self,
        faults: &mut Faults<'_>,
        name_ok: fn(&str) -> bool,
        value_ok: fn(&str) -> bool,
        remedy: &str,
    ) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for (name, value) in self.values.iter() {
            let field = self.path(name.get_ref());
            match value.get_ref().as_str() {
                Some(text) if name_ok(name.get_ref()) && value_ok(text) => {
                    texts.push((name.get_ref().to_string(), text.to_owned()));
                }
                Some(_) => faults.add(name.span(), field, "is not accepted", remedy),
                None => faults.add(value.span(), field, "is not a string", remedy),
            }
        }
        texts
    }
}
