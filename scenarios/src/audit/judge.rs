//! What an answer amounts to. Bodies end here: of credentials only the role, how the key id ends and whether they have the right shape go on. Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::name::{Hidden, RoleName};
use crate::probe::protocol::{Connect, End, HttpAnswer};
use crate::verdict::Verdict;

/// What a way brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Got {
    /// Nothing was asked of anybody, and there is nothing.
    Nothing,
    /// One of the design's words.
    Word(Verdict),
    /// Credentials of this role.
    Role(RoleName),
    /// The name of this role, without its credentials.
    Named(RoleName),
}

/// What a way brought, and what more may be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) got: Got,
    /// A few words.
    pub(super) note: String,
    /// The last four characters of the access key id.
    pub(super) key_ends_with: Option<String>,
    /// Whether the credentials look as if they could be used.
    pub(super) usable: Option<bool>,
    /// Worth knowing, though it is no way by itself.
    pub(super) is_notice: bool,
}

impl Outcome {
    pub(super) fn word(verdict: Verdict, note: &str) -> Self {
        Self::of(Got::Word(verdict), note)
    }

    pub(super) fn nothing(note: &str) -> Self {
        Self::of(Got::Nothing, note)
    }

    pub(super) fn notice(note: &str) -> Self {
        Self {
            is_notice: true,
            ..Self::nothing(note)
        }
    }

    pub(super) fn leak(what: &str, note: &str) -> Self {
        Self::word(Verdict::Leak(what.to_owned()), note)
    }

    pub(super) fn of(got: Got, note: &str) -> Self {
        Self {
            got,
            note: note.to_owned(),
            key_ends_with: None,
            usable: None,
            is_notice: false,
        }
    }

    fn with(self, keys: Keys) -> Self {
        Self {
            key_ends_with: keys.ends_with,
            usable: Some(keys.usable),
            ..self
        }
    }

    /// The role that it brought or named.
    pub(super) fn role(&self) -> Option<&RoleName> {
        match &self.got {
            Got::Role(role) | Got::Named(role) => Some(role),
            Got::Nothing | Got::Word(_) => None,
        }
    }

    /// Of two answers to the same question the one that brought something.
    pub(super) fn or_further(self, other: Self) -> Self {
        let brings = other.role().is_some() || matches!(other.got, Got::Word(Verdict::Leak(_)));
        if brings { other } else { self }
    }

    /// Whether somebody answered.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(
            self.got,
            Got::Nothing | Got::Word(Verdict::Blocked | Verdict::Silent | Verdict::Void)
        )
    }

    /// `SAME` where it brought no other role, or no other key, than the plain requests did.
    fn beside(self, plain: &Plain) -> Self {
        let is_known = match self.role() {
            Some(role) => plain.roles.contains(role),
            None => self
                .key_ends_with
                .as_ref()
                .is_some_and(|end| plain.key_ends.contains(end)),
        };
        if is_known {
            Self::word(Verdict::Same, SAME)
        } else {
            self
        }
    }
}

/// The note of what brought no more than the plain requests.
const SAME: &str = "as the plain one";

/// What the plain requests brought, with which everything else is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plain {
    roles: Vec<RoleName>,
    key_ends: Vec<String>,
}

impl Plain {
    pub(super) fn of(outcomes: [&Outcome; 2]) -> Self {
        Self {
            roles: outcomes.iter().filter_map(|outcome| outcome.role().cloned()).collect(),
            key_ends: outcomes
                .iter()
                .filter_map(|outcome| outcome.key_ends_with.clone())
                .collect(),
        }
    }

    /// A role that is known to be there.
    pub(super) fn role(&self) -> Option<&str> {
        self.roles.first().map(RoleName::raw)
    }

    /// What another way of asking for the same brought.
    pub(super) fn compare(&self, outcome: Outcome) -> Outcome {
        outcome.beside(self)
    }
}

/// The body of a 2xx, or what the answer amounts to without one.
fn body(answer: &HttpAnswer) -> Result<&[u8], Outcome> {
    let end = match answer.connect {
        Connect::Ok => answer.end,
        Connect::Refused | Connect::Timeout | Connect::Unreachable | Connect::Error(_) => {
            return Err(Outcome::word(Verdict::Blocked, "no TCP answer"));
        }
    };
    if answer.raw.0.is_empty() {
        return Err(if end == Some(End::Timeout) {
            Outcome::word(Verdict::Silent, "nothing after TCP")
        } else {
            Outcome::word(Verdict::Deny, "closed unanswered")
        });
    }
    match answer.status {
        Some(200..=299) => Ok(&answer.body.0),
        Some(status @ 400..=499) => Err(Outcome::word(Verdict::Deny, &format!("status {status}"))),
        Some(status @ 500..=599) => Err(Outcome::word(Verdict::Unavailable, &format!("status {status}"))),
        Some(status) => Err(other(&format!("status {status}"))),
        None => Err(other("no HTTP answer")),
    }
}

fn other(what: &str) -> Outcome {
    Outcome::word(Verdict::Other(what.to_owned()), what)
}

fn bytes(body: &[u8]) -> Outcome {
    other(&format!("200, {} bytes", body.len()))
}

/// The token of a PUT, or what the PUT amounts to.
pub(super) fn token(answer: &HttpAnswer) -> Result<Hidden, Outcome> {
    let body = body(answer).map_err(|outcome| match outcome.got {
        // The connection is made by packets of any hop limit, the answer to the PUT is not.
        Got::Word(Verdict::Silent) => Outcome::word(Verdict::Silent, "PUT unanswered"),
        Got::Nothing | Got::Word(_) | Got::Role(_) | Got::Named(_) => outcome,
    })?;
    Hidden::token(body).ok_or_else(|| other("no token"))
}

/// What credentials look like, without them.
#[derive(Debug, PartialEq, Eq)]
struct Keys {
    ends_with: Option<String>,
    usable: bool,
    role: Option<RoleName>,
}

/// Reads a document of credentials, whichever endpoint it is of.
fn keys(body: &[u8], now: Timestamp) -> Option<Keys> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let field = |name: &str| document.get(name).and_then(Value::as_str);
    let id = field("AccessKeyId")?;
    let secret = field("SecretAccessKey")?;
    let is_current = field("Expiration").is_none_or(|until| until.parse::<Timestamp>().is_ok_and(|until| until > now));
    let is_success = field("Code").is_none_or(|code| code == "Success");
    Some(Keys {
        ends_with: key_end(id),
        usable: is_key_id(id)
            && secret.len() >= 16
            && field("Token").is_some_and(|token| !token.is_empty())
            && is_current
            && is_success,
        role: field("RoleArn").and_then(RoleName::of_arn),
    })
}

fn is_key_id(id: &str) -> bool {
    (16..=128).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// How an access key id ends: enough to find it in an audit log, and worth nothing.
pub(super) fn key_end(id: &str) -> Option<String> {
    is_key_id(id).then(|| id.chars().skip(id.len() - 4).collect())
}

/// The first name of a list of roles.
pub(super) fn listed(answer: &HttpAnswer) -> Option<RoleName> {
    let text = std::str::from_utf8(body(answer).ok()?).ok()?;
    let names: Option<Vec<RoleName>> = text.trim().lines().map(|line| RoleName::read(line.trim())).collect();
    names?.into_iter().next()
}

/// A list of roles, and the credentials of its first where they were asked for.
pub(super) fn roles(list: &HttpAnswer, credentials: Option<&HttpAnswer>, now: Timestamp) -> Outcome {
    let body = match body(list) {
        Ok(body) => body,
        Err(outcome) => return outcome,
    };
    if keys(body, now).is_some() {
        return self::credentials(list, None, now);
    }
    let Some(role) = listed(list) else {
        return if body.trim_ascii().is_empty() {
            Outcome::word(Verdict::Deny, "an empty list")
        } else {
            bytes(body)
        };
    };
    match credentials {
        Some(answer) => match self::credentials(answer, Some(role.clone()), now) {
            got @ Outcome { got: Got::Role(_), .. } => got,
            refused => Outcome::of(Got::Named(role), &refused.note),
        },
        None => Outcome::of(Got::Named(role), "a role's name"),
    }
}

/// Credentials of the role that was asked for, or of the one that the document names.
pub(super) fn credentials(answer: &HttpAnswer, asked: Option<RoleName>, now: Timestamp) -> Outcome {
    let body = match body(answer) {
        Ok(body) => body,
        Err(outcome) => return outcome,
    };
    let Some(mut keys) = keys(body, now) else {
        return bytes(body);
    };
    let note = if keys.usable {
        "credentials"
    } else {
        "not usable by shape"
    };
    match asked.or(keys.role.take()) {
        Some(role) => Outcome::of(Got::Role(role), note).with(keys),
        None => Outcome::leak("credentials", note).with(keys),
    }
}

/// A document that only the host has.
pub(super) fn document(answer: &HttpAnswer, holds: &str, plain: &Plain, now: Timestamp) -> Outcome {
    let body = match body(answer) {
        Ok(body) => body,
        Err(outcome) => return outcome,
    };
    let json = || serde_json::from_slice::<Value>(body).ok();
    let text = String::from_utf8_lossy(body);
    let leak = |is_it: bool| if is_it { Outcome::leak(holds, "") } else { bytes(body) };
    match holds {
        "identity-credentials" => match keys(body, now) {
            Some(keys) => Outcome::leak(holds, "").with(keys),
            None => bytes(body),
        },
        "iam-info" => {
            let profile = json().and_then(|json| RoleName::of_arn(json.get("InstanceProfileArn")?.as_str()?));
            match profile {
                Some(profile) if plain.roles.contains(&profile) => Outcome::word(Verdict::Same, SAME),
                Some(_) => Outcome::leak(holds, ""),
                None => bytes(body),
            }
        }
        "identity-document" => leak(json().is_some_and(|json| json.get("instanceId").is_some())),
        "metrics" => leak(text.contains("# TYPE ") || text.contains("# HELP ")),
        "engine" => leak(json().is_some_and(|json| json.get("ApiVersion").is_some())),
        "agent" => leak(json().is_some_and(|json| json.get("Cluster").is_some())),
        _ => leak(!text.trim().is_empty() && !text.trim_start().starts_with('<')),
    }
}

/// Whom STS takes the keys of an SDK for.
pub(super) fn identity(arn: &str, key: &str) -> Outcome {
    let got = match RoleName::of_arn(arn) {
        Some(role) => Outcome::of(Got::Role(role), "STS knows them"),
        None => Outcome::leak("credentials", "STS knows them"),
    };
    Outcome {
        key_ends_with: key_end(key),
        usable: Some(true),
        ..got
    }
}

/// How far the endpoint's own answers come, from what both versions brought.
pub(super) fn hop_limit(v1: &Outcome, v2: &Outcome, of_endpoint: bool, expected: Option<&str>) -> Outcome {
    let is_sanctioned = v2.role().is_some_and(|role| Some(role.raw()) == expected);
    match (&v2.got, v1.is_answered()) {
        (Got::Word(Verdict::Silent), true) => Outcome::nothing("ends before here"),
        _ if v2.is_answered() && of_endpoint && !is_sanctioned => {
            Outcome::notice("as far as here, unless a proxy answers that looks like the endpoint")
        }
        _ => Outcome::nothing("cannot be told"),
    }
}
