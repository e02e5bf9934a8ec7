//! Session tokens of IMDSv2. A token carries its own expiry under a check value, so any number of tokens costs no memory.
//! It must not know what a token opens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fake_kit::seed::{Canary, Seed};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Seconds a token may live (AWS documentation).
pub const TTL_SECONDS: std::ops::RangeInclusive<u32> = 1..=21_600;
/// Real tokens are 40 bytes, 56 characters, and begin like this (captures).
const PREFIX: &str = "AQAEA";
/// Prefix, three free characters and the canary: 24 characters, 18 bytes.
const HEAD_BYTES: usize = 18;
const NONCE_BYTES: usize = 4;
const EXPIRY_BYTES: usize = 6;
const CHECK_BYTES: usize = 12;
const TOKEN_BYTES: usize = HEAD_BYTES + NONCE_BYTES + EXPIRY_BYTES + CHECK_BYTES;

/// What makes and checks the tokens of one instance.
#[derive(Debug, Clone)]
pub struct Mint {
    seed: Seed,
    instance: String,
    generation: u64,
    key: [u8; 32],
    canary: Canary,
}

/// Reads the TTL a client asks for: 1 to 21600, digits only, stated once.
pub fn asked_ttl<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<u32> {
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let digits = value.len() <= 5 && value.iter().all(u8::is_ascii_digit);
    let ttl: u32 = std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()?;
    TTL_SECONDS.contains(&ttl).then_some(ttl)
}

impl Mint {
    /// The mint of that instance. Another instance's tokens are not valid here.
    pub fn new(seed: &Seed, instance: &str, canary: Canary) -> Self {
        Self {
            seed: seed.clone(),
            instance: instance.to_owned(),
            generation: 0,
            key: key(seed, instance, 0),
            canary,
        }
    }

    /// No token that was issued before is valid any more.
    pub fn renew(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.key = key(&self.seed, &self.instance, self.generation);
    }

    /// As at the start: the first tokens are valid again.
    pub fn begin(&mut self) {
        self.generation = 0;
        self.key = key(&self.seed, &self.instance, 0);
    }

    /// A token that lives so long. Two numbers give two tokens.
    pub fn issue(&self, now: Timestamp, ttl_seconds: u32, number: u64) -> String {
        let free = self.seed.base64("token", number, 3).replace('+', "-").replace('/', "_");
        let mut bytes = URL_SAFE
            .decode(format!("{PREFIX}{free}{}", self.canary))
            .unwrap_or_default();
        let nonce = self.seed.bytes("token-nonce", number);
        bytes.extend(nonce.iter().take(NONCE_BYTES));
        let expiry = now.as_millisecond().saturating_add(i64::from(ttl_seconds) * 1000);
        let expiry = expiry.to_be_bytes();
        let mask = self.hash("mask", &bytes);
        bytes.extend(
            expiry
                .iter()
                .skip(8 - EXPIRY_BYTES)
                .zip(mask)
                .map(|(byte, mask)| byte ^ mask),
        );
        let check = self.hash("check", &bytes);
        bytes.extend(check.iter().take(CHECK_BYTES));
        URL_SAFE.encode(bytes)
    }

    /// The seconds that a token has left, rounded up; none if it is not one of ours or has expired.
    pub fn seconds_left(&self, token: &[u8], now: Timestamp) -> Option<u64> {
        if token.len() != 56 {
            return None;
        }
        let bytes = URL_SAFE.decode(token).ok().filter(|bytes| bytes.len() == TOKEN_BYTES)?;
        let (signed, check) = bytes.split_at_checked(TOKEN_BYTES - CHECK_BYTES)?;
        if self.hash("check", signed).get(..CHECK_BYTES) != Some(check) {
            return None;
        }
        let (open, masked) = signed.split_at_checked(HEAD_BYTES + NONCE_BYTES)?;
        let mask = self.hash("mask", open);
        let mut expiry = [0_u8; 8];
        for (byte, (masked, mask)) in expiry.iter_mut().skip(8 - EXPIRY_BYTES).zip(masked.iter().zip(mask)) {
            *byte = masked ^ mask;
        }
        let left = i64::from_be_bytes(expiry).checked_sub(now.as_millisecond())?;
        let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
        Some(left.div_ceil(1000))
    }

    fn hash(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(purpose.as_bytes());
        hash.update(bytes);
        hash.finalize().into()
    }
}

fn key(seed: &Seed, instance: &str, generation: u64) -> [u8; 32] {
    seed.bytes(&format!("token-key/{instance}"), generation)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn mint() -> Mint {
        let seed = Seed::default();
        Mint::new(&seed, "i-1", Canary::derive(&seed, "host-token"))
    }

    fn now() -> Timestamp {
        "2026-01-02T03:04:05.678Z".parse().unwrap()
    }

    fn later(milliseconds: i64) -> Timestamp {
        now() + SignedDuration::from_millis(milliseconds)
    }

    #[test]
    fn a_token_looks_like_a_real_one_and_carries_the_canary() {
        for number in 0..100 {
            let token = mint().issue(now(), 21_600, number);
            assert_eq!(token.len(), 56);
            assert!(token.starts_with("AQAEA") && token.ends_with("=="));
            assert!(token.contains(Canary::derive(&Seed::default(), "host-token").as_str()));
        }
        assert_ne!(mint().issue(now(), 60, 1), mint().issue(now(), 60, 2));
    }

    #[test]
    fn a_token_lives_to_its_last_millisecond() {
        let token = mint().issue(now(), 60, 1);
        assert_eq!(mint().seconds_left(token.as_bytes(), now()), Some(60));
        assert_eq!(mint().seconds_left(token.as_bytes(), later(1)), Some(60));
        assert_eq!(mint().seconds_left(token.as_bytes(), later(59_999)), Some(1));
        assert_eq!(mint().seconds_left(token.as_bytes(), later(60_000)), None);
    }

    #[test]
    fn another_instances_token_is_refused() {
        let seed = Seed::default();
        let other = Mint::new(&seed, "i-2", Canary::derive(&seed, "host-token"));
        assert_eq!(mint().seconds_left(other.issue(now(), 60, 1).as_bytes(), now()), None);
    }

    #[test]
    fn a_renewed_mint_knows_none_of_its_tokens() {
        let mut mint = mint();
        let before = mint.issue(now(), 60, 1);
        mint.renew();
        assert_eq!(mint.seconds_left(before.as_bytes(), now()), None);
        assert!(mint.seconds_left(mint.issue(now(), 60, 1).as_bytes(), now()).is_some());
        mint.begin();
        assert!(mint.seconds_left(before.as_bytes(), now()).is_some());
    }

    #[test]
    fn only_a_single_whole_number_in_range_is_a_ttl() {
        for (values, expected) in [
            (vec!["1"], Some(1)),
            (vec!["21600"], Some(21_600)),
            (vec!["007"], Some(7)),
            (vec![], None),
            (vec![""], None),
            (vec!["0"], None),
            (vec!["21601"], None),
            (vec!["-1"], None),
            (vec!["+5"], None),
            (vec!["1.5"], None),
            (vec!["1e3"], None),
            (vec!["0x10"], None),
            (vec!["99999999999999999999"], None),
            (vec!["60", "60"], None),
        ] {
            assert_eq!(asked_ttl(values.iter().map(|v| v.as_bytes())), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_pass(token in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(mint().seconds_left(&token, now()), None);
        }

        #[test]
        fn no_changed_character_passes(at in 0_usize..56, with in "[A-Za-z0-9_=-]") {
            let token = mint().issue(now(), 60, 1);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(mint().seconds_left(changed.as_bytes(), now()).is_some(), changed == token);
        }

        #[test]
        fn every_ttl_is_returned(ttl in 1_u32..=21_600, number: u64) {
            let token = mint().issue(now(), ttl, number);
            prop_assert_eq!(mint().seconds_left(token.as_bytes(), now()), Some(u64::from(ttl)));
        }
    }
}
