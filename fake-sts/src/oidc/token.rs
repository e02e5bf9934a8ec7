//! Web identity tokens: compact, signed, with claims of the types that the standard gives them. A claim that stands twice is refused,
//! because two readers could believe two different ones. It must not know issuers or roles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use thiserror::Error;

use super::algorithm::Algorithm;
use super::jwk::Jwk;

/// A token that was read. Nothing of it is to be believed before its signature was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`.
    pub kid: Option<String>,
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`, one or several.
    pub audiences: Vec<String>,
    /// `azp`.
    pub authorized_party: Option<String>,
    /// `amr`.
    pub methods: Vec<String>,
    /// `exp`.
    pub expires_at: Option<i64>,
    /// `nbf`.
    pub not_before: Option<i64>,
    /// `iat`.
    pub issued_at: Option<i64>,
    /// Every claim.
    pub claims: Map<String, Value>,
    pub(super) message: String,
    pub(super) signature: Vec<u8>,
}

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not three pieces of base64url, or not JSON.
    #[error("{0}")]
    Malformed(&'static str),
    /// An algorithm that IAM does not take.
    #[error("signed by {0}, which is none of RS256 to RS512 and ES256 to ES512")]
    Algorithm(String),
    /// A claim of a wrong type.
    #[error("{0} is of the wrong type")]
    Type(&'static str),
    /// A claim that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
}

impl Token {
    /// Whether one of the keys signed it: the one that its `kid` names, or any where it names none. What the header says of other places
    /// to find keys at (`jku`, `x5u`, `jwk`) is not looked at.
    #[must_use]
    pub fn verifies(&self, keys: &[Jwk]) -> bool {
        let named = |key: &&Jwk| self.kid.is_none() || key.kid == self.kid;
        keys.iter()
            .filter(named)
            .any(|key| key.verifies(self.algorithm, self.message.as_bytes(), &self.signature))
    }

    /// Whether a key is named that is among these.
    #[must_use]
    pub fn names_one_of(&self, keys: &[Jwk]) -> bool {
        self.kid.is_none() || keys.iter().any(|key| key.kid == self.kid)
    }
}

/// A token that nobody signed, for asking what a policy would say of one. It verifies with no key.
#[must_use]
pub fn unsigned(claims: &Value) -> Option<Token> {
    let piece = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({ "alg": Algorithm::Rs256.name() });
    read_token(&format!("{}.{}.", piece(&header), piece(claims))).ok()
}

/// Reads a token.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read_token(text: &str) -> Result<Token, TokenError> {
    let pieces: Vec<&str> = text.split('.').collect();
    let &[header, payload, signature] = pieces.as_slice() else {
        return Err(TokenError::Malformed("not three pieces"));
    };
    let decode = |piece: &str| {
        URL_SAFE_NO_PAD
            .decode(piece)
            .map_err(|_| TokenError::Malformed("not base64url"))
    };
    let object = |piece: &str| -> Result<Map<String, Value>, TokenError> {
        let bytes = decode(piece)?;
        match serde_json::from_slice::<Strict>(&bytes) {
            Ok(Strict(Value::Object(map))) => Ok(map),
            Ok(_) => Err(TokenError::Malformed("not a JSON object")),
            Err(_) => Err(TokenError::Malformed("not JSON, or a name that stands twice")),
        }
    };
    let head = object(header)?;
    if head.contains_key("crit") {
        return Err(TokenError::Malformed("critical extensions that nobody knows"));
    }
    let name = text_of(&head, "alg")?.ok_or(TokenError::Missing("alg"))?;
    let algorithm = Algorithm::parse(&name).ok_or(TokenError::Algorithm(name))?;
    let claims = object(payload)?;
    let number = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(TokenError::Type(name)),
    };
    Ok(Token {
        algorithm,
        kid: text_of(&head, "kid")?,
        issuer: text_of(&claims, "iss")?.ok_or(TokenError::Missing("iss"))?,
        subject: text_of(&claims, "sub")?,
        audiences: texts_of(&claims, "aud")?,
        authorized_party: text_of(&claims, "azp")?,
        methods: texts_of(&claims, "amr")?,
        expires_at: number("exp")?,
        not_before: number("nbf")?,
        issued_at: number("iat")?,
        message: format!("{header}.{payload}"),
        signature: decode(signature)?,
        claims,
    })
}

fn text_of(map: &Map<String, Value>, name: &'static str) -> Result<Option<String>, TokenError> {
    match map.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Type(name)),
    }
}

fn texts_of(map: &Map<String, Value>, name: &'static str) -> Result<Vec<String>, TokenError> {
    match map.get(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) => {
            let texts = list.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or(TokenError::Type(name))
        }
        Some(_) => Err(TokenError::Type(name)),
    }
}

/// The session tags that a token may carry, and which of them are handed on (`https://aws.amazon.com/tags`).
///
/// # Errors
/// They are not of the documented shape.
pub(crate) fn session_tags(
    claims: &Map<String, Value>,
) -> Result<(BTreeMap<String, String>, BTreeSet<String>), TokenError> {
    const WRONG: TokenError = TokenError::Type("https://aws.amazon.com/tags");
    let Some(stated) = claims.get("https://aws.amazon.com/tags") else {
        return Ok((BTreeMap::new(), BTreeSet::new()));
    };
    let stated = stated.as_object().ok_or(WRONG)?;
    let mut tags = BTreeMap::new();
    for (key, values) in stated.get("principal_tags").and_then(Value::as_object).ok_or(WRONG)? {
        let value = match values.as_array().map(Vec::as_slice) {
            Some([Value::String(value)]) => value.clone(),
            _ => return Err(WRONG),
        };
        tags.insert(key.clone(), value);
    }
    let transitive = match stated.get("transitive_tag_keys") {
        None => BTreeSet::new(),
        Some(Value::Array(list)) => {
            let keys = list.iter().map(|one| one.as_str().map(str::to_owned));
            keys.collect::<Option<_>>().ok_or(WRONG)?
        }
        Some(_) => return Err(WRONG),
    };
    Ok((tags, transitive))
}

/// A JSON value in which no name stands twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON without repeated names")
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}
