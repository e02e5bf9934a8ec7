//! Keys that sign. They are made anew for each run: what they sign is worth nothing outside of it. It must not know what is signed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::algorithm::{Algorithm, Family};
use super::jwk::{Jwk, KeyMaterial};

/// What stands in a token beside, or instead of, what its issuer would write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Parameters that stand over the header's; null takes one away.
    pub header: Map<String, Value>,
    /// The payload, exactly so, in place of the claims.
    pub payload: Option<String>,
}

/// Puts values over others; null takes one away.
pub(crate) fn overlay(over: &mut Map<String, Value>, values: &Map<String, Value>) {
    for (name, value) in values {
        if value.is_null() {
            over.remove(name);
        } else {
            over.insert(name.clone(), value.clone());
        }
    }
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// A key pair of an issuer.
pub struct SigningKey {
    pair: Pair,
    algorithm: Algorithm,
    public: Jwk,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a key. `None` when the machine gives no randomness.
    #[must_use]
    pub fn generate(algorithm: Algorithm) -> Option<Self> {
        let (pair, material) = match algorithm.family() {
            Family::Rsa { size, .. } => {
                let pair = RsaKeyPair::generate(size).ok()?;
                let (n, e) = read_public_key(pair.public_key().as_ref())?;
                (Pair::Rsa(pair), KeyMaterial::Rsa { n, e })
            }
            Family::Ec { sign, curve, .. } => {
                let pair = EcdsaKeyPair::generate(sign).ok()?;
                let point = pair.public_key().as_ref().to_vec();
                let curve = curve.to_owned();
                (Pair::Ec(pair), KeyMaterial::Ec { curve, point })
            }
        };
        let bytes = match &material {
            KeyMaterial::Rsa { n, .. } => n,
            KeyMaterial::Ec { point, .. } => point,
        };
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        let public = Jwk {
            kid: Some(kid),
            algorithm: Some(algorithm),
            material,
        };
        Some(Self {
            pair,
            algorithm,
            public,
        })
    }

    /// What it is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What is published of it.
    #[must_use]
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// A compact token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> Option<String> {
        self.sign_with(claims, &Extras::default())
    }

    /// A compact token with these claims, whose header and payload may say what no sound issuer writes.
    #[must_use]
    pub fn sign_with(&self, claims: &Value, extras: &Extras) -> Option<String> {
        let mut header = serde_json::json!({
            "alg": self.algorithm.name(),
            "kid": self.public.kid,
            "typ": "JWT",
        });
        if let Some(header) = header.as_object_mut() {
            overlay(header, &extras.header);
        }
        let payload = extras.payload.clone().unwrap_or_else(|| claims.to_string());
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", encode(&header.to_string()), encode(&payload));
        let random = SystemRandom::new();
        let signature = match (&self.pair, self.algorithm.family()) {
            (Pair::Rsa(pair), Family::Rsa { sign, .. }) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(sign, &random, message.as_bytes(), &mut signature).ok()?;
                signature
            }
            (Pair::Ec(pair), Family::Ec { .. }) => pair.sign(&random, message.as_bytes()).ok()?.as_ref().to_vec(),
            (Pair::Rsa(_), Family::Ec { .. }) | (Pair::Ec(_), Family::Rsa { .. }) => return None,
        };
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Modulus and exponent out of an RSAPublicKey in DER: a sequence of two integers.
fn read_public_key(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (sequence, _) = take(der, 0x30)?;
    let (modulus, rest) = take(sequence, 0x02)?;
    let (exponent, _) = take(rest, 0x02)?;
    let bare = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
    Some((bare(modulus), bare(exponent)))
}

/// The content of the element at the front, and what follows it.
pub(crate) fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    if *length < 0x80 {
        return rest.split_at_checked(usize::from(*length));
    }
    let (digits, rest) = rest
        .split_at_checked(usize::from(*length & 0x7f))
        .filter(|(digits, _)| digits.len() <= 4)?;
    let length = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
    rest.split_at_checked(length)
}
