//! Session tokens of this proxy: minted here, bound to one run of one container. No HTTP, no clock of its own.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::hole::{Hole, Switches};

/// So many live tokens at most; beyond, the ones that expire first go.
const LIMIT: usize = 20_000;

/// What remains of a token whose end nobody looks at.
const ANY: i64 = 21_600;

#[derive(Debug)]
struct Entry {
    owner: String,
    expires: Timestamp,
}

/// The live tokens.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<String, Entry>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(**redacted**)")
    }
}

impl Tokens {
    /// A new token of 56 characters for `owner`.
    pub fn mint(&self, random: [u8; 28], owner: &str, ttl: SignedDuration, now: Timestamp) -> String {
        let mut token = String::with_capacity(56);
        for byte in random {
            // Writing to a String cannot fail.
            let _ = write!(token, "{byte:02x}");
        }
        self.remember(&token, owner, ttl, now);
        token
    }

    /// Takes a token that was not minted here as the owner's ([`Hole::ForwardTokenRoute`]).
    pub fn remember(&self, token: &str, owner: &str, ttl: SignedDuration, now: Timestamp) {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if live.len() >= LIMIT {
            live.retain(|_, entry| entry.expires > now);
        }
        if live.len() >= LIMIT
            && let Some(first) = live
                .iter()
                .min_by_key(|(_, entry)| entry.expires)
                .map(|(token, _)| token.clone())
        {
            live.remove(&first);
        }
        let expires = now.checked_add(ttl).unwrap_or(now);
        live.insert(
            token.to_owned(),
            Entry {
                owner: owner.to_owned(),
                expires,
            },
        );
    }

    /// The seconds that `token` is still good for `owner`; with [`Hole::UnboundTokens`] for anybody.
    #[must_use]
    pub fn remaining(&self, token: &str, owner: &str, now: Timestamp, switches: &Switches) -> Option<i64> {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if switches.open(Hole::AnyToken) {
            return Some(ANY);
        }
        let entry = live.get(token)?;
        let is_good = entry.owner == owner || switches.open(Hole::UnboundTokens);
        if is_good && switches.open(Hole::EndlessTokens) {
            return Some(ANY);
        }
        (is_good && entry.expires > now).then(|| entry.expires.duration_since(now).as_secs())
    }

    /// Whether `token` is one of ours, whoever owns it.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_owner_until_it_expires() {
        let tokens = Tokens::default();
        let start = Timestamp::UNIX_EPOCH;
        let token = tokens.mint([7; 28], "a", SignedDuration::from_secs(60), start);
        let at = |seconds| start.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        assert_eq!(token.len(), 56);
        assert_eq!(tokens.remaining(&token, "a", at(20), &Switches::default()), Some(40));
        assert_eq!(tokens.remaining(&token, "a", at(60), &Switches::default()), None);
        assert_eq!(tokens.remaining("0707", "a", start, &Switches::default()), None);
    }

    #[test]
    fn expired_and_unminted_tokens_are_good_only_with_their_switches() {
        let tokens = Tokens::default();
        let start = Timestamp::UNIX_EPOCH;
        let token = tokens.mint([7; 28], "a", SignedDuration::from_secs(60), start);
        let late = start.checked_add(SignedDuration::from_secs(61)).unwrap();
        for (hole, expired, guessed) in [
            (None, false, false),
            (Some(Hole::EndlessTokens), true, false),
            (Some(Hole::AnyToken), true, true),
        ] {
            let switches = Switches {
                hole,
                default_role: None,
            };
            assert_eq!(
                tokens.remaining(&token, "a", late, &switches).is_some(),
                expired,
                "{hole:?}"
            );
            assert_eq!(
                tokens.remaining("guessed", "a", late, &switches).is_some(),
                guessed,
                "{hole:?}"
            );
        }
    }

    #[test]
    fn somebody_elses_token_is_good_only_when_unbound() {
        let tokens = Tokens::default();
        let token = tokens.mint([7; 28], "a", SignedDuration::from_secs(60), Timestamp::UNIX_EPOCH);
        let as_b = |switches| tokens.remaining(&token, "b", Timestamp::UNIX_EPOCH, &switches);
        assert_eq!(as_b(Switches::default()), None);
        assert_eq!(as_b(Hole::UnboundTokens.into()), Some(60));
        assert_eq!(
            tokens.remaining("unminted", "b", Timestamp::UNIX_EPOCH, &Hole::UnboundTokens.into()),
            None
        );
    }
}
