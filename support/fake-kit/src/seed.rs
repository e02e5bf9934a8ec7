//! Determinism: everything that looks random is derived from one seed. Canaries are the derived values that mark a secret.
//! It must not know what a value is used for; callers name that by a label.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a run's values are derived from. The same seed gives the same values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed(String);

impl Seed {
    /// The seed when none is named.
    pub const DEFAULT: &'static str = "lab";

    /// A seed from any text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// 32 bytes for a label and a number; distinct labels and numbers give unrelated bytes.
    pub fn bytes(&self, label: &str, number: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.0.as_bytes(), label.as_bytes()] {
            // Lengths keep ("ab","c") and ("a","bc") apart.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.update(number.to_be_bytes());
        hash.finalize().into()
    }

    /// `length` characters of `[A-Z2-7]`.
    pub fn base32(&self, label: &str, number: u64, length: usize) -> String {
        self.letters(label, number, length, BASE32)
    }

    /// `length` characters of the standard base64 alphabet, without padding.
    pub fn base64(&self, label: &str, number: u64, length: usize) -> String {
        self.letters(label, number, length, BASE64)
    }

    fn letters(&self, label: &str, number: u64, length: usize, alphabet: &[u8]) -> String {
        let mut text = String::with_capacity(length);
        let mut block = 0_u64;
        while text.len() < length {
            let bytes = self.bytes(&format!("{label}/{block}"), number);
            for byte in bytes.into_iter().take(length - text.len()) {
                // Both alphabets' sizes divide 256, so no letter is preferred.
                let letter = alphabet
                    .get(usize::from(byte) % alphabet.len())
                    .copied()
                    .unwrap_or(b'A');
                text.push(char::from(letter));
            }
            block += 1;
        }
        text
    }
}

impl Default for Seed {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

/// A unique marker of 16 characters `[A-Z2-7]` that stands in a secret, so that a leak is recognised wherever it turns up.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Canary(String);

impl Canary {
    /// The canary of that name under that seed.
    pub fn derive(seed: &Seed, name: &str) -> Self {
        Self(seed.base32(&format!("canary:{name}"), 0, 16))
    }

    /// The 16 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canary({})", self.0)
    }
}

/// The canaries a fake has planted, by name; `GET /canaries` lists them. Clones share the list.
#[derive(Debug, Clone)]
pub struct Canaries {
    seed: Seed,
    planted: Arc<Mutex<BTreeMap<String, Canary>>>,
}

impl Canaries {
    /// No canary planted yet.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            planted: Arc::default(),
        }
    }

    /// What they are derived from.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The canary of that name, listed from now on.
    pub fn plant(&self, name: &str) -> Canary {
        let canary = Canary::derive(&self.seed, name);
        self.planted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), canary.clone());
        canary
    }

    /// All that were planted.
    pub fn all(&self) -> BTreeMap<String, Canary> {
        self.planted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_stable_and_belongs_to_its_seed_and_name() {
        let seed = Seed::default();
        let canary = Canary::derive(&seed, "one");
        assert_eq!(canary, Canary::derive(&Seed::new("lab"), "one"));
        assert_ne!(canary, Canary::derive(&seed, "two"));
        assert_ne!(canary, Canary::derive(&Seed::new("other"), "one"));
        insta::assert_snapshot!(canary, @"Y4PM5ODPLYXPEYPS");
    }

    #[test]
    fn letters_have_the_asked_length_and_alphabet() {
        let seed = Seed::new("s");
        for length in [0, 1, 31, 32, 33, 100] {
            let text = seed.base32("x", 7, length);
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|b| BASE32.contains(&b)));
        }
        assert_ne!(seed.base64("x", 1, 24), seed.base64("x", 2, 24));
        assert_ne!(seed.bytes("ab", 0), seed.bytes("a", 0));
    }

    #[test]
    fn planted_canaries_are_listed() {
        let canaries = Canaries::new(Seed::default());
        let one = canaries.plant("one");
        assert_eq!(canaries.clone().all(), BTreeMap::from([("one".to_owned(), one)]));
    }
}
