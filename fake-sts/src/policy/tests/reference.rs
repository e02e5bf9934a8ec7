//! A second reading of IAM's rules, slow and plain, straight from the JSON: what the engine must agree with. It shares nothing with the
//! engine but the inputs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde_json::Value;

/// Keys of a request, names in lower case.
pub(super) type Context = BTreeMap<String, Vec<String>>;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) arn: String,
    pub(super) principal: String,
    pub(super) id: String,
    pub(super) account: String,
    pub(super) of_role: bool,
}

/// Everything that decides.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) trust: Vec<Value>,
    pub(super) identity: Vec<Vec<Value>>,
    pub(super) boundary: Option<Vec<Value>>,
    pub(super) session: Vec<Vec<Value>>,
    pub(super) who: Who,
    pub(super) role_account: String,
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) context: Context,
}

/// Applies, does not, or nobody can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Three {
    Yes,
    No,
    Unclear,
}

/// How a trust names the caller: 0 not, 1 by account or everybody, 2 by itself, 3 by its session.
fn naming(principal: &Value, who: &Who) -> u8 {
    let mut best = 0;
    let mut entries: Vec<(String, String)> = Vec::new();
    match principal {
        Value::String(text) => entries.push(("AWS".to_owned(), text.clone())),
        Value::Object(table) => {
            for (kind, value) in table {
                for text in list_of(value) {
                    entries.push((kind.clone(), text));
                }
            }
        }
        _ => {}
    }
    for (kind, text) in entries {
        if kind != "AWS" {
            continue;
        }
        let rank = if text == "*" || text == who.account || text == format!("arn:aws:iam::{}:root", who.account) {
            1
        } else if text == who.principal || text == who.id {
            2
        } else if text == who.arn {
            3
        } else {
            0
        };
        best = best.max(rank);
    }
    best
}

fn list_of(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().flat_map(list_of).collect(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

/// A star of a value is not a star of a pattern: in patterns that were filled in, it is written as this.
const STAR: char = '\u{1}';
const MARK: char = '\u{2}';

/// Replaces variables; `None` when one has no value.
fn fill(text: &str, context: &Context) -> Option<String> {
    let Some((before, rest)) = text.split_once("${") else {
        return Some(text.to_owned());
    };
    let (name, after) = rest.split_once('}')?;
    let (key, default) = match name.split_once(',') {
        Some((key, default)) => (key.trim(), Some(default.trim().trim_matches('\''))),
        None => (name.trim(), None),
    };
    let value = match context.get(&key.to_lowercase()).map(Vec::as_slice) {
        Some([one]) => one.clone(),
        _ => default?.to_owned(),
    };
    let value = value.replace('*', &STAR.to_string()).replace('?', &MARK.to_string());
    Some(format!("{before}{value}{}", fill(after, context)?))
}

fn plain(text: &str) -> String {
    text.replace(STAR, "*").replace(MARK, "?")
}

fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|at| like(rest, &text[at..])),
        Some((wanted, rest)) => match text.split_first() {
            None => false,
            Some((first, others)) => {
                let same = match *wanted {
                    '?' => true,
                    STAR => *first == '*',
                    MARK => *first == '?',
                    other => *first == other,
                };
                same && like(rest, others)
            }
        },
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    like(&pattern, &text)
}

fn compare(operator: &str, wanted: &str, value: &str) -> Option<bool> {
    let number = |text: &str| text.parse::<f64>().ok();
    let date = |text: &str| {
        let seconds = text
            .parse::<i64>()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        seconds.or_else(|| text.parse::<Timestamp>().ok())
    };
    let bare = plain(wanted);
    Some(match operator {
        "StringEquals" | "BinaryEquals" => bare == value,
        "StringEqualsIgnoreCase" => bare.to_lowercase() == value.to_lowercase(),
        "StringLike" => fits(wanted, value),
        "ArnLike" | "ArnEquals" => {
            let (mine, other): (Vec<&str>, Vec<&str>) =
                (wanted.splitn(6, ':').collect(), value.splitn(6, ':').collect());
            mine.len() == other.len() && mine.iter().zip(&other).all(|(pattern, part)| fits(pattern, part))
        }
        "NumericEquals" => number(value)? == number(&bare)?,
        "NumericLessThan" => number(value)? < number(&bare)?,
        "NumericGreaterThanEquals" => number(value)? >= number(&bare)?,
        "DateEquals" => date(value)? == date(&bare)?,
        "DateLessThan" => date(value)? < date(&bare)?,
        "DateGreaterThanEquals" => date(value)? >= date(&bare)?,
        "Bool" => {
            let truth = |text: &str| match text.to_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            };
            truth(value)? == truth(&bare)?
        }
        "IpAddress" => {
            let (net, bits) = bare.split_once('/').unwrap_or((&bare, "32"));
            let (net, bits) = (
                net.parse::<Ipv4Addr>().ok()?,
                bits.parse::<u32>().ok().filter(|bits| *bits <= 32)?,
            );
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(value.parse::<Ipv4Addr>().ok()?) & mask == u32::from(net) & mask
        }
        _ => return None,
    })
}

/// Operators that say the opposite of another.
fn opposite(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "StringNotEquals" => "StringEquals",
        "StringNotEqualsIgnoreCase" => "StringEqualsIgnoreCase",
        "StringNotLike" => "StringLike",
        "ArnNotLike" => "ArnLike",
        "ArnNotEquals" => "ArnEquals",
        "NumericNotEquals" => "NumericEquals",
        "DateNotEquals" => "DateEquals",
        "NotIpAddress" => "IpAddress",
        _ => return None,
    })
}

fn condition(operator: &str, key: &str, wanted: &[String], context: &Context) -> Three {
    let yes = |yes: bool| if yes { Three::Yes } else { Three::No };
    let values = context.get(&key.to_lowercase()).cloned().unwrap_or_default();
    if key.starts_with("strange:") {
        return Three::Unclear;
    }
    if operator == "Null" {
        let mut held = false;
        for one in wanted {
            held |= match one.as_str() {
                "true" => values.is_empty(),
                "false" => !values.is_empty(),
                _ => return Three::Unclear,
            };
        }
        return yes(held);
    }
    let (quantifier, rest) = operator.split_once(':').unwrap_or(("", operator));
    let (name, lenient) = rest.strip_suffix("IfExists").map_or((rest, false), |name| (name, true));
    let (name, negated) = opposite(name).map_or((name, false), |positive| (positive, true));
    if values.is_empty() {
        return yes(lenient || quantifier == "ForAllValues" || (quantifier.is_empty() && negated));
    }
    let mut patterns = Vec::new();
    for one in wanted {
        match fill(one, context) {
            Some(text) => patterns.push(text),
            None => return Three::Unclear,
        }
    }
    let mut held = Vec::new();
    for value in &values {
        let mut matched = false;
        for pattern in &patterns {
            match compare(name, pattern, value) {
                Some(same) => matched |= same,
                None => return Three::Unclear,
            }
        }
        held.push(matched != negated);
    }
    yes(match quantifier {
        "ForAllValues" => held.iter().all(|one| *one),
        "ForAnyValue" => held.iter().any(|one| *one),
        _ if negated => held.iter().all(|one| *one),
        _ => held.iter().any(|one| *one),
    })
}

fn covers(statement: &Value, name: &str, value: &str, context: Option<&Context>) -> Three {
    let negated = format!("Not{name}");
    let (except, patterns) = match statement.get(name) {
        Some(patterns) => (false, list_of(patterns)),
        None => (true, list_of(&statement[negated.as_str()])),
    };
    let mut unclear = false;
    let mut named = false;
    for pattern in patterns {
        match context {
            None => named |= fits(&pattern.to_lowercase(), &value.to_lowercase()),
            Some(context) => match fill(&pattern, context) {
                Some(pattern) => named |= fits(&pattern, value),
                None => unclear = true,
            },
        }
    }
    match (named, unclear) {
        (true, _) if except => Three::No,
        (true, _) => Three::Yes,
        (false, true) => Three::Unclear,
        (false, false) if except => Three::Yes,
        (false, false) => Three::No,
    }
}

/// Whether a statement applies, and how closely it names the caller.
fn applies(statement: &Value, case: &Case) -> (Three, u8) {
    let rank = match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(principal), _) => naming(principal, &case.who),
        // An account is nobody but its root user there, whom these cases do not have.
        (None, Some(others)) => u8::from(*others != "*" && others["AWS"] != "*" && naming(others, &case.who) < 2),
        (None, None) => 2,
    };
    let mut parts = vec![covers(statement, "Action", &case.action, None)];
    if statement.get("Resource").is_some() || statement.get("NotResource").is_some() {
        parts.push(covers(statement, "Resource", &case.resource, Some(&case.context)));
    }
    parts.push(if rank == 0 { Three::No } else { Three::Yes });
    if let Some(operators) = statement.get("Condition").and_then(Value::as_object) {
        for (operator, keys) in operators {
            for (key, wanted) in keys.as_object().unwrap() {
                parts.push(condition(operator, key, &list_of(wanted), &case.context));
            }
        }
    }
    let outcome = if parts.contains(&Three::No) {
        Three::No
    } else if parts.contains(&Three::Unclear) {
        Three::Unclear
    } else {
        Three::Yes
    };
    (outcome, rank)
}

/// Whether a list of statements denies, and how closely it allows.
fn policy(statements: &[Value], case: &Case) -> (bool, u8) {
    let mut denied = false;
    let mut best = 0;
    for statement in statements {
        let (outcome, rank) = applies(statement, case);
        match (statement["Effect"].as_str().unwrap(), outcome) {
            ("Deny", Three::Yes | Three::Unclear) => denied = true,
            ("Allow", Three::Yes) => best = best.max(rank),
            _ => {}
        }
    }
    (denied, best)
}

/// The whole decision.
pub(super) fn decide(case: &Case) -> bool {
    let (denied, mut rank) = policy(&case.trust, case);
    let groups = |policies: &[Vec<Value>]| -> Vec<(bool, u8)> {
        policies.iter().map(|statements| policy(statements, case)).collect()
    };
    let identity = groups(&case.identity);
    let boundary = groups(case.boundary.as_slice());
    let session = groups(&case.session);
    let any_denies = |group: &[(bool, u8)]| group.iter().any(|(denied, _)| *denied);
    let any_allows = |group: &[(bool, u8)]| group.iter().any(|(_, rank)| *rank > 0);
    if denied || any_denies(&identity) || any_denies(&boundary) || any_denies(&session) || rank == 0 {
        return false;
    }
    if case.who.account != case.role_account {
        rank = 1;
    }
    let by_identity = rank >= 2 || any_allows(&identity);
    let in_boundary = case.boundary.is_none() || any_allows(&boundary) || rank == 3 || (rank == 2 && !case.who.of_role);
    let in_session = case.session.is_empty() || any_allows(&session) || rank == 3;
    by_identity && in_boundary && in_session
}
