//! Reads one document by the shape table: reports what does not fit with its line, and repairs it so that the rest can still be checked.
//! Knows the table, not what the keys mean.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Span};
use super::shape::{CASE, DEFENCES, Kind, Shape};
use crate::verdict::Verdict;

/// A text value and where it stands.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) field: String,
    pub(super) text: String,
}

/// A document that was read.
#[derive(Debug)]
pub(super) struct Document {
    file: String,
    /// What fits the table; what does not is left out or replaced by something neutral.
    pub(super) table: toml::Table,
    /// Every text value.
    pub(super) texts: Vec<Text>,
    places: BTreeMap<String, Span>,
    /// Fields that were repaired: what is found there later follows from the first fault.
    repaired: Vec<String>,
    faults: Vec<Fault>,
}

impl Document {
    pub(super) fn read(file: &str, text: &str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader {
            text,
            document: Self {
                file: file.to_owned(),
                table: toml::Table::new(),
                texts: Vec::new(),
                places: BTreeMap::new(),
                repaired: Vec::new(),
                faults: Vec::new(),
            },
        };
        for error in &errors {
            let place = reader.place(error.span().unwrap_or_default());
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            reader.document.push(place, "", what, "write valid TOML".to_owned());
        }
        if errors.is_empty() {
            let whole = Span::line(1);
            reader.document.places.insert(String::new(), whole);
            reader.document.table = reader.shaped("", whole, root.get_ref(), &CASE);
        }
        reader.document
    }

    /// Whether the text was TOML at all, so that checks of its meaning make sense.
    pub(super) fn is_readable(&self) -> bool {
        !self.places.is_empty()
    }

    /// Adds a fault at the field, or at the nearest table around it. A fault that follows from a repair is not added.
    pub(super) fn add(&mut self, field: &str, what: String, remedy: impl Into<String>) {
        let within = |repaired: &String| {
            field
                .strip_prefix(repaired.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !self.repaired.iter().any(within) {
            self.push(self.place_of(field), field, what, remedy.into());
        }
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    fn place_of(&self, field: &str) -> Span {
        let mut field = field;
        loop {
            if let Some(place) = self.places.get(field) {
                return *place;
            }
            let Some(cut) = field.rfind(['.', '[']) else {
                return self.places.get("").copied().unwrap_or_default();
            };
            field = field.split_at(cut).0;
        }
    }

    fn push(&mut self, place: Span, field: &str, what: String, remedy: String) {
        self.faults.push(Fault {
            file: self.file.clone(),
            line: place.line,
            field: field.to_owned(),
            what,
            remedy,
            span: (place.start < place.end).then_some((place.start, place.end)),
        });
    }
}

struct Reader<'t> {
    text: &'t str,
    document: Document,
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Span {
        let before = self.text.bytes().take(span.start);
        // An error between two letters is shown on what follows in its line.
        let rest = self.text.get(span.start..).and_then(|rest| rest.lines().next());
        let end = if span.is_empty() {
            span.start + rest.map_or(0, str::len)
        } else {
            span.end
        };
        Span {
            line: before.filter(|byte| *byte == b'\n').count() + 1,
            start: span.start,
            end,
        }
    }

    /// A key with its value, where both are on one line; the key where they are not.
    fn place_of(&self, key: Range<usize>, value: Range<usize>) -> Span {
        let whole = key.start..value.end;
        let is_one_line = self.text.get(whole.clone()).is_some_and(|text| !text.contains('\n'));
        self.place(if is_one_line { whole } else { key })
    }

    fn shaped(&mut self, path: &str, place: Span, table: &DeTable<'_>, shape: &Shape) -> toml::Table {
        let mut fitting = toml::Table::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let at = self.place_of(key.span(), value.span());
            let field = join(path, name);
            self.document.places.insert(field.clone(), at);
            match shape.keys.iter().find(|known| known.name == name) {
                Some(known) => {
                    if let Some(value) = self.value(&field, at, value, &known.kind) {
                        fitting.insert(name.to_owned(), value);
                    }
                }
                None => {
                    let names: Vec<&str> = shape.keys.iter().map(|known| known.name).collect();
                    self.document
                        .push(at, &field, "unknown key".to_owned(), suggestion(name, &names));
                }
            }
        }
        for key in shape.keys.iter().filter(|key| key.needed) {
            let field = join(path, key.name);
            if !table.contains_key(key.name) {
                self.document
                    .push(place, &field, "missing".to_owned(), format!("add it: {}", key.doc));
                self.excuse(&field);
            }
            if !fitting.contains_key(key.name) {
                fitting.insert(key.name.to_owned(), neutral(&key.kind));
            }
        }
        if shape.one_of && fitting.len() != 1 {
            let names: Vec<&str> = shape.keys.iter().map(|known| known.name).collect();
            let what = format!("{} effects in one table", fitting.len());
            self.document
                .push(place, path, what, format!("write exactly one of {}", names.join(", ")));
            self.excuse(path);
        }
        fitting
    }

    fn excuse(&mut self, field: &str) {
        // Without its action nothing can be said about a step's other keys.
        let repaired = field.strip_suffix(".do").unwrap_or(field);
        self.document.repaired.push(repaired.to_owned());
    }

    fn wrong(&mut self, field: &str, place: Span, what: String, remedy: String) -> Option<toml::Value> {
        self.document.push(place, field, what, remedy);
        self.excuse(field);
        None
    }

    fn value(&mut self, field: &str, place: Span, value: &Spanned<DeValue<'_>>, kind: &Kind) -> Option<toml::Value> {
        match (kind, value.get_ref()) {
            (Kind::Text, DeValue::String(text)) => {
                self.document.texts.push(Text {
                    field: field.to_owned(),
                    text: text.to_string(),
                });
                Some(toml::Value::String(text.to_string()))
            }
            (Kind::Flag, DeValue::Boolean(flag)) => Some(toml::Value::Boolean(*flag)),
            (Kind::Count(least, most), DeValue::Integer(digits)) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(count) if (*least..=*most).contains(&count) => Some(toml::Value::Integer(count)),
                    _ => {
                        let remedy = format!("write a number from {least} to {most}");
                        self.wrong(field, place, format!("`{}` is out of range", digits.as_str()), remedy)
                    }
                }
            }
            (Kind::Word(words), DeValue::String(word)) => {
                if words.contains(&word.as_ref()) {
                    Some(toml::Value::String(word.to_string()))
                } else {
                    self.wrong(field, place, format!("unknown word `{word}`"), suggestion(word, words))
                }
            }
            (Kind::Verdict, DeValue::String(word)) => match word.parse::<Verdict>() {
                Ok(_) => Some(toml::Value::String(word.to_string())),
                Err(error) => {
                    let told = error.to_string();
                    let (what, remedy) = told.split_once(": ").unwrap_or((told.as_str(), "write a verdict"));
                    self.wrong(field, place, what.to_owned(), remedy.to_owned())
                }
            },
            (Kind::List(item), DeValue::Array(items)) => {
                Some(toml::Value::Array(self.items(field, items.iter(), item)))
            }
            (Kind::Pair, DeValue::Array(items)) if items.len() == 2 => {
                Some(toml::Value::Array(self.items(field, items.iter(), &Kind::Text)))
            }
            (Kind::Table(shape), DeValue::Table(table)) => {
                Some(toml::Value::Table(self.shaped(field, place, table, shape)))
            }
            (Kind::Named(item), DeValue::Table(table)) => Some(self.named(field, table, item, |_| None)),
            (Kind::PerDefence(item), DeValue::Table(table)) => Some(self.named(field, table, item, |name| {
                (!DEFENCES.contains(&name)).then(|| suggestion(name, DEFENCES))
            })),
            (kind, other) => {
                let what = format!("{} where {} belongs", described(other), kind.described());
                self.wrong(field, place, what, format!("write {}", kind.described()))
            }
        }
    }

    fn items<'v>(
        &mut self,
        field: &str,
        items: impl Iterator<Item = &'v Spanned<DeValue<'v>>>,
        kind: &Kind,
    ) -> Vec<toml::Value> {
        let mut fitting = Vec::new();
        for (index, item) in items.enumerate() {
            let field = format!("{field}[{index}]");
            let place = self.place(item.span());
            self.document.places.insert(field.clone(), place);
            // Something stands in for a broken item, so that the index of the next one stays right.
            fitting.push(self.value(&field, place, item, kind).unwrap_or_else(|| neutral(kind)));
        }
        fitting
    }

    fn named(
        &mut self,
        field: &str,
        table: &DeTable<'_>,
        kind: &Kind,
        refuse: impl Fn(&str) -> Option<String>,
    ) -> toml::Value {
        let mut fitting = toml::Table::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let field = join(field, name);
            let place = self.place_of(key.span(), value.span());
            self.document.places.insert(field.clone(), place);
            if let Some(remedy) = refuse(name) {
                self.document.push(place, &field, "unknown key".to_owned(), remedy);
            } else if let Some(value) = self.value(&field, place, value, kind) {
                fitting.insert(name.to_owned(), value);
            }
        }
        toml::Value::Table(fitting)
    }
}

impl Kind {
    fn described(&self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Count(least, most) => format!("a number from {least} to {most}"),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Verdict => "a verdict as a string".to_owned(),
            Self::List(Self::Table(_)) => "a list of tables".to_owned(),
            Self::List(item) => format!("a list, each item {}", item.described()),
            Self::Pair => "a list of a name and a value".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Named(item) => format!("a table, each value {}", item.described()),
            Self::PerDefence(item) => format!("a table with a key for each defence, each value {}", item.described()),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value of that kind that says nothing.
fn neutral(kind: &Kind) -> toml::Value {
    match kind {
        Kind::Text => toml::Value::String(String::new()),
        Kind::Verdict => toml::Value::String(Verdict::Void.to_string()),
        Kind::Word(words) => toml::Value::String(words.first().copied().unwrap_or_default().to_owned()),
        Kind::Flag => toml::Value::Boolean(false),
        Kind::Count(least, _) => toml::Value::Integer(*least),
        Kind::List(_) => toml::Value::Array(Vec::new()),
        Kind::Pair => toml::Value::Array(vec![neutral(&Kind::Text), neutral(&Kind::Text)]),
        Kind::Table(shape) => toml::Value::Table(
            shape
                .keys
                .iter()
                .filter(|key| key.needed)
                .map(|key| (key.name.to_owned(), neutral(&key.kind)))
                .collect(),
        ),
        Kind::Named(_) | Kind::PerDefence(_) => toml::Value::Table(toml::Table::new()),
    }
}

/// What the author probably meant, or everything that is possible.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .min();
    match nearest {
        // Less than half of the letters: more is another word, and a single letter is never a slip of another one.
        Some((steps, candidate)) if steps * 2 < candidate.len().max(word.len()) => {
            format!("did you mean `{candidate}`?")
        }
        _ if known.is_empty() => "there is none: add it or remove this".to_owned(),
        _ => {
            let mut once: Vec<&str> = Vec::new();
            for candidate in known.iter().filter(|candidate| !candidate.is_empty()) {
                if !once.contains(candidate) {
                    once.push(candidate);
                }
            }
            format!("known are {}", once.join(", "))
        }
    }
}

/// Levenshtein distance, of the first 40 letters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(40).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().take(40).enumerate() {
        let mut next = vec![index + 1];
        for ((other, above), diagonal) in right.iter().zip(row.iter().skip(1)).zip(&row) {
            let beside = next.last().copied().unwrap_or(0);
            next.push(
                (diagonal + usize::from(letter != *other))
                    .min(above + 1)
                    .min(beside + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
