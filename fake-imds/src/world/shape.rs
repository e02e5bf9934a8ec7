//! What a table of the world file may hold, as data: reader, faults and schema follow it. It must not know which tables there are.

use super::rule::Rule;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A text.
    Text(Rule),
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, as far as AWS goes.
    Usual(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A whole number in this range.
    Number(i64, i64),
    /// Texts.
    Texts(Rule),
    /// A table with names of the author's choice, and texts.
    Named(Rule, Rule),
    /// A table.
    Table(&'static [Key]),
    /// Tables in a row.
    Tables(&'static [Key]),
    /// A table, or tables in a row.
    TableOrTables(&'static [Key]),
    /// Somebody else's.
    Foreign,
}

/// One field.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) needed: bool,
    pub(super) doc: &'static str,
}

/// A field that may be left out.
pub(super) const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        needed: false,
        doc,
    }
}

/// A field that must be there.
pub(super) const fn needed(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        needed: true,
        doc,
    }
}
