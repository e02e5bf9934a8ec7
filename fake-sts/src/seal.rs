//! Sessions that nobody has to remember. As in AWS, a session token carries its session: what anybody may read of it (`provenance`), then
//! the rest, encrypted, and both authenticated for one access key id. It must not know which principals exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use fake_kit::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::provenance::{self, Delivery, Provenance};
use crate::secret::Secret;
use crate::state::Owner;

/// Characters of a secret that differ from session to session; its canary stands before them.
const OWN_SECRET_LENGTH: usize = 24;

/// The key of one seed. Whoever has the seed can make sessions: it keeps tests honest, and nothing else.
pub struct Sealer {
    seed: Seed,
    key: Option<LessSafeKey>,
}

/// Whose session it is, as far as the provenance does not say. Unique ids, because a principal that is made again is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bearer {
    /// A role of the provenance's ARN.
    Role {
        /// Its unique id.
        id: String,
        /// Whether it stands in the world.
        of_world: bool,
    },
    /// A user, or a federated user whom it vouched for.
    User {
        /// Its account.
        account: String,
        /// Its name.
        name: String,
        /// Its unique id.
        id: String,
        /// Whether it is the federated user.
        federated: bool,
    },
    /// A root user.
    Root {
        /// Its account.
        account: String,
        /// `aws`…
        partition: String,
        /// The task policy.
        task: String,
    },
}

impl From<&Owner> for Bearer {
    fn from(owner: &Owner) -> Self {
        match owner {
            Owner::Role { id, of_world, .. } => Self::Role {
                id: id.clone(),
                of_world: *of_world,
            },
            Owner::User(user) | Owner::Federated { user, .. } => Self::User {
                account: user.account.clone(),
                name: user.name.clone(),
                id: user.id.clone(),
                federated: matches!(owner, Owner::Federated { .. }),
            },
            Owner::Root {
                account,
                partition,
                task,
            } => Self::Root {
                account: account.clone(),
                partition: partition.clone(),
                task: task.clone(),
            },
        }
    }
}

/// What of a session only STS can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Whose.
    pub bearer: Bearer,
    /// The text of the session policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Session tags, inherited ones included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Keys of the tags to inherit.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub transitive: BTreeSet<String>,
    /// Whether a second factor was shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mfa: bool,
    /// The ARN of the identity provider that vouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// By which version of the metadata service an instance got them; none in tokens of whoever is no instance, and in those from before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(yes: &bool) -> bool {
    !yes
}

/// An opened token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What anybody may read.
    pub provenance: Provenance,
    /// The rest.
    pub content: Content,
    /// What a request with this key must be signed with.
    pub secret: Secret,
}

impl Sealer {
    /// The key of a seed.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        // 32 bytes are what the algorithm takes.
        let key = UnboundKey::new(&AES_256_GCM_SIV, &seed.bytes("session tokens", 0)).ok();
        Self {
            seed: seed.clone(),
            key: key.map(LessSafeKey::new),
        }
    }

    /// What ids are derived from.
    #[must_use]
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The secret of a session's key: it is derived, so the token need not carry it.
    #[must_use]
    pub fn secret(&self, access_key_id: &str, canary: &str) -> Secret {
        let own = self
            .seed
            .base64(&format!("secret of {access_key_id}"), 0, OWN_SECRET_LENGTH);
        Secret::new(format!("{canary}{own}"))
    }

    /// Writes the token of a session. The algorithm forgives a nonce that comes again, as it does in each run with the same seed.
    #[must_use]
    pub fn close(&self, access_key_id: &str, canary: &str, provenance: &Provenance, content: &Content) -> Secret {
        let mut token = provenance::Sealed {
            canary: canary.to_owned(),
            // Structs of texts and numbers always serialise; an empty text would not be opened again.
            open: serde_json::to_vec(provenance).unwrap_or_default(),
            sealed: serde_json::to_vec(content).unwrap_or_default(),
        };
        let aad = authenticated(access_key_id, &token);
        let closed = self.key.as_ref().is_some_and(|key| {
            let nonce = nonce(&self.seed, &provenance.nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut token.sealed)
                .is_ok()
        });
        if !closed {
            token.sealed.clear();
        }
        Secret::new(token.encode())
    }

    /// Opens a token; `None` unless it was closed with this key, for this access key id.
    #[must_use]
    pub fn open(&self, access_key_id: &str, token: &str) -> Option<Opened> {
        let mut token = provenance::Sealed::decode(token).ok()?;
        let provenance: Provenance = serde_json::from_slice(&token.open).ok()?;
        let aad = authenticated(access_key_id, &token);
        let nonce = nonce(&self.seed, &provenance.nonce);
        let plain = self
            .key
            .as_ref()?
            .open_in_place(nonce, Aad::from(aad), &mut token.sealed)
            .ok()?;
        Some(Opened {
            content: serde_json::from_slice(plain).ok()?,
            secret: self.secret(access_key_id, &token.canary),
            provenance,
        })
    }
}

fn authenticated(access_key_id: &str, token: &provenance::Sealed) -> Vec<u8> {
    // Neither of the first two can have a slash in it.
    [access_key_id.as_bytes(), token.canary.as_bytes(), token.open.as_slice()].join(&b'/')
}

fn nonce(seed: &Seed, text: &str) -> Nonce {
    let bytes = seed.bytes(&format!("nonce of {text}"), 0);
    let mut first = [0; 12];
    first.iter_mut().zip(bytes).for_each(|(one, byte)| *one = byte);
    Nonce::assume_unique_for_key(first)
}

impl fmt::Debug for Sealer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sealer(**redacted**)")
    }
}

#[cfg(test)]
mod tests {
    use fake_kit::seed::Seed;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{Bearer, Content, Sealer};
    use crate::provenance::{Delivery, Provenance, Via, decode};

    const KEY: &str = "ASIAXXXXXXXXXXXXXXXX";
    const CANARY: &str = "74ZBSWLOWBCVCIOL";

    fn provenance(session_name: &str) -> Provenance {
        Provenance {
            role_arn: "arn:aws:iam::123456789012:role/deploy".to_owned(),
            session_name: session_name.to_owned(),
            external_id: None,
            requester: "arn:aws:iam::123456789012:user/alice".to_owned(),
            requester_key: String::new(),
            nonce: "0000000000000007".to_owned(),
            issued_at: Timestamp::UNIX_EPOCH,
            via: Via::AssumeRole,
            duration_seconds: 3_600,
            policy_sha256: None,
            policy_arns: Vec::new(),
            source_identity: None,
        }
    }

    fn content(policy: Option<String>, tag: &str) -> Content {
        Content {
            bearer: Bearer::Role {
                id: "AROAX".to_owned(),
                of_world: true,
            },
            policy,
            tags: [(tag.to_owned(), tag.to_owned())].into(),
            transitive: [tag.to_owned()].into(),
            mfa: tag.len() > 3,
            provider: None,
            delivery: (tag.len() > 5).then_some(Delivery::V1),
        }
    }

    #[test]
    fn a_token_is_good_for_its_key_id_and_its_seed_only() {
        let sealer = Sealer::new(&Seed::default());
        let token = sealer.close(KEY, CANARY, &provenance("job"), &content(None, "team"));
        assert!(sealer.open(KEY, token.expose()).is_some());
        assert_eq!(sealer.open("ASIAXXXXXXXXXXXXXXXY", token.expose()), None);
        assert_eq!(Sealer::new(&Seed::new("other")).open(KEY, token.expose()), None);
        // A token that only looks like one: what anybody can write from the provenance.
        let forged = crate::provenance::encode(CANARY, &provenance("job"));
        assert_eq!(sealer.open(KEY, &forged), None);
    }

    #[test]
    fn the_policy_of_a_session_cannot_be_read_from_outside() {
        let sealer = Sealer::new(&Seed::default());
        let token = sealer.close(
            KEY,
            CANARY,
            &provenance("job"),
            &content(Some("for your eyes".to_owned()), "t"),
        );
        let bytes = crate::provenance::Sealed::decode(token.expose()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes.sealed).contains("your eyes"));
    }

    #[test]
    fn what_was_closed_before_the_delivery_was_told_is_read() {
        let content: Content = serde_json::from_str(r#"{"bearer":{"role":{"id":"AROAX","of_world":true}}}"#).unwrap();
        assert_eq!(content.delivery, None);
    }

    proptest! {
        #[test]
        fn what_was_closed_is_opened_and_told(name in ".{0,30}", policy: Option<String>, tag in ".{0,9}") {
            let sealer = Sealer::new(&Seed::default());
            let (provenance, content) = (provenance(&name), content(policy, &tag));
            let token = sealer.close(KEY, CANARY, &provenance, &content);
            let opened = sealer.open(KEY, token.expose()).unwrap();
            prop_assert_eq!(decode(token.expose()).unwrap(), provenance.clone());
            prop_assert_eq!((opened.provenance, opened.content), (provenance, content));
            prop_assert_eq!(opened.secret, sealer.secret(KEY, CANARY));
        }

        #[test]
        fn a_token_that_was_changed_anywhere_is_none(at: prop::sample::Index, to in "[A-Za-z0-9+/]") {
            let sealer = Sealer::new(&Seed::default());
            let token = sealer.close(KEY, CANARY, &provenance("job"), &content(None, "team"));
            let at = at.index(token.expose().len());
            let mut changed = token.expose().to_owned();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != token.expose());
            prop_assert_eq!(sealer.open(KEY, &changed), None);
        }
    }
}
