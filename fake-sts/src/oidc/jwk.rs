//! Public keys as JSON Web Keys: reading, writing, and verifying with them. It must not know tokens.

use aws_lc_rs::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::algorithm::{Algorithm, Family};

/// Keys read from one set; IAM takes 100 of each type.
const MOST_KEYS: usize = 100;

/// The numbers of a public key, big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// Modulus and exponent.
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Exponent.
        e: Vec<u8>,
    },
    /// A point of a curve, uncompressed, beginning with 4.
    Ec {
        /// `P-256`…
        curve: String,
        /// The point.
        point: Vec<u8>,
    },
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    /// Its name.
    pub kid: Option<String>,
    /// The one algorithm it is for, if it says so.
    pub algorithm: Option<Algorithm>,
    /// The key.
    pub material: KeyMaterial,
}

impl Jwk {
    /// Whether `signature` is this key's over `message`. Key type, curve and stated algorithm must fit.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.is_some_and(|own| own != algorithm) {
            return false;
        }
        match (algorithm.family(), &self.material) {
            (Family::Rsa { verify, .. }, KeyMaterial::Rsa { n, e }) => RsaPublicKeyComponents { n, e }
                .verify(verify, message, signature)
                .is_ok(),
            (
                Family::Ec {
                    verify, curve: wanted, ..
                },
                KeyMaterial::Ec { curve, point },
            ) if curve == wanted => UnparsedPublicKey::new(verify, point).verify(message, signature).is_ok(),
            _ => false,
        }
    }

    /// The key as it stands in a set.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut value = match &self.material {
            KeyMaterial::Rsa { n, e } => json!({ "kty": "RSA", "n": text(n), "e": text(e) }),
            KeyMaterial::Ec { curve, point } => {
                let numbers = point.get(1..).unwrap_or_default();
                let (x, y) = numbers.split_at(numbers.len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
        };
        if let Some(table) = value.as_object_mut() {
            table.insert("use".to_owned(), json!("sig"));
            if let Some(kid) = &self.kid {
                table.insert("kid".to_owned(), json!(kid));
            }
            if let Some(algorithm) = self.algorithm {
                table.insert("alg".to_owned(), json!(algorithm.name()));
            }
        }
        value
    }
}

/// Reads a set of keys. Keys of other types and for other uses are passed over, as verifiers do.
///
/// # Errors
/// The text is no set, has a broken key, or has none that can be used.
pub fn read_jwks(text: &str) -> Result<Vec<Jwk>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let list = value
        .get("keys")
        .and_then(Value::as_array)
        .ok_or("has no list called keys")?;
    if list.len() > MOST_KEYS {
        return Err(format!("has more than {MOST_KEYS} keys"));
    }
    let mut keys = Vec::new();
    for (index, one) in list.iter().enumerate() {
        let text = |name: &str| one.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|used| used != "sig") {
            continue;
        }
        let number = |name: &str| {
            text(name)
                .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
                .filter(|bytes| !bytes.is_empty())
                .ok_or_else(|| format!("has a key (number {index}) whose {name} is no number in base64url"))
        };
        let material = match text("kty") {
            Some("RSA") => KeyMaterial::Rsa {
                n: number("n")?,
                e: number("e")?,
            },
            Some("EC") => {
                let curve = text("crv").unwrap_or_default().to_owned();
                let point = [vec![4], number("x")?, number("y")?].concat();
                KeyMaterial::Ec { curve, point }
            }
            _ => continue,
        };
        keys.push(Jwk {
            kid: text("kid").map(str::to_owned),
            algorithm: text("alg").and_then(Algorithm::parse),
            material,
        });
    }
    if keys.is_empty() {
        return Err("has no RSA or EC key for signatures".to_owned());
    }
    Ok(keys)
}
