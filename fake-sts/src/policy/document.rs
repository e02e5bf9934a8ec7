//! Reading a policy document: JSON in, statements or every fault at once out. It must not evaluate anything.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::condition::Condition;
use super::principal::Principal;

/// Where a document stands decides which elements it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A role's trust policy: `Principal`, no `Resource`.
    Trust,
    /// An identity or session policy: `Resource`, no `Principal`.
    Identity,
}

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Policy variables exist from version 2012-10-17 on.
    pub variables: bool,
    /// In document order.
    pub statements: Vec<Statement>,
}

/// A policy as it was written, and what it says. What it says is several times as large and kept only once it was asked for: of many roles, few
/// are assumed.
#[derive(Debug, Clone)]
pub struct Document {
    /// JSON, as written.
    pub text: String,
    kind: Kind,
    policy: OnceLock<Policy>,
}

impl Document {
    /// Its meaning.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        // It was read before without a fault; one that could not be read would allow nothing.
        self.policy.get_or_init(|| {
            parse_text(&self.text, self.kind).unwrap_or(Policy {
                variables: false,
                statements: Vec::new(),
            })
        })
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.kind) == (&other.text, other.kind)
    }
}

impl Eq for Document {}

/// Reads a document and keeps its text.
///
/// # Errors
/// Every fault at once.
pub fn read_document(text: &str, kind: Kind) -> Result<Document, Vec<PolicyFault>> {
    parse_text(text, kind).map(|_| Document {
        text: text.to_owned(),
        kind,
        policy: OnceLock::new(),
    })
}

/// `Allow` or `Deny`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses, whatever else grants.
    Deny,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `Sid`.
    pub sid: Option<String>,
    /// `Effect`.
    pub effect: Effect,
    /// `Principal` or `NotPrincipal`; `None` in identity policies.
    pub principals: Option<Principals>,
    /// `Action` or `NotAction`.
    pub actions: Scope,
    /// `Resource` or `NotResource`; `None` in trust policies.
    pub resources: Option<Scope>,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// `Principal` or, when `except`, `NotPrincipal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principals {
    /// Whether the list names who is *not* meant.
    pub except: bool,
    /// The entries.
    pub named: Vec<Principal>,
}

/// A list of patterns or, when `except`, everything but them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Whether the list names what is *not* meant.
    pub except: bool,
    /// With `*`, `?` and, in resources, variables.
    pub patterns: Vec<String>,
}

/// One fault of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    /// Where, such as `Statement[0].Effect`; empty for the document itself.
    pub at: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// Reads a document from its JSON text.
///
/// # Errors
/// Every fault at once.
pub fn parse_text(text: &str, kind: Kind) -> Result<Policy, Vec<PolicyFault>> {
    match serde_json::from_str(text) {
        Ok(value) => parse(&value, kind),
        Err(error) => Err(vec![PolicyFault {
            at: String::new(),
            problem: format!("is not JSON: {error}"),
            remedy: "write a policy document, {\"Version\": \"2012-10-17\", \"Statement\": [...]}".to_owned(),
        }]),
    }
}

/// Reads a document.
///
/// # Errors
/// Every fault at once.
pub fn parse(value: &Value, kind: Kind) -> Result<Policy, Vec<PolicyFault>> {
    let mut reader = Reader {
        kind,
        faults: Vec::new(),
    };
    let policy = reader.document(value);
    match (policy, reader.faults.is_empty()) {
        (Some(policy), true) => Ok(policy),
        _ => Err(reader.faults),
    }
}

struct Reader {
    kind: Kind,
    faults: Vec<PolicyFault>,
}

impl Reader {
    fn fault(&mut self, at: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.faults.push(PolicyFault {
            at: at.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    fn unknown(&mut self, at: &str, table: &Map<String, Value>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            self.fault(
                &join(at, key),
                "is no element of a policy",
                format!("use one of {}", known.join(", ")),
            );
        }
    }

    fn document(&mut self, value: &Value) -> Option<Policy> {
        let Some(table) = value.as_object() else {
            self.fault(
                "",
                "is not a policy document",
                "write a table with Version and Statement",
            );
            return None;
        };
        self.unknown("", table, &["Version", "Id", "Statement"]);
        let variables = match table.get("Version").map(Value::as_str) {
            None | Some(Some("2008-10-17")) => false,
            Some(Some("2012-10-17")) => true,
            Some(_) => {
                self.fault(
                    "Version",
                    "is not a version of the policy language",
                    "write \"2012-10-17\"",
                );
                false
            }
        };
        let statements = match table.get("Statement") {
            Some(Value::Array(list)) if !list.is_empty() => list.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => {
                self.fault("Statement", "is missing or empty", "write at least one statement");
                return None;
            }
        };
        let statements = statements
            .iter()
            .enumerate()
            .filter_map(|(index, one)| self.statement(index, one))
            .collect();
        Some(Policy { variables, statements })
    }

    fn statement(&mut self, index: usize, value: &Value) -> Option<Statement> {
        let at = format!("Statement[{index}]");
        let Some(table) = value.as_object() else {
            self.fault(&at, "is not a table", "write {\"Effect\": \"Allow\", \"Action\": ...}");
            return None;
        };
        let known: &[&str] = match self.kind {
            Kind::Trust => &[
                "Sid",
                "Effect",
                "Principal",
                "NotPrincipal",
                "Action",
                "NotAction",
                "Condition",
            ],
            Kind::Identity => &[
                "Sid",
                "Effect",
                "Action",
                "NotAction",
                "Resource",
                "NotResource",
                "Condition",
            ],
        };
        self.unknown(&at, table, known);
        let effect = match table.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Some(Effect::Allow),
            Some("Deny") => Some(Effect::Deny),
            _ => {
                self.fault(
                    &join(&at, "Effect"),
                    "is neither Allow nor Deny",
                    "write \"Allow\" or \"Deny\"",
                );
                None
            }
        };
        let actions = self.scope(&at, table, "Action", "NotAction");
        let resources = match self.kind {
            Kind::Trust => None,
            Kind::Identity => Some(self.scope(&at, table, "Resource", "NotResource")?),
        };
        let principals = match self.kind {
            Kind::Trust => Some(self.principals(&at, table, effect)?),
            Kind::Identity => None,
        };
        let conditions = self.conditions(&at, table.get("Condition"));
        let sid = table.get("Sid").and_then(Value::as_str).map(str::to_owned);
        Some(Statement {
            sid,
            effect: effect?,
            principals,
            actions: actions?,
            resources,
            conditions,
        })
    }

    fn scope(&mut self, at: &str, table: &Map<String, Value>, name: &str, negated: &str) -> Option<Scope> {
        let (except, value) = match (table.get(name), table.get(negated)) {
            (Some(value), None) => (false, value),
            (None, Some(value)) => (true, value),
            (None, None) => {
                self.fault(
                    &join(at, name),
                    "is missing",
                    format!("name the {}", name.to_lowercase()),
                );
                return None;
            }
            (Some(_), Some(_)) => {
                self.fault(
                    &join(at, negated),
                    format!("stands beside {name}"),
                    "keep one of the two",
                );
                return None;
            }
        };
        let field = join(at, if except { negated } else { name });
        let patterns = self.strings(&field, value)?;
        Some(Scope { except, patterns })
    }

    fn strings(&mut self, at: &str, value: &Value) -> Option<Vec<String>> {
        let list = match value {
            Value::Array(list) => list.iter().map(scalar).collect::<Option<Vec<_>>>(),
            other => scalar(other).map(|text| vec![text]),
        };
        if list.as_ref().is_none_or(Vec::is_empty) {
            self.fault(
                at,
                "is not a text or a list of texts",
                "write \"...\" or [\"...\", \"...\"]",
            );
            return None;
        }
        list
    }

    fn principals(&mut self, at: &str, table: &Map<String, Value>, effect: Option<Effect>) -> Option<Principals> {
        let (except, value) = match (table.get("Principal"), table.get("NotPrincipal")) {
            (Some(value), None) => (false, value),
            (None, Some(value)) => (true, value),
            _ => {
                self.fault(
                    &join(at, "Principal"),
                    "must stand exactly once in a trust policy",
                    "write {\"AWS\": \"arn:aws:iam::123456789012:root\"}",
                );
                return None;
            }
        };
        let field = join(at, if except { "NotPrincipal" } else { "Principal" });
        if except && effect == Some(Effect::Allow) {
            self.fault(
                &field,
                "stands in an Allow statement",
                "name who may with Principal; NotPrincipal is for Deny",
            );
        }
        if value.as_str() == Some("*") {
            return Some(Principals {
                except,
                named: vec![Principal::Anyone],
            });
        }
        let Some(kinds) = value.as_object() else {
            self.fault(&field, "is neither \"*\" nor a table", "write {\"AWS\": \"...\"}");
            return None;
        };
        let mut named = Vec::new();
        for (kind, value) in kinds {
            let field = join(&field, kind);
            for text in self.strings(&field, value).unwrap_or_default() {
                let principal = match kind.as_str() {
                    "AWS" => Principal::parse_aws(&text),
                    "Service" => Some(Principal::Service(text.clone())),
                    "Federated" => Some(Principal::Federated(text.clone())),
                    _ => None,
                };
                match principal {
                    Some(principal) => named.push(principal),
                    None => self.fault(
                        &field,
                        format!("{text} is no principal"),
                        "write an account number, the ARN of a root, user, role or role session, or \"*\"; wildcards inside an ARN do not exist",
                    ),
                }
            }
        }
        Some(Principals { except, named })
    }

    fn conditions(&mut self, at: &str, value: Option<&Value>) -> Vec<Condition> {
        let mut conditions = Vec::new();
        let Some(value) = value else { return conditions };
        let at = join(at, "Condition");
        let Some(operators) = value.as_object() else {
            self.fault(
                &at,
                "is not a table",
                "write {\"StringEquals\": {\"sts:ExternalId\": \"...\"}}",
            );
            return conditions;
        };
        for (operator, keys) in operators {
            let at = join(&at, operator);
            let Some(keys) = keys.as_object() else {
                self.fault(&at, "is not a table", "write {\"sts:ExternalId\": \"...\"}");
                continue;
            };
            for (key, values) in keys {
                if let Some(values) = self.strings(&join(&at, key), values) {
                    conditions.push(Condition::new(operator, key, values));
                }
            }
        }
        conditions
    }
}

/// IAM takes numbers and booleans where it wants text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn join(at: &str, field: &str) -> String {
    if at.is_empty() {
        field.to_owned()
    } else {
        format!("{at}.{field}")
    }
}
