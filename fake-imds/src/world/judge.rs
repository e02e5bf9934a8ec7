//! Holds a table against its shape: every unknown field, every value of another kind, and, unless anything goes, every value that AWS could not
//! have produced. It must not know what the values are for.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::rule::Rule;
use super::shape::{Key, Kind};
use super::table::Faults;

/// Fields beyond which a fault does not name them all.
const NAMED: usize = 12;

/// What is judged how.
pub(super) struct Judge<'f, 't> {
    pub(super) faults: &'f mut Faults<'t>,
    pub(super) anything_goes: bool,
}

impl Judge<'_, '_> {
    /// Judges a table; `path` names it in faults.
    pub(super) fn table(&mut self, path: &str, table: &DeTable<'_>, span: Range<usize>, keys: &[Key]) {
        for (name, value) in table {
            let field = join(path, name.get_ref());
            match keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => self.value(&field, value, key.kind),
                None => {
                    let remedy = near(name.get_ref(), keys);
                    self.faults.add(name.span(), field, "is unknown", remedy);
                }
            }
        }
        for key in keys.iter().filter(|key| key.needed) {
            if !table.iter().any(|(name, _)| name.get_ref() == key.name) {
                let field = join(path, key.name);
                self.faults
                    .add(span.clone(), field, "is missing", format!("give it: {}", key.doc));
            }
        }
    }

    fn value(&mut self, field: &str, value: &Spanned<DeValue<'_>>, kind: Kind) {
        let (found, span) = (value.get_ref(), value.span());
        match kind {
            Kind::Text(rule) => self.text(field, value, rule),
            Kind::Word(words) => self.word(field, value, words, true),
            Kind::Usual(words) => self.word(field, value, words, false),
            Kind::Flag if found.as_bool().is_none() => {
                let remedy = "write true or false, without quotes";
                self.add(span, field, "is neither true nor false", remedy);
            }
            Kind::Number(least, most) => {
                let number = found.as_integer().and_then(|number| {
                    let digits = number.as_str().replace('_', "");
                    digits.parse::<i64>().ok().filter(|_| number.radix() == 10)
                });
                if !number.is_some_and(|number| (least..=most).contains(&number)) {
                    let remedy = format!("give a whole number from {least} to {most}");
                    self.add(span, field, "is out of range", &remedy);
                }
            }
            Kind::Texts(rule) => match found.as_array() {
                Some(items) => {
                    for item in items {
                        self.text(field, item, rule);
                    }
                }
                None => self.add(span, field, "is not a list", &format!("write [\"…\"]; {}", rule.remedy)),
            },
            Kind::Named(name_rule, value_rule) => match found.as_table() {
                Some(table) => {
                    for (name, item) in table {
                        let field = join(field, name.get_ref());
                        if !self.passes(name.get_ref(), name_rule) {
                            self.add(name.span(), &field, "is not accepted", name_rule.remedy);
                        }
                        self.text(&field, item, value_rule);
                    }
                }
                None => self.add(span, field, "is not a table", &format!("write [{field}]")),
            },
            Kind::Table(keys) => match found.as_table() {
                Some(table) => self.table(field, table, span, keys),
                None => self.add(span, field, "is not a table", &format!("write [{field}]")),
            },
            Kind::Tables(keys) => self.tables(field, value, keys),
            Kind::TableOrTables(keys) => match found.as_table() {
                Some(table) => self.table(field, table, span, keys),
                None if found.as_array().is_some() => self.tables(field, value, keys),
                None => self.add(span, field, "is not a table", &format!("write [{field}]")),
            },
            Kind::Flag | Kind::Foreign => {}
        }
    }

    fn tables(&mut self, field: &str, value: &Spanned<DeValue<'_>>, keys: &[Key]) {
        let Some(items) = value.get_ref().as_array() else {
            return self.add(
                value.span(),
                field,
                "is not a list of tables",
                &format!("write [[{field}]]"),
            );
        };
        for item in items {
            match item.get_ref().as_table() {
                Some(table) => self.table(field, table, item.span(), keys),
                None => self.add(item.span(), field, "is not a table", &format!("write [[{field}]]")),
            }
        }
    }

    fn text(&mut self, field: &str, value: &Spanned<DeValue<'_>>, rule: Rule) {
        match value.get_ref().as_str() {
            Some(text) if self.passes(text, rule) => {}
            Some(text) => {
                let shown: String = text.chars().take(60).collect();
                let problem = format!("{shown:?} is not accepted");
                self.add(value.span(), field, &problem, rule.remedy);
            }
            None => self.add(value.span(), field, "is not a string", rule.remedy),
        }
    }

    fn word(&mut self, field: &str, value: &Spanned<DeValue<'_>>, words: &[&str], always: bool) {
        let remedy = format!("give {}", listed(words));
        match value.get_ref().as_str() {
            Some(text) if words.contains(&text) || (self.anything_goes && !always) => {}
            Some(text) => self.add(value.span(), field, &format!("{text:?} is not accepted"), &remedy),
            None => self.add(value.span(), field, "is not a string", &remedy),
        }
    }

    fn passes(&self, text: &str, rule: Rule) -> bool {
        (self.anything_goes && !rule.always) || (rule.fits)(text)
    }

    fn add(&mut self, span: Range<usize>, field: &str, problem: &str, remedy: &str) {
        self.faults.add(span, field.to_owned(), problem, remedy);
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// `"a", "b" or "c"`.
fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// What to write instead of an unknown field.
fn near(name: &str, keys: &[Key]) -> String {
    if keys.len() <= NAMED {
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        return format!("remove it, or use one of {}", names.join(", "));
    }
    let likeness = |key: &&Key| (strsim::jaro_winkler(name, key.name) * 1000.0).round();
    let best = keys.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|best| likeness(best) > 700.0) {
        Some(best) => format!("remove it, or did you mean {}?", best.name),
        None => "remove it; `fake-imds schema` prints what may stand here".to_owned(),
    }
}
