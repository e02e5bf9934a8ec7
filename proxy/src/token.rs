//! Session tokens of our own (IMDSv2), bound to one run of one container (P9) and to the rule that is for it. Nothing is stored: a token proves itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::caller::Run;
use crate::policy::Edition;

/// Longest time to live that the service grants: six hours.
pub const TTL_MAX: u32 = 21_600;
/// What a client needs of randomness to get a token.
pub const NONCE_BYTES: usize = 8;

// AWS's tokens begin with these bytes ("AQAEA"); 4 + 4 + 8 + 24 = 40 bytes are its 56 characters.
const HEAD: [u8; 4] = [1, 0, 4, 0];
const EXPIRY_BYTES: usize = 4;
const MAC_BYTES: usize = 24;
const TEXT_LENGTH: usize = 56;

/// Why a token is refused. The caller is told nothing of it but 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum TokenFault {
    /// A token is needed and none was sent.
    #[error("token-missing")]
    Missing,
    /// The header was sent more than once.
    #[error("token-ambiguous")]
    Ambiguous,
    /// Not minted by this process for this run, under the rule that is in force.
    #[error("token-invalid")]
    Invalid,
    /// It was good once.
    #[error("token-expired")]
    Expired,
}

/// Mints and verifies tokens. The key lives as long as the process.
#[derive(Clone)]
pub struct Tokens {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(**redacted**)")
    }
}

impl Tokens {
    /// Takes a random key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        for (to, from) in block.iter_mut().zip(key) {
            *to = from;
        }
        Self { mac: Hmac::new(&block) }
    }

    /// Makes a token for a run under a rule. `now` is in seconds since 1970.
    #[must_use]
    pub fn mint(&self, run: &Run, rule: Edition, ttl: u32, now: u64, nonce: [u8; NONCE_BYTES]) -> String {
        // Four bytes of seconds last until 2106.
        let expiry = u32::try_from(now.saturating_add(u64::from(ttl))).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(40);
        bytes.extend_from_slice(&HEAD);
        bytes.extend_from_slice(&expiry.to_be_bytes());
        bytes.extend_from_slice(&nonce);
        let mac = self.authenticate(run, rule, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(mac.get(..MAC_BYTES).unwrap_or_default());
        URL_SAFE.encode(bytes)
    }

    /// Says how many seconds a token of this run has left.
    ///
    /// # Errors
    /// Unless this process minted it for this very run under this very rule, and its time is not over.
    pub fn verify(&self, run: &Run, rule: Edition, text: &str, now: u64) -> Result<u32, TokenFault> {
        if text.len() != TEXT_LENGTH {
            return Err(TokenFault::Invalid);
        }
        let bytes = URL_SAFE.decode(text).map_err(|_| TokenFault::Invalid)?;
        let (signed, mac) = bytes
            .split_at_checked(HEAD.len() + EXPIRY_BYTES + NONCE_BYTES)
            .ok_or(TokenFault::Invalid)?;
        // The comparison takes the same time whatever the difference.
        self.authenticate(run, rule, signed)
            .verify_truncated_left(mac)
            .map_err(|_| TokenFault::Invalid)?;
        if mac.len() != MAC_BYTES {
            return Err(TokenFault::Invalid);
        }
        let expiry = signed
            .get(HEAD.len()..HEAD.len() + EXPIRY_BYTES)
            .and_then(|bytes| bytes.try_into().ok());
        let expiry = u64::from(expiry.map(u32::from_be_bytes).ok_or(TokenFault::Invalid)?);
        match expiry.checked_sub(now) {
            None | Some(0) => Err(TokenFault::Expired),
            Some(left) => Ok(u32::try_from(left).unwrap_or(u32::MAX)),
        }
    }

    fn authenticate(&self, run: &Run, rule: Edition, signed: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(signed);
        mac.update(&run.cgroup_id.to_be_bytes());
        mac.update(&rule.number().to_be_bytes());
        for text in [&run.container_id, &run.started_at] {
            // With its length, so that no two pairs read alike.
            mac.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(text.as_bytes());
        }
        mac
    }
}

/// Reads a time to live: 1 to 21600, in digits.
#[must_use]
pub fn parse_ttl(text: &str) -> Option<u32> {
    let good = (1..=5).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok())
        .flatten()
        .filter(|ttl| (1..=TTL_MAX).contains(ttl))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{TokenFault, Tokens, parse_ttl};
    use crate::caller::Run;
    use crate::fixture::{RULE, config};
    use crate::policy::{Edition, Policy};

    fn run() -> Run {
        Run {
            container_id: "a".repeat(64),
            started_at: "2026-11-21T10:00:00.5Z".to_owned(),
            cgroup_id: 4242,
        }
    }

    fn tokens() -> Tokens {
        Tokens::new([7; 32])
    }

    #[test]
    fn a_token_looks_like_one_of_aws() {
        let token = tokens().mint(&run(), Edition::FIRST, 21_600, 1_800_000_000, [9; 8]);
        assert_eq!(token.len(), 56);
        assert!(token.starts_with("AQAEA") && token.ends_with("=="), "{token}");
    }

    #[test]
    fn a_token_lives_until_its_expiry_and_not_longer() {
        let token = tokens().mint(&run(), Edition::FIRST, 60, 1000, [0; 8]);
        assert_eq!(tokens().verify(&run(), Edition::FIRST, &token, 1000), Ok(60));
        assert_eq!(tokens().verify(&run(), Edition::FIRST, &token, 1059), Ok(1));
        assert_eq!(
            tokens().verify(&run(), Edition::FIRST, &token, 1060),
            Err(TokenFault::Expired)
        );
        assert_eq!(
            tokens().verify(&run(), Edition::FIRST, &token, 999_999),
            Err(TokenFault::Expired)
        );
    }

    #[test]
    fn a_token_of_another_run_is_refused() {
        let token = tokens().mint(&run(), Edition::FIRST, 60, 1000, [0; 8]);
        for other in [
            Run {
                container_id: "b".repeat(64),
                ..run()
            },
            Run {
                started_at: "2026-11-21T10:00:00.6Z".to_owned(),
                ..run()
            },
            Run {
                cgroup_id: 4243,
                ..run()
            },
            Run {
                container_id: format!("{}2", "a".repeat(64)),
                started_at: "026-11-21T10:00:00.5Z".to_owned(),
                ..run()
            },
        ] {
            assert_eq!(
                tokens().verify(&other, Edition::FIRST, &token, 1000),
                Err(TokenFault::Invalid)
            );
        }
    }

    #[test]
    fn a_token_of_another_edition_of_the_rule_is_refused() {
        let other = Policy::new(&config(RULE)).succeed(&config("")).succeed(&config(RULE));
        let other = other.editions().next().unwrap();
        let token = tokens().mint(&run(), Edition::FIRST, 60, 1000, [0; 8]);
        assert_eq!(tokens().verify(&run(), other, &token, 1000), Err(TokenFault::Invalid));
    }

    #[test]
    fn a_token_of_an_earlier_process_is_refused() {
        let token = Tokens::new([8; 32]).mint(&run(), Edition::FIRST, 60, 1000, [0; 8]);
        assert_eq!(
            tokens().verify(&run(), Edition::FIRST, &token, 1000),
            Err(TokenFault::Invalid)
        );
    }

    #[test]
    fn only_1_to_21600_is_a_time_to_live() {
        for (text, expected) in [("1", Some(1)), ("60", Some(60)), ("21600", Some(21_600))] {
            assert_eq!(parse_ttl(text), expected);
        }
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "21601",
            "99999",
            "1000000000",
            "060",
            "1.5",
            "1e3",
            "ten",
            " 1",
            "６０",
            "1,1",
        ] {
            assert_eq!(parse_ttl(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(byte in 0usize..56, bit in 0u32..8, ttl in 1u32..=21_600, nonce: [u8; 8]) {
            let token = tokens().mint(&run(), Edition::FIRST, ttl, 1000, nonce);
            let mut bytes = token.into_bytes();
            bytes[byte] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert_eq!(tokens().verify(&run(), Edition::FIRST, &text, 1000), Err(TokenFault::Invalid));
            }
        }

        #[test]
        fn any_other_text_is_refused(text in "[A-Za-z0-9_=-]{0,80}") {
            prop_assert_eq!(tokens().verify(&run(), Edition::FIRST, &text, 1000), Err(TokenFault::Invalid));
        }

        #[test]
        fn a_cut_token_is_refused(length in 0usize..56) {
            let token = tokens().mint(&run(), Edition::FIRST, 60, 1000, [0; 8]);
            prop_assert_eq!(tokens().verify(&run(), Edition::FIRST, &token[..length], 1000), Err(TokenFault::Invalid));
        }
    }
}
