//! TOML to JSON values, and which line each field stands on, so that one reader serves files and the control API. It must not know what
//! the fields mean.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
pub(super) fn parse(text: &str) -> Result<(Value, Lines), Vec<SyntaxFault>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors
            .iter()
            .map(|error| SyntaxFault {
                line: error.span().map(|span| line_at(text, &span)),
                problem: error.message().replace('\n', " "),
            })
            .collect());
    }
    let mut lines = Lines::default();
    let value = convert_table(table.get_ref(), "", text, &mut lines);
    Ok((value, lines))
}

fn line_at(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn convert_table(table: &DeTable<'_>, at: &str, text: &str, lines: &mut Lines) -> Value {
    let mut map = Map::new();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let field = if at.is_empty() {
            name.to_owned()
        } else {
            format!("{at}.{name}")
        };
        lines.0.insert(field.clone(), line_at(text, &key.span()));
        map.insert(name.to_owned(), convert(value, &field, text, lines));
    }
    Value::Object(map)
}

fn convert(value: &Spanned<DeValue<'_>>, at: &str, text: &str, lines: &mut Lines) -> Value {
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
        DeValue::Array(list) => {
            let convert_one = |(index, one): (usize, &Spanned<DeValue<'_>>)| {
                let field = format!("{at}[{index}]");
                lines.0.insert(field.clone(), line_at(text, &one.span()));
                convert(one, &field, text, lines)
            };
            Value::Array(list.iter().enumerate().map(convert_one).collect())
        }
        DeValue::Table(table) => convert_table(table, at, text, lines),
    }
}
