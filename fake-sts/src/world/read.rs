//! Reading a world: every fault at once, each with file, line, field and remedy. It must not open files.

mod federation;
mod principals;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use fake_kit::seed::Seed;
use serde_json::{Map, Value};
use thiserror::Error;

use super::lines;
use super::{Account, Role, World};
use crate::arn::is_account;
use crate::policy::{Document, Kind, read_document};

/// Tables that other programs read from the same file.
const FOREIGN_TABLES: [&str; 1] = ["instance"];

/// One fault of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the file, if it is one.
    pub line: Option<usize>,
    /// `role[0].max_session_seconds`; empty for the file itself.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// Every fault of a world.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Faults {
    /// The file's name, as the user gave it.
    pub file: String,
    /// In file order.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        write!(
            out,
            "{} has {count} {}",
            self.file,
            if count == 1 { "fault" } else { "faults" }
        )?;
        for fault in &self.faults {
            write!(out, "\n{}", self.file)?;
            if let Some(line) = fault.line {
                write!(out, ":{line}")?;
            }
            write!(out, ": {} {}\n  hint: {}", fault.field, fault.problem, fault.remedy)?;
        }
        Ok(())
    }
}

/// Reads a world from the text of `world.toml`.
///
/// # Errors
/// Every fault at once.
pub fn read(text: &str, file: &str, seed: &Seed) -> Result<World, Faults> {
    if let Some(world) = read_in_parts(text, seed) {
        return Ok(world);
    }
    // Only the whole tells every fault, and where it is.
    let value = lines::parse(text).map_err(|faults| Faults {
        file: file.to_owned(),
        faults: faults
            .into_iter()
            .map(|fault| Fault {
                line: fault.line,
                field: "syntax:".to_owned(),
                problem: fault.problem,
                remedy: "write TOML".to_owned(),
            })
            .collect(),
    })?;
    let mut reader = Reader::default();
    let world = reader.world(&value, &[], seed);
    reader.finish(file, text, world)
}

/// A world without faults, of a file that describes its roles in the usual way.
fn read_in_parts(text: &str, seed: &Seed) -> Option<World> {
    let parts = lines::take_apart(text);
    let rest = lines::parse(&parts.rest).ok()?;
    // They would be two lists of one name.
    if !parts.roles.is_empty() && rest.get("role").is_some() {
        return None;
    }
    let mut reader = Reader::default();
    let world = reader.world(&rest, &parts.roles, seed)?;
    reader.faults.is_empty().then_some(world)
}

/// Reads one `[[role]]`, as JSON, for an account.
///
/// # Errors
/// Every fault at once.
pub fn read_role(value: &Value, account: &Account) -> Result<Role, Faults> {
    let mut reader = Reader::default();
    let role = value.as_object().and_then(|table| reader.role("role", table, account));
    if value.as_object().is_none() {
        reader.fault("role", "is not a table", "send {\"trust\": {...}, \"policy\": {...}}");
    }
    reader.finish("request", "", role)
}

#[derive(Default)]
struct Reader {
    faults: Vec<Fault>,
    /// Documents read: many roles have the same.
    trusts: HashSet<ByText>,
    policies: HashSet<ByText>,
}

/// A document that is found by its text, so that no text is kept twice.
#[derive(PartialEq, Eq)]
struct ByText(Arc<Document>);

impl Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl Reader {
    fn finish<T>(mut self, file: &str, text: &str, value: Option<T>) -> Result<T, Faults> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => {
                let lines = lines::locate(text);
                for fault in &mut self.faults {
                    fault.line = lines.of(&fault.field);
                }
                self.faults.sort_by_key(|fault| fault.line);
                Err(Faults {
                    file: file.to_owned(),
                    faults: self.faults,
                })
            }
        }
    }

    fn fault(&mut self, field: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.faults.push(Fault {
            line: None,
            field: field.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    fn unknown(&mut self, at: &str, table: &Map<String, Value>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let field = if at.is_empty() {
                key.clone()
            } else {
                format!("{at}.{key}")
            };
            self.fault(
                &field,
                "is not known",
                format!("remove it, or use one of {}", known.join(", ")),
            );
        }
    }

    /// Reads a world; its roles stand in it, or in parts of their own.
    fn world(&mut self, value: &Value, parts: &[&str], seed: &Seed) -> Option<World> {
        let table = value.as_object()?;
        let known: Vec<&str> = [
            "account",
            "role",
            "user",
            "policy",
            "oidc_provider",
            "saml_provider",
            "issuer",
            "organization",
        ]
        .into_iter()
        .chain(FOREIGN_TABLES)
        .collect();
        self.unknown("", table, &known);
        // Without a usable account the rest is read all the same, so that every fault is told.
        let account = self.account(table.get("account")).unwrap_or_else(|| Account {
            id: "000000000000".to_owned(),
            region: String::new(),
            partition: "aws".to_owned(),
            outbound_web_identity: false,
        });
        let mut world = World::new(account);
        for (field, entry) in self.entries(table, "role") {
            self.add_role(&field, entry, &mut world, seed);
        }
        for (index, part) in parts.iter().enumerate() {
            self.add_role(&format!("role[{index}]"), &lines::parse_role(part)?, &mut world, seed);
        }
        for (field, entry) in self.entries(table, "user") {
            if let Some((user, key)) = self.user(&field, entry, &world.account.clone()) {
                world.put_user(user, seed);
                if !world.add_key(key) {
                    self.fault(
                        &format!("{field}.access_key_id"),
                        "is taken",
                        "give each user a key of its own",
                    );
                }
            }
        }
        self.federation(table, &mut world, seed);
        Some(world)
    }

    fn add_role(&mut self, field: &str, entry: &Map<String, Value>, world: &mut World, seed: &Seed) {
        let Some(role) = self.role(field, entry, &world.account) else {
            return;
        };
        if world.role(&role.arn.account, &role.arn.name).is_some() {
            self.fault(
                &format!("{field}.name"),
                "is taken in this account",
                "role names are unique whatever their path; rename one",
            );
        }
        world.put_role(role, seed);
    }

    fn entries<'a>(&mut self, table: &'a Map<String, Value>, name: &str) -> Vec<(String, &'a Map<String, Value>)> {
        let Some(value) = table.get(name) else {
            return Vec::new();
        };
        let Some(list) = value.as_array() else {
            self.fault(name, "is not a list of tables", format!("write [[{name}]]"));
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            match entry.as_object() {
                Some(entry) => entries.push((format!("{name}[{index}]"), entry)),
                None => self.fault(
                    &format!("{name}[{index}]"),
                    "is not a table",
                    format!("write [[{name}]]"),
                ),
            }
        }
        entries
    }

    fn account(&mut self, value: Option<&Value>) -> Option<Account> {
        let remedy = "write [account] with id = \"123456789012\", region = \"eu-central-1\", partition = \"aws\"";
        let Some(table) = value.and_then(Value::as_object) else {
            self.fault("account", "is missing", remedy);
            return None;
        };
        self.unknown(
            "account",
            table,
            &["id", "region", "partition", "outbound_web_identity"],
        );
        let id = self.text("account", table, "id", None, remedy);
        let region = self.text("account", table, "region", None, remedy);
        let partition = self.text("account", table, "partition", Some("aws"), remedy);
        if let Some(id) = &id
            && !is_account(id)
        {
            self.fault(
                "account.id",
                format!("is {id}, not twelve digits"),
                "write \"123456789012\"",
            );
        }
        let outbound_web_identity = self.flag("account", table, "outbound_web_identity");
        Some(Account {
            id: id?,
            region: region?,
            partition: partition?,
            outbound_web_identity,
        })
    }

    fn text(
        &mut self,
        at: &str,
        table: &Map<String, Value>,
        name: &str,
        default: Option<&str>,
        remedy: &str,
    ) -> Option<String> {
        let field = format!("{at}.{name}");
        match (table.get(name), default) {
            (Some(Value::String(text)), _) if !text.is_empty() => Some(text.clone()),
            (Some(_), _) => {
                self.fault(&field, "is not a text, or empty", remedy);
                None
            }
            (None, Some(default)) => Some(default.to_owned()),
            (None, None) => {
                self.fault(&field, "is missing", remedy);
                None
            }
        }
    }

    #[expect(
        clippy::mutable_key_type,
        reason = "the text, which is all that is hashed and compared, does not change"
    )]
    fn document(&mut self, field: &str, value: &Value, kind: Kind) -> Option<Arc<Document>> {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let known = match kind {
            Kind::Trust => &mut self.trusts,
            Kind::Identity => &mut self.policies,
        };
        if let Some(ByText(document)) = known.get(text.as_str()) {
            return Some(Arc::clone(document));
        }
        match read_document(&text, kind) {
            Ok(document) => {
                let document = Arc::new(document);
                known.insert(ByText(Arc::clone(&document)));
                Some(document)
            }
            Err(faults) => {
                for fault in faults {
                    let at = if fault.at.is_empty() {
                        field.to_owned()
                    } else {
                        format!("{field}.{}", fault.at)
                    };
                    self.fault(&at, fault.problem, fault.remedy);
                }
                None
            }
        }
    }

    fn texts(&mut self, at: &str, table: &Map<String, Value>, name: &str, remedy: &str) -> Vec<String> {
        let field = format!("{at}.{name}");
        let list = match table.get(name) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        let list: Option<Vec<String>> = list;
        list.unwrap_or_else(|| {
            self.fault(&field, "is not a list of texts", remedy);
            Vec::new()
        })
    }

    fn flag(&mut self, at: &str, table: &Map<String, Value>, name: &str) -> bool {
        match table.get(name) {
            None => false,
            Some(Value::Bool(yes)) => *yes,
            Some(_) => {
                self.fault(
                    &format!("{at}.{name}"),
                    "is neither true nor false",
                    "write true or false",
                );
                false
            }
        }
    }
}
