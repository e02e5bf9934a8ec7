//! Reads `world.toml`: the tables of this fake strictly, those of the other fakes by name only.
//! It must not know where the text comes from.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use thiserror::Error;
use toml::de::DeTable;

use super::clash::clashes;
use super::fields::WORLD;
use super::judge::Judge;
use super::table::{Fault, Faults};
use super::{Account, Instance, World};

/// What is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tolerance {
    /// Values that AWS could never produce are faults.
    #[default]
    Plausible,
    /// They are not.
    AnythingGoes,
}

/// A world file with everything that is wrong with it.
#[derive(Debug, Error)]
pub struct BrokenWorld {
    file: String,
    faults: Vec<Fault>,
}

impl BrokenWorld {
    /// The faults, in the order of the file.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for BrokenWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self
            .faults
            .iter()
            .map(|fault| format!("{}:{fault}", self.file))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Reads the text of a world file; `file` names it in faults. What it does not say is as in the default world. There is at least one world.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(file: &str, text: &str, tolerance: Tolerance) -> Result<Vec<World>, BrokenWorld> {
    let broken = |faults| BrokenWorld {
        file: file.to_owned(),
        faults,
    };
    let anything_goes = tolerance == Tolerance::AnythingGoes;
    let mut faults = Faults::of(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        faults.add(
            error.span().unwrap_or(0..0),
            String::new(),
            error.message().replace('\n', ", "),
            "correct the TOML",
        );
    }
    Judge {
        faults: &mut faults,
        anything_goes,
    }
    .table("", document.get_ref(), document.span(), WORLD);
    let found = faults.finish();
    if !found.is_empty() {
        return Err(broken(found));
    }
    let general = |problem: String, remedy: &str| Fault {
        line: 1,
        field: "world".to_owned(),
        problem,
        remedy: remedy.to_owned(),
    };
    let worlds = worlds(text).map_err(|error| broken(vec![general(error.to_string(), "correct the TOML")]))?;
    let clashes = clashes(&worlds, anything_goes);
    if clashes.is_empty() {
        return Ok(worlds);
    }
    let mut found: Vec<Fault> = clashes
        .into_iter()
        .map(|clash| Fault {
            line: line_of(text, &clash.around),
            field: clash.field,
            problem: clash.problem,
            remedy: clash.remedy,
        })
        .collect();
    found.sort_by_key(|fault| fault.line);
    Err(broken(found))
}

fn worlds(text: &str) -> Result<Vec<World>, toml::de::Error> {
    let mut file: toml::Table = text.parse()?;
    let account = match file.remove("account") {
        Some(account) => Account::deserialize(account)?,
        None => Account::default(),
    };
    let tables = match file.remove("instance") {
        Some(toml::Value::Array(tables)) if !tables.is_empty() => tables,
        Some(table @ toml::Value::Table(_)) => vec![table],
        _ => vec![toml::Value::Table(toml::Table::new())],
    };
    tables
        .into_iter()
        .map(|table| {
            Ok(World {
                account: account.clone(),
                instance: Instance::deserialize(table)?,
            })
        })
        .collect()
}

/// The first line with that text.
fn line_of(text: &str, around: &str) -> usize {
    let at = text.lines().position(|line| line.contains(around));
    at.map_or(1, |at| at + 1)
}

/// The bytes of a text in base64; white space does not count.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_whitespace().collect();
    STANDARD.decode(text).ok()
}

impl Instance {
    /// The user data as bytes, without the canary.
    pub fn user_data_bytes(&self) -> Option<Vec<u8>> {
        let data = match &self.user_data_base64 {
            Some(text) => decoded(text),
            None => self.user_data.clone().map(String::into_bytes),
        };
        // A stated empty text is an instance without user data.
        data.filter(|data| !data.is_empty())
    }
}
