//! Encoded authorization messages: what a service answers instead of its reason, and only somebody with the permission may read. The real
//! encoding is secret; this one carries the text, its account and a mark by which the fake knows its own. It must not know who asks.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fake_kit::seed::Seed;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of the mark.
const MARK: usize = 32;

/// Digits of an account.
const ACCOUNT: usize = 12;

fn mark(seed: &Seed, text: &[u8]) -> Hmac<Sha256> {
    let key = seed.bytes("authorization message", 0);
    // HMAC takes a key of any length; the fallback exists for the type only.
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
    mac.update(text);
    mac
}

/// Encodes a message that is for an account.
#[must_use]
pub fn encode(seed: &Seed, account: &str, text: &str) -> String {
    let content = [account.as_bytes(), text.as_bytes()].concat();
    let mark = mark(seed, &content).finalize().into_bytes();
    URL_SAFE_NO_PAD.encode([&mark[..], &content].concat())
}

/// The text of a message that this fake encoded for that account.
#[must_use]
pub fn decode(seed: &Seed, account: &str, encoded: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let (stated, content) = bytes.split_at_checked(MARK)?;
    mark(seed, content).verify_slice(stated).ok()?;
    let (own, text) = content.split_at_checked(ACCOUNT)?;
    (own == account.as_bytes()).then(|| String::from_utf8(text.to_vec()).ok())?
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use fake_kit::seed::Seed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_read_by_its_account_alone(text in ".{0,60}", at in 0_usize..200) {
            let seed = Seed::default();
            let encoded = encode(&seed, "123456789012", &text);
            prop_assert_eq!(decode(&seed, "123456789012", &encoded), Some(text.clone()));
            prop_assert_eq!(decode(&seed, "999999999999", &encoded), None);
            let mut changed: Vec<char> = encoded.chars().collect();
            let at = at % changed.len();
            changed[at] = if changed[at] == 'A' { 'B' } else { 'A' };
            let changed: String = changed.into_iter().collect();
            // The last letter may carry bits that mean nothing.
            prop_assert!(changed.len() == at + 1 || decode(&seed, "123456789012", &changed).is_none());
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
            prop_assert_eq!(decode(&Seed::default(), "123456789012", &text), None);
        }
    }
}
