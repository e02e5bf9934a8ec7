//! Credentials out of a seed and a serial number: the same run gives the same keys. It must not know who may have them.

use std::collections::{BTreeMap, BTreeSet};

use fake_kit::seed::{Canary, Seed};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::policy::Policy;
use crate::provenance::{Delivery, Provenance, Via};
use crate::seal::{Bearer, Content, Sealer};
use crate::secret::Secret;
use crate::state::{Owner, Session};

/// Bits of a key id below the account.
const UNIQUE_BITS: u32 = 39;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A session that was granted and has no credentials yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose session.
    pub owner: Owner,
    /// How.
    pub via: Via,
    /// ARN of the principal that asked.
    pub requester: String,
    /// The key that asked; empty where no signature was needed.
    pub requester_key: String,
    /// ExternalId.
    pub external_id: Option<String>,
    /// Lifetime.
    pub duration_seconds: u32,
    /// The session policy: text and meaning.
    pub policy: Option<(String, Policy)>,
    /// Managed session policies.
    pub policy_arns: Vec<String>,
    /// Session tags, inherited ones included.
    pub tags: BTreeMap<String, String>,
    /// Keys of the tags to inherit.
    pub transitive_tag_keys: BTreeSet<String>,
    /// Source identity, given or inherited.
    pub source_identity: Option<String>,
    /// Whether a second factor was shown.
    pub mfa: bool,
    /// The ARN of the identity provider that vouched.
    pub provider: Option<String>,
    /// By which version of the metadata service an instance got them; `None` for whoever is no instance.
    pub delivery: Option<Delivery>,
}

/// Makes the credentials of a grant.
#[must_use]
pub fn mint(grant: Grant, sealer: &Sealer, serial: u64, canary: &Canary, now: Timestamp) -> Session {
    // STS answers in whole seconds.
    let issued_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let provenance = Provenance {
        role_arn: grant.owner.principal_arn(),
        session_name: grant.owner.session_name().to_owned(),
        external_id: grant.external_id,
        requester: grant.requester,
        requester_key: grant.requester_key,
        nonce: format!("{serial:016x}"),
        issued_at,
        via: grant.via,
        duration_seconds: grant.duration_seconds,
        policy_sha256: grant.policy.as_ref().map(|(text, _)| hex::encode(Sha256::digest(text))),
        policy_arns: grant.policy_arns.clone(),
        source_identity: grant.source_identity.clone(),
    };
    let content = Content {
        bearer: Bearer::from(&grant.owner),
        policy: grant.policy.as_ref().map(|(text, _)| text.clone()),
        tags: grant.tags.clone(),
        transitive: grant.transitive_tag_keys.clone(),
        mfa: grant.mfa,
        provider: grant.provider.clone(),
        delivery: grant.delivery,
    };
    let access_key_id = access_key_id(grant.owner.account(), sealer.seed(), serial);
    Session {
        secret: sealer.secret(&access_key_id, canary.as_str()),
        token: sealer.close(&access_key_id, canary.as_str(), &provenance, &content),
        access_key_id,
        expiration: expiration(issued_at, grant.duration_seconds),
        issued_at,
        arn: grant.owner.arn(),
        principal_arn: grant.owner.principal_arn(),
        owner: grant.owner,
        via: grant.via,
        policy: grant.policy.map(|(_, policy)| policy),
        policy_arns: grant.policy_arns,
        tags: grant.tags,
        transitive_tag_keys: grant.transitive_tag_keys,
        source_identity: grant.source_identity,
        mfa: grant.mfa,
        provider: grant.provider,
        delivery: grant.delivery,
    }
}

/// When a session ends.
pub(crate) fn expiration(issued_at: Timestamp, duration_seconds: u32) -> Timestamp {
    issued_at
        .saturating_add(SignedDuration::from_secs(i64::from(duration_seconds)))
        .unwrap_or(issued_at)
}

/// The account in a key id: what GetAccessKeyInfo answers. Keys of before 2019 carry none, and their first bit says so.
#[must_use]
pub fn account_of_key(access_key_id: &str) -> Option<String> {
    let digits = access_key_id.get(4..).filter(|digits| digits.len() == 16)?;
    let bits = digits.bytes().try_fold(0_u128, |bits, byte| {
        let digit = BASE32.iter().position(|letter| *letter == byte)?;
        Some(bits << 5 | u128::try_from(digit).ok()?)
    })?;
    let account = (bits >> UNIQUE_BITS) & ((1 << 40) - 1);
    (bits >> 79 == 1 && account < 1_000_000_000_000).then(|| format!("{account:012}"))
}

/// A long-lived key for a user, with its secret.
#[must_use]
pub fn long_lived(account: &str, seed: &Seed, serial: u64) -> (String, Secret) {
    let id = key_id("AKIA", account, seed, serial);
    (id, Secret::new(seed.base64("long-lived secret", serial, 40)))
}

/// `ASIA` and 80 bits in base32: a one, the account in 40 bits (GetAccessKeyInfo reads it from there), 39 bits that differ for each
/// serial number because an odd factor permutes them.
fn access_key_id(account: &str, seed: &Seed, serial: u64) -> String {
    key_id("ASIA", account, seed, serial)
}

fn key_id(prefix: &str, account: &str, seed: &Seed, serial: u64) -> String {
    const MASK: u64 = (1 << UNIQUE_BITS) - 1;
    let account: u64 = account.parse().unwrap_or_default();
    let offset = seed
        .bytes("access key", 0)
        .iter()
        .fold(0_u64, |sum, byte| (sum << 7) ^ u64::from(*byte));
    let unique = serial.wrapping_mul(0x0005_DEEC_E66D).wrapping_add(offset) & MASK;
    let bits: u128 = (1 << 79) | (u128::from(account) << UNIQUE_BITS) | u128::from(unique);
    let mut text = prefix.to_owned();
    for at in (0..16).rev() {
        let digit = usize::try_from((bits >> (at * 5)) & 31).unwrap_or_default();
        text.push(BASE32.get(digit).copied().map_or('A', char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{access_key_id, account_of_key};
    use fake_kit::seed::Seed;
    use std::collections::BTreeSet;

    #[test]
    fn key_ids_differ_and_carry_their_account() {
        let seed = Seed::default();
        let keys: BTreeSet<_> = (0..2_000)
            .map(|serial| access_key_id("123456789012", &seed, serial))
            .collect();
        assert_eq!(keys.len(), 2_000);
        for key in keys {
            assert!(key.len() == 20 && key.starts_with("ASIA"), "{key}");
            assert_eq!(account_of_key(&key).as_deref(), Some("123456789012"));
        }
    }

    #[test]
    fn a_key_id_of_another_shape_carries_no_account() {
        for key in [
            "AKIAIOSFODNN7EXAMPLE",
            "AKIA",
            "",
            "AKIA1111111111111111",
            "AKIA\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(account_of_key(key), None, "{key}");
        }
        // Published with its account by those who found the encoding.
        assert_eq!(account_of_key("ASIAQNZGKIQY56JQ7WML").as_deref(), Some("029608264753"));
    }
}
