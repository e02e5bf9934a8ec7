//! Reading a world: every fault at once, each with file, line, field and remedy. It must not open files.

use std::collections::BTreeSet;
use std::fmt;

use fake_kit::seed::Seed;
use serde_json::{Map, Value};
use thiserror::Error;

use super::lines::{self, Lines};
use super::{Account, Role, User, World, user_id};
use crate::arn::{RoleArn, is_account};
use crate::policy::{self, Kind, Policy};
use crate::secret::Secret;

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
    let (value, lines) = lines::parse(text).map_err(|faults| Faults {
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
    let mut reader = Reader {
        lines,
        faults: Vec::new(),
    };
    let world = reader.world(&value, seed);
    reader.finish(file, world)
}

/// Reads one `[[role]]`, as JSON, for an account.
///
/// # Errors
/// Every fault at once.
pub fn read_role(value: &Value, account: &Account) -> Result<Role, Faults> {
    let mut reader = Reader {
        lines: Lines::default(),
        faults: Vec::new(),
    };
    let role = value.as_object().and_then(|table| reader.role("role", table, account));
    if value.as_object().is_none() {
        reader.fault("role", "is not a table", "send {\"trust\": {...}, \"policy\": {...}}");
    }
    reader.finish("request", role)
}

struct Reader {
    lines: Lines,
    faults: Vec<Fault>,
}

impl Reader {
    fn finish<T>(mut self, file: &str, value: Option<T>) -> Result<T, Faults> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => {
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
            line: self.lines.of(field),
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

    fn world(&mut self, value: &Value, seed: &Seed) -> Option<World> {
        let table = value.as_object()?;
        let known: Vec<&str> = ["account", "role", "user"].into_iter().chain(FOREIGN_TABLES).collect();
        self.unknown("", table, &known);
        // Without a usable account the rest is read all the same, so that every fault is told.
        let account = self.account(table.get("account")).unwrap_or_else(|| Account {
            id: "000000000000".to_owned(),
            region: String::new(),
            partition: "aws".to_owned(),
        });
        let mut world = World::new(account);
        let mut names = BTreeSet::new();
        for (field, entry) in self.entries(table, "role") {
            if let Some(role) = self.role(&field, &entry, &world.account.clone()) {
                if !names.insert((role.arn.account.clone(), role.arn.name.clone())) {
                    self.fault(
                        &format!("{field}.name"),
                        "is taken in this account",
                        "role names are unique whatever their path; rename one",
                    );
                }
                world.put_role(role, seed);
            }
        }
        for (field, entry) in self.entries(table, "user") {
            if let Some(user) = self.user(&field, &entry, &world.account.clone(), seed)
                && !world.add_user(user)
            {
                self.fault(
                    &format!("{field}.access_key_id"),
                    "is taken",
                    "give each user a key of its own",
                );
            }
        }
        Some(world)
    }

    fn entries(&mut self, table: &Map<String, Value>, name: &str) -> Vec<(String, Map<String, Value>)> {
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
                Some(entry) => entries.push((format!("{name}[{index}]"), entry.clone())),
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
        self.unknown("account", table, &["id", "region", "partition"]);
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
        Some(Account {
            id: id?,
            region: region?,
            partition: partition?,
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

    /// Name, path and account of a role or user.
    fn identity(&mut self, at: &str, table: &Map<String, Value>, account: &Account) -> Option<[String; 3]> {
        let name = self.text(at, table, "name", None, "write name = \"deploy\"");
        let path = self.text(at, table, "path", Some("/"), "write path = \"/team/\"");
        let own = self.text(
            at,
            table,
            "account",
            Some(&account.id),
            "write account = \"123456789012\"",
        );
        if let Some(name) = &name
            && !(name.len() <= 64
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)))
        {
            self.fault(
                &format!("{at}.name"),
                "is no IAM name",
                "use up to 64 letters, digits and _+=,.@-",
            );
        }
        if let Some(path) = &path
            && !(path.starts_with('/') && path.ends_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            self.fault(
                &format!("{at}.path"),
                "is no IAM path",
                "begin and end it with a slash: \"/team/\"",
            );
        }
        if let Some(own) = &own
            && table.contains_key("account")
            && !is_account(own)
        {
            self.fault(
                &format!("{at}.account"),
                format!("is {own}, not twelve digits"),
                "write \"123456789012\"",
            );
        }
        Some([name?, path?, own?])
    }

    fn role(&mut self, at: &str, table: &Map<String, Value>, account: &Account) -> Option<Role> {
        self.unknown(
            at,
            table,
            &["name", "path", "account", "max_session_seconds", "trust", "policy"],
        );
        let identity = self.identity(at, table, account);
        let max_session_seconds = match table.get("max_session_seconds") {
            None => Some(3_600),
            Some(value) => {
                let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
                let seconds = seconds.filter(|seconds| (3_600..=43_200).contains(seconds));
                if seconds.is_none() {
                    let field = format!("{at}.max_session_seconds");
                    self.fault(
                        &field,
                        format!("is {value}"),
                        "write a number from 3600 to 43200, as IAM allows",
                    );
                }
                seconds
            }
        };
        let trust = match table.get("trust") {
            Some(value) => self.policy(&format!("{at}.trust"), value, Kind::Trust),
            None => {
                self.fault(
                    &format!("{at}.trust"),
                    "is missing",
                    "say who may assume the role: trust = { Version = \"2012-10-17\", Statement = [{ Effect = \"Allow\", Principal = { AWS = \"123456789012\" }, Action = \"sts:AssumeRole\" }] }",
                );
                None
            }
        };
        let policies = self.policies(at, table);
        let [name, path, own] = identity?;
        let arn = RoleArn {
            partition: account.partition.clone(),
            account: own,
            path,
            name,
        };
        Some(Role {
            arn,
            id: String::new(),
            max_session_seconds: max_session_seconds?,
            trust: trust?,
            policies,
        })
    }

    fn user(&mut self, at: &str, table: &Map<String, Value>, account: &Account, seed: &Seed) -> Option<User> {
        self.unknown(
            at,
            table,
            &[
                "name",
                "path",
                "account",
                "access_key_id",
                "secret_access_key",
                "policy",
            ],
        );
        let identity = self.identity(at, table, account);
        let key = self.text(
            at,
            table,
            "access_key_id",
            None,
            "write access_key_id = \"AKIAIOSFODNN7EXAMPLE\"",
        );
        let secret = self.text(
            at,
            table,
            "secret_access_key",
            None,
            "write secret_access_key = \"...\", 40 characters",
        );
        if let Some(key) = &key
            && !(key.starts_with("AKIA")
                && (16..=128).contains(&key.len())
                && key.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            self.fault(
                &format!("{at}.access_key_id"),
                "is no long-lived key id",
                "begin it with AKIA and use 16 to 128 letters and digits",
            );
        }
        let policies = self.policies(at, table);
        let [name, path, own] = identity?;
        Some(User {
            arn: format!("arn:{}:iam::{own}:user{path}{name}", account.partition),
            id: user_id(seed, &own, &name),
            partition: account.partition.clone(),
            account: own,
            name,
            access_key_id: key?,
            secret: Secret::new(secret?),
            policies,
        })
    }

    fn policies(&mut self, at: &str, table: &Map<String, Value>) -> Vec<Policy> {
        let field = format!("{at}.policy");
        match table.get("policy") {
            None => Vec::new(),
            Some(Value::Array(list)) => list
                .iter()
                .enumerate()
                .filter_map(|(index, one)| self.policy(&format!("{field}[{index}]"), one, Kind::Identity))
                .collect(),
            Some(one) => self.policy(&field, one, Kind::Identity).into_iter().collect(),
        }
    }

    fn policy(&mut self, field: &str, value: &Value, kind: Kind) -> Option<Policy> {
        let read = match value {
            Value::String(text) => policy::parse_text(text, kind),
            other => policy::parse(other, kind),
        };
        read.map_err(|faults| {
            for fault in faults {
                let at = if fault.at.is_empty() {
                    field.to_owned()
                } else {
                    format!("{field}.{}", fault.at)
                };
                self.fault(&at, fault.problem, fault.remedy);
            }
        })
        .ok()
    }
}
