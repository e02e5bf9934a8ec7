//! Reads the fields of one TOML table: types, presence, unknown keys. Knows no field by name.

use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::fault::Source;

/// Characters of a faulty text that are repeated to the operator.
const SHOWN: usize = 80;

/// One value with the place where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) at: Range<usize>,
    pub(super) field: String,
}

/// A table of which fields are taken one by one; what was never asked for is unknown.
#[derive(Debug)]
pub(super) struct Fields<'s, 'i> {
    source: &'s Source<'s>,
    path: String,
    at: Range<usize>,
    table: Option<&'s DeTable<'i>>,
    asked: Vec<&'static str>,
}

impl<'s, 'i> Fields<'s, 'i> {
    pub(super) fn new(source: &'s Source<'s>, path: &str, at: Range<usize>, table: Option<&'s DeTable<'i>>) -> Self {
        Self {
            source,
            path: path.to_owned(),
            at,
            table,
            asked: Vec::new(),
        }
    }

    pub(super) fn place(&self) -> Range<usize> {
        self.at.clone()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn field(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    fn take(&mut self, name: &'static str) -> Option<&'s Spanned<DeValue<'i>>> {
        self.asked.push(name);
        self.table?
            .iter()
            .find(|(key, _)| key.get_ref() == name)
            .map(|(_, value)| value)
    }

    fn wrong_type(&self, name: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let problem = format!("expected {expected}, found {}", value.get_ref().type_str());
        self.source
            .fault(value.span(), self.field(name), problem, format!("write {expected}"));
    }

    /// A table of its own, empty when it is absent.
    pub(super) fn table(&mut self, name: &'static str) -> Fields<'s, 'i> {
        let value = self.take(name);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            self.wrong_type(name, value, "a table");
        }
        Fields::new(
            self.source,
            &self.field(name),
            value.map_or(self.at.clone(), Spanned::span),
            table,
        )
    }

    /// A table of its own, if there is one.
    pub(super) fn optional_table(&mut self, name: &'static str) -> Option<Fields<'s, 'i>> {
        let is_present = self.is_present(name);
        let fields = self.table(name);
        is_present.then_some(fields)
    }

    /// An array of tables.
    pub(super) fn tables(&mut self, name: &'static str) -> Vec<Fields<'s, 'i>> {
        let Some(value) = self.take(name) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(name, value, "an array of tables");
            return Vec::new();
        };
        let mut all = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let path = format!("{}[{index}]", self.field(name));
            match item.get_ref().as_table() {
                Some(table) => all.push(Fields::new(self.source, &path, item.span(), Some(table))),
                None => self.wrong_type(name, item, "a table"),
            }
        }
        all
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(value) = self.take(name) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(name, value, "true or false");
            default
        })
    }

    /// A number within bounds, or the default.
    pub(super) fn number(&mut self, name: &'static str, bounds: Range<u64>, default: u64) -> u64 {
        let Some(value) = self.take(name) else { return default };
        let number = integer(value);
        match number {
            Some(number) if bounds.contains(&number) => number,
            Some(_) | None if value.get_ref().is_integer() => {
                let last = bounds.end.saturating_sub(1);
                let problem = format!("{} is out of bounds", written(value));
                let remedy = format!("write a number from {} to {last}", bounds.start);
                self.source.fault(value.span(), self.field(name), problem, remedy);
                default
            }
            Some(_) | None => {
                self.wrong_type(name, value, "a number");
                default
            }
        }
    }

    /// A text that is something: absent, good, or a fault.
    pub(super) fn parse<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
        remedy: &str,
    ) -> Option<Found<T>> {
        let value = self.take(name)?;
        self.parse_value(name, value, &parse, remedy)
    }

    /// The same, where absence is a fault too.
    pub(super) fn require<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
        remedy: &str,
    ) -> Option<T> {
        if !self.table.is_some_and(|table| table.contains_key(name)) {
            self.asked.push(name);
            self.missing(name, remedy);
            return None;
        }
        self.parse(name, parse, remedy).map(|found| found.value)
    }

    pub(super) fn missing(&self, name: &str, remedy: &str) {
        self.source
            .fault(self.at.clone(), self.field(name), "is missing", remedy);
    }

    /// A fault of a field whose value is good by itself.
    pub(super) fn fault_in(&self, name: &str, problem: &str, remedy: &str) {
        let mut fields = self.table.into_iter().flat_map(DeTable::iter);
        let at = fields
            .find(|(key, _)| key.get_ref() == name)
            .map(|(_, value)| value.span());
        self.source
            .fault(at.unwrap_or_else(|| self.at.clone()), self.field(name), problem, remedy);
    }

    /// A fault of a value that is good by itself.
    pub(super) fn fault<T>(&self, found: &Found<T>, problem: &str, remedy: &str) {
        self.source
            .fault(found.at.clone(), found.field.clone(), problem, remedy);
    }

    fn parse_value<T, E: Display>(
        &self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        parse: &impl Fn(&str) -> Result<T, E>,
        remedy: &str,
    ) -> Option<Found<T>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(name, value, "a text");
            return None;
        };
        match parse(text) {
            Ok(parsed) => Some(Found {
                value: parsed,
                at: value.span(),
                field: self.field(name),
            }),
            Err(fault) => {
                // Long texts are policies: their beginning tells which is meant.
                let shown = match text.char_indices().nth(SHOWN) {
                    Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or(text)),
                    None => format!("{text:?}"),
                };
                self.source
                    .fault(value.span(), self.field(name), format!("{shown}: {fault}"), remedy);
                None
            }
        }
    }

    /// One text or a list of them; absent is empty.
    pub(super) fn parse_all<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
        remedy: &str,
    ) -> Vec<Found<T>> {
        let Some(value) = self.take(name) else {
            return Vec::new();
        };
        match value.get_ref().as_array() {
            None => self.parse_value(name, value, &parse, remedy).into_iter().collect(),
            Some(array) => {
                self.refuse_empty(name, value, array);
                array
                    .iter()
                    .filter_map(|item| self.parse_value(name, item, &parse, remedy))
                    .collect()
            }
        }
    }

    /// A list of texts that may be empty; None if it is absent.
    pub(super) fn parse_list<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
        remedy: &str,
    ) -> Option<Vec<Found<T>>> {
        let value = self.take(name)?;
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(name, value, "a list of texts");
            return None;
        };
        let items = array.iter();
        Some(
            items
                .filter_map(|item| self.parse_value(name, item, &parse, remedy))
                .collect(),
        )
    }

    /// Texts under keys that the operator chooses, each key with the place where it stands; absent is empty.
    pub(super) fn entries<K, T, E: Display, F: Display>(
        &mut self,
        name: &'static str,
        parse_key: impl Fn(&str) -> Result<K, E>,
        remedy_of_key: &str,
        parse: impl Fn(&str) -> Result<T, F>,
        remedy: &str,
    ) -> Vec<(Found<K>, T)> {
        let fields = self.table(name);
        let entries = fields.table.into_iter().flat_map(DeTable::iter);
        let read = entries.filter_map(|(key, value)| {
            let (written, at) = (key.get_ref().as_ref(), key.span());
            let field = fields.field(written);
            let key = match parse_key(written) {
                Ok(value) => Some(Found { value, at, field }),
                Err(fault) => {
                    fields.source.fault(at, field, fault.to_string(), remedy_of_key);
                    None
                }
            };
            let value = fields.parse_value(written, value, &parse, remedy);
            key.zip(value.map(|found| found.value))
        });
        read.collect()
    }

    /// One positive number or a list of them; absent is empty.
    pub(super) fn numbers(&mut self, name: &'static str) -> Vec<u64> {
        let Some(value) = self.take(name) else {
            return Vec::new();
        };
        let one = |item: &Spanned<DeValue<'_>>| {
            let number = integer(item).filter(|number| *number > 0);
            if number.is_none() && item.get_ref().is_integer() {
                let problem = format!("{} is not a positive number", written(item));
                self.source
                    .fault(item.span(), self.field(name), problem, "write a positive number");
            } else if number.is_none() {
                self.wrong_type(name, item, "a positive number");
            }
            number
        };
        match value.get_ref().as_array() {
            None => one(value).into_iter().collect(),
            Some(array) => {
                self.refuse_empty(name, value, array);
                array.iter().filter_map(one).collect()
            }
        }
    }

    fn refuse_empty(&self, name: &str, value: &Spanned<DeValue<'_>>, array: &DeArray<'_>) {
        if array.is_empty() {
            let remedy = "leave the field out, or name at least one";
            self.source
                .fault(value.span(), self.field(name), "an empty list matches nothing", remedy);
        }
    }

    pub(super) fn is_present(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(name))
    }

    /// Ends the reading: every key that nobody asked for is a fault.
    pub(super) fn close(self) {
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                let remedy = format!("remove it; known here: {}", self.asked.join(", "));
                self.source
                    .fault(key.span(), self.field(key.get_ref()), "is not a known key", remedy);
            }
        }
    }
}

fn integer(value: &Spanned<DeValue<'_>>) -> Option<u64> {
    let number = value.get_ref().as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn written(value: &Spanned<DeValue<'_>>) -> String {
    value
        .get_ref()
        .as_integer()
        .map_or_else(String::new, ToString::to_string)
}
