//! Checks of web identity tokens that can be left out, so that whoever tests a pipeline sees what each of them is for. STS leaves out none.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::algorithm::Algorithm;
use super::jwk::{Jwk, KeyMaterial, read_jwks};
use super::token::{Token, TokenError, read_token};

/// A check of web identity tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Check {
    /// Only RS and ES: without it, `none` needs no signature, and HS256 is verified with the published key (its `n`) as the secret
    Algorithm,
    /// The audience is one that the provider is registered for
    Audience,
    /// No claim stands twice, and `sub` is a text: without it the last one counts, and of a list the first
    Claims,
    /// exp, nbf and iat
    Expiry,
    /// Only published keys: without it, a key that the token's own header holds (`jwk`) is believed
    EmbeddedKey,
    /// The issuer is a registered one: without it, any played issuer's keys serve for the account's first provider
    Issuer,
    /// The key is the one that `kid` names: without it, any published key will do
    KeyId,
    /// Keys that were taken out of the published set count no more
    WithdrawnKey,
}

/// Which checks are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Laxity(BTreeSet<Check>);

/// A token, and what was found in it that STS would not have looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// As far as it could be read.
    pub token: Token,
    /// `alg`, where it is none that STS knows; empty when there is none.
    foreign_algorithm: Option<String>,
    embedded: Vec<Jwk>,
}

impl FromIterator<Check> for Laxity {
    fn from_iter<T: IntoIterator<Item = Check>>(checks: T) -> Self {
        Self(checks.into_iter().collect())
    }
}

impl Laxity {
    /// Whether a check is left out.
    #[must_use]
    pub fn skips(&self, check: Check) -> bool {
        self.0.contains(&check)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// The first thing that is wrong with it, of what is looked at.
    pub fn read(&self, text: &str) -> Result<Reading, TokenError> {
        if self.0.is_empty() {
            return read_token(text).map(|token| Reading {
                token,
                foreign_algorithm: None,
                embedded: Vec::new(),
            });
        }
        let pieces: Vec<&str> = text.split('.').collect();
        let &[header, payload, signature] = pieces.as_slice() else {
            return Err(TokenError::Malformed("not three pieces"));
        };
        let mut head = object(header)?;
        let mut foreign_algorithm = None;
        let algorithm = head.get("alg").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.skips(Check::Algorithm) && Algorithm::parse(&algorithm).is_none() {
            head.insert("alg".to_owned(), json!(Algorithm::Rs256.name()));
            foreign_algorithm = Some(algorithm);
        }
        let mut believable_payload = payload.to_owned();
        if self.skips(Check::Claims) {
            let mut claims = object(payload)?;
            if let Some(first) = claims.get("sub").and_then(|sub| sub.get(0)).cloned() {
                claims.insert("sub".to_owned(), first);
            }
            believable_payload = encode(&claims);
        }
        let embedded = match head.get("jwk") {
            Some(jwk) if self.skips(Check::EmbeddedKey) => {
                read_jwks(&json!({ "keys": [jwk] }).to_string()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let mut token = read_token(&format!("{}.{believable_payload}.{signature}", encode(&head)))?;
        // What was signed is what came, not what was made of it.
        token.message = format!("{header}.{payload}");
        if self.skips(Check::KeyId) || !embedded.is_empty() {
            token.kid = None;
        }
        Ok(Reading {
            token,
            foreign_algorithm,
            embedded,
        })
    }
}

impl Reading {
    /// Whether what stands for a signature is believed: one of these keys made it, or the reader was too lax to want that.
    #[must_use]
    pub fn verifies(&self, keys: &[Jwk]) -> bool {
        match self.foreign_algorithm.as_deref() {
            None => self.token.verifies(keys) || self.token.verifies(&self.embedded),
            Some("HS256") => keys.iter().any(|key| self.is_sealed_with(key)),
            Some(name) => name.is_empty() || name.eq_ignore_ascii_case("none"),
        }
    }

    /// Whether the token names a key that is there.
    #[must_use]
    pub fn names_one_of(&self, keys: &[Jwk]) -> bool {
        self.foreign_algorithm.is_some() || self.token.names_one_of(keys)
    }

    fn is_sealed_with(&self, key: &Jwk) -> bool {
        let KeyMaterial::Rsa { n, .. } = &key.material else {
            return false;
        };
        let secret = URL_SAFE_NO_PAD.encode(n);
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            return false;
        };
        mac.update(self.token.message.as_bytes());
        mac.verify_slice(&self.token.signature).is_ok()
    }
}

fn encode(map: &Map<String, Value>) -> String {
    URL_SAFE_NO_PAD.encode(Value::Object(map.clone()).to_string())
}

/// JSON as most libraries read it: of a name that stands twice, the last counts.
fn object(piece: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(piece)
        .map_err(|_| TokenError::Malformed("not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed("not a JSON object"))
}
