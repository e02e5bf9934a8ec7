//! TOML to JSON values, and which line each field stands on, so that one reader serves files and the control API. It must not know what
//! the fields mean.

mod parts;

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) use parts::{parse_role, take_apart};

/// Line numbers by field path, such as `role[0].trust.Statement[1]`.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// The line of a field, or of the nearest field around it.
    pub(super) fn of(&self, field: &str) -> Option<usize> {
        let mut field = field;
        loop {
            if let Some(line) = self.0.get(field) {
                return Some(*line);
            }
            let end = field.rfind(['.', '['])?;
            field = field.get(..end)?;
        }
    }
}

/// A syntax fault and its line.
#[derive(Debug)]
pub(super) struct SyntaxFault {
    pub(super) line: Option<usize>,
    pub(super) problem: String,
}

/// Reads TOML.
pub(super) fn parse(text: &str) -> Result<Value, Vec<SyntaxFault>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let starts = Starts::of(text);
        return Err(errors
            .iter()
            .map(|error| SyntaxFault {
                line: error.span().map(|span| starts.line(&span)),
                problem: error.message().replace('\n', " "),
            })
            .collect());
    }
    Ok(convert_table(table.get_ref()))
}

/// Where each field stands, for a text with faults: nobody else needs it, and it is as large as the world.
pub(super) fn locate(text: &str) -> Lines {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut lines = Lines::default();
    locate_table(table.get_ref(), "", &Starts::of(text), &mut lines);
    lines
}

/// Where lines begin.
struct Starts(Vec<usize>);

impl Starts {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.0.partition_point(|start| *start <= span.start) + 1
    }
}

fn locate_table(table: &DeTable<'_>, at: &str, starts: &Starts, lines: &mut Lines) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let field = if at.is_empty() {
            name.to_owned()
        } else {
            format!("{at}.{name}")
        };
        lines.0.insert(field.clone(), starts.line(&key.span()));
        locate_value(value, &field, starts, lines);
    }
}

fn locate_value(value: &Spanned<DeValue<'_>>, at: &str, starts: &Starts, lines: &mut Lines) {
    match value.get_ref() {
        DeValue::Array(list) => {
            for (index, one) in list.iter().enumerate() {
                let field = format!("{at}[{index}]");
                lines.0.insert(field.clone(), starts.line(&one.span()));
                locate_value(one, &field, starts, lines);
            }
        }
        DeValue::Table(table) => locate_table(table, at, starts, lines),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn convert_table(table: &DeTable<'_>) -> Value {
    let pairs = table
        .iter()
        .map(|(key, value)| (key.get_ref().as_ref().to_owned(), convert(value)));
    Value::Object(pairs.collect())
}

fn convert(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(string) => Value::String(string.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(list) => Value::Array(list.iter().map(convert).collect()),
        DeValue::Table(table) => convert_table(table),
    }
}
