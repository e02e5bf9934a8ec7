//! Keeps the current credentials of the instance, as the real service repeats one set for each of its versions until it is rotated.
//! It must not know how they are issued, nor what is answered with them.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::credentials::{Delivery, Issued, Kind, LIFETIME_SECONDS};
use crate::issuer::{IssueError, Issuer};
use crate::timeline::Attachment;

/// Which credentials are wanted.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose.
    pub kind: Kind,
    /// By which version of the service.
    pub delivery: Delivery,
    /// The time.
    pub now: Timestamp,
    /// Those from before are not wanted.
    pub rotated: Option<Timestamp>,
    /// How long they are to live, where a fault says so.
    pub lifetime: Option<u64>,
    /// The instance profile that is attached.
    pub attachment: Attachment,
}

/// The current credentials of both kinds, for each version of the service.
#[derive(Debug)]
pub struct Purse {
    issuer: Issuer,
    role: Slots,
    identity: Slots,
}

#[derive(Debug, Default)]
struct Slots {
    v1: Slot,
    v2: Slot,
}

#[derive(Debug, Default)]
struct Slot {
    set: Mutex<Option<Issued>>,
    /// Held while a new set is fetched, so that one first request among many asks.
    fetching: tokio::sync::Mutex<()>,
}

impl Slot {
    fn current(&self, now: Timestamp, rotated: Option<Timestamp>) -> Option<Issued> {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |issued: Timestamp| rotated.is_none_or(|rotated| issued >= rotated);
        set.as_ref()
            .filter(|issued| matches!(issued, Issued::Credentials(set) if set.current(now) && fresh(set.last_updated)))
            .cloned()
    }
}

impl Purse {
    /// An empty purse.
    pub fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            role: Slots::default(),
            identity: Slots::default(),
        }
    }

    /// The current credentials, new ones if the old are about to expire, or are from before they were rotated or the role was attached. With a lifetime, new ones
    /// that live so long and are not kept.
    ///
    /// # Errors
    /// There are no current ones, and none could be issued.
    pub async fn current(&self, wish: &Wish) -> Result<Issued, IssueError> {
        let &Wish {
            kind,
            delivery,
            now,
            rotated,
            lifetime,
            ref attachment,
        } = wish;
        if let Some(seconds) = lifetime {
            return self.issuer.issue(kind, delivery, attachment, now, seconds).await;
        }
        let (slots, rotated) = match kind {
            Kind::Role => (&self.role, rotated.max(attachment.since)),
            Kind::Identity => (&self.identity, rotated),
        };
        let slot = match delivery {
            Delivery::V1 => &slots.v1,
            Delivery::V2 => &slots.v2,
        };
        if let Some(issued) = slot.current(now, rotated) {
            return Ok(issued);
        }
        let _fetching = slot.fetching.lock().await;
        if let Some(issued) = slot.current(now, rotated) {
            return Ok(issued);
        }
        let issued = self
            .issuer
            .issue(kind, delivery, attachment, now, LIFETIME_SECONDS)
            .await?;
        *slot.set.lock().unwrap_or_else(PoisonError::into_inner) = Some(issued.clone());
        Ok(issued)
    }

    /// Forgets them.
    pub fn clear(&self) {
        let Self { role, identity, .. } = self;
        for slot in [&role.v1, &role.v2, &identity.v1, &identity.v2] {
            *slot.set.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use fake_kit::seed::{Canaries, Seed};
    use jiff::SignedDuration;

    use super::*;
    use crate::instance::Marker;
    use crate::world::World;

    fn purse() -> Purse {
        let (seed, world) = (Seed::default(), World::default());
        let marker = Marker::of(&Canaries::new(seed.clone()), &world, 0);
        Purse::new(Issuer::new(world, seed, marker, None))
    }

    fn wish(kind: Kind, now: Timestamp, rotated: Option<Timestamp>, lifetime: Option<u64>) -> Wish {
        Wish {
            kind,
            delivery: Delivery::V2,
            now,
            rotated,
            lifetime,
            attachment: Attachment::first(&World::default().instance),
        }
    }

    #[tokio::test]
    async fn another_role_has_other_credentials_and_the_instance_itself_the_same() {
        let purse = purse();
        let start = Timestamp::UNIX_EPOCH;
        let role = wish(Kind::Role, start, None, None);
        let identity = wish(Kind::Identity, start, None, None);
        let (first, own) = (
            purse.current(&role).await.unwrap(),
            purse.current(&identity).await.unwrap(),
        );
        let later = start + SignedDuration::from_secs(9);
        let replaced = |wish: Wish| Wish {
            now: later,
            attachment: Attachment {
                role: "other".to_owned(),
                since: Some(later),
                ..wish.attachment
            },
            ..wish
        };
        assert_ne!(purse.current(&replaced(role)).await.unwrap(), first);
        assert_eq!(purse.current(&replaced(identity)).await.unwrap(), own);
    }

    #[tokio::test]
    async fn one_set_is_repeated_until_five_minutes_before_its_expiry() {
        let purse = purse();
        let start = Timestamp::UNIX_EPOCH;
        let first = purse.current(&wish(Kind::Role, start, None, None)).await.unwrap();
        let before = start + SignedDuration::from_secs(21_600 - 301);
        assert_eq!(
            purse.current(&wish(Kind::Role, before, None, None)).await.unwrap(),
            first
        );
        let after = start + SignedDuration::from_secs(21_600 - 300);
        assert_ne!(
            purse.current(&wish(Kind::Role, after, None, None)).await.unwrap(),
            first
        );
    }

    #[tokio::test]
    async fn rotated_credentials_are_not_given_again() {
        let purse = purse();
        let start = Timestamp::UNIX_EPOCH;
        let first = purse.current(&wish(Kind::Role, start, None, None)).await.unwrap();
        let later = start + SignedDuration::from_secs(9);
        assert_eq!(
            purse
                .current(&wish(Kind::Role, later, Some(start), None))
                .await
                .unwrap(),
            first
        );
        let second = purse
            .current(&wish(Kind::Role, later, Some(later), None))
            .await
            .unwrap();
        assert_ne!(second, first);
        assert_eq!(
            purse
                .current(&wish(Kind::Role, later, Some(later), None))
                .await
                .unwrap(),
            second
        );
    }

    #[tokio::test]
    async fn a_short_lifetime_is_not_kept() {
        let purse = purse();
        let start = Timestamp::UNIX_EPOCH;
        let short = purse.current(&wish(Kind::Role, start, None, Some(5))).await.unwrap();
        assert_ne!(
            purse.current(&wish(Kind::Role, start, None, None)).await.unwrap(),
            short
        );
    }

    #[tokio::test]
    async fn the_kinds_do_not_mix_and_a_cleared_purse_is_empty() {
        let purse = purse();
        let start = Timestamp::UNIX_EPOCH;
        let role = purse.current(&wish(Kind::Role, start, None, None)).await.unwrap();
        assert_ne!(
            purse.current(&wish(Kind::Identity, start, None, None)).await.unwrap(),
            role
        );
        purse.clear();
        assert_ne!(purse.current(&wish(Kind::Role, start, None, None)).await.unwrap(), role);
    }

    #[tokio::test]
    async fn each_version_of_the_service_repeats_a_set_of_its_own() {
        let purse = purse();
        let start = Timestamp::UNIX_EPOCH;
        for kind in [Kind::Role, Kind::Identity] {
            let second = wish(kind, start, None, None);
            let first = Wish {
                delivery: Delivery::V1,
                ..second.clone()
            };
            let one = purse.current(&first).await.unwrap();
            let two = purse.current(&second).await.unwrap();
            assert_ne!(one, two);
            assert_eq!(purse.current(&first).await.unwrap(), one);
            assert_eq!(purse.current(&second).await.unwrap(), two);
            purse.clear();
            assert_ne!(purse.current(&first).await.unwrap(), one);
            assert_ne!(purse.current(&second).await.unwrap(), two);
        }
    }
}
