//! Credentials of roles: asked of STS, kept while they are good. No HTTP of the caller's, no clock of its own.

pub mod sts;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use zeroize::Zeroize;

use crate::config::Session;
use crate::hole::{Hole, Switches};

/// SDKs ask again 15 minutes before the end, so nothing older is handed out while STS answers.
const REFRESH_AHEAD: SignedDuration = SignedDuration::from_mins(15);

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that writes it to the caller.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("**redacted**")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What STS gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Not secret.
    pub access_key_id: String,
    /// Secret.
    pub secret_access_key: Secret,
    /// Secret.
    pub session_token: Secret,
    /// When they end.
    pub expiration: Timestamp,
}

/// What is asked of STS, and what its answer depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ask {
    /// `RoleArn`
    pub role_arn: String,
    /// `ExternalId`
    pub external_id: Option<String>,
    /// `RoleSessionName`
    pub session_name: String,
    /// `Policy`, `PolicyArns` and `DurationSeconds`
    pub session: Session,
}

/// STS gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// It refuses.
    #[error("refused by STS")]
    Denied,
    /// It does not answer, or with a failure.
    #[error("STS unavailable")]
    Unavailable,
}

/// STS, as far as the cache needs it.
pub trait Issuer: Send + Sync + 'static {
    /// AssumeRole.
    fn issue(&self, ask: &Ask) -> impl Future<Output = Result<Credentials, IssueError>> + Send;
}

/// What STS gave, and when.
#[derive(Debug)]
struct Kept {
    credentials: Credentials,
    since: Timestamp,
}

impl Kept {
    const fn new(credentials: Credentials, since: Timestamp) -> Self {
        Self { credentials, since }
    }
}

/// One entry, locked while STS is asked for it.
type Slot = Arc<Mutex<Option<Kept>>>;

/// Credentials by what they depend on; one question to STS at a time for each.
#[derive(Debug)]
pub struct Cache<I>(Arc<Entries<I>>);

#[derive(Debug)]
struct Entries<I> {
    issuer: I,
    switches: Switches,
    slots: Mutex<HashMap<Ask, Slot>>,
    /// [`Hole::FailuresByArn`]: roles that STS refused once.
    refused: Mutex<HashSet<String>>,
}

impl<I: Issuer> Cache<I> {
    /// An empty cache before this issuer.
    pub fn new(issuer: I, switches: Switches) -> Self {
        Self(Arc::new(Entries {
            issuer,
            switches,
            slots: Mutex::default(),
            refused: Mutex::default(),
        }))
    }

    /// Good credentials for `ask`. A caller that goes away does not take its question to STS along.
    ///
    /// # Errors
    /// When STS gives none and none are left that are still good.
    pub async fn obtain(
        &self,
        ask: Ask,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Credentials, IssueError> {
        let entries = Arc::clone(&self.0);
        tokio::spawn(async move { Box::pin(entries.obtain(ask, now)).await })
            .await
            .map_err(|_| IssueError::Unavailable)?
    }

    /// What is cached, for [`Hole::AdminOnMainPort`].
    pub async fn list(&self) -> Vec<String> {
        let slots = self.0.slots.lock().await;
        slots
            .keys()
            .map(|ask| format!("{} {}\n", ask.session_name, ask.role_arn))
            .collect()
    }
}

impl<I: Issuer> Entries<I> {
    async fn obtain(&self, ask: Ask, now: impl Fn() -> Timestamp) -> Result<Credentials, IssueError> {
        if self.refused.lock().await.contains(&ask.role_arn) {
            return Err(IssueError::Denied);
        }
        let key = if self.switches.open(Hole::CacheByArn) {
            Ask {
                role_arn: ask.role_arn.clone(),
                ..Ask::default()
            }
        } else {
            ask.clone()
        };
        let slot = self.slots.lock().await.entry(key).or_default().clone();
        if self.switches.open(Hole::NoSingleFlight) {
            return self.obtain_alone(&slot, &ask, now()).await;
        }
        let mut kept = slot.lock().await;
        if let Some(kept) = kept.as_ref()
            && (is_fresh(&kept.credentials, now()) || self.is_kept_for_ever(kept))
        {
            return Ok(kept.credentials.clone());
        }
        match self.issuer.issue(&ask).await {
            Ok(credentials) => Ok(kept.insert(Kept::new(credentials, now())).credentials.clone()),
            Err(error) => {
                if error == IssueError::Denied && self.switches.open(Hole::FailuresByArn) {
                    self.refused.lock().await.insert(ask.role_arn);
                }
                match kept.as_ref().map(|kept| &kept.credentials) {
                    Some(credentials) if credentials.expiration > now() || self.switches.open(Hole::ServeExpired) => {
                        Ok(credentials.clone())
                    }
                    Some(_) | None => Err(error),
                }
            }
        }
    }

    /// [`Hole::NoSingleFlight`]: the slot is free while STS is asked.
    async fn obtain_alone(&self, slot: &Slot, ask: &Ask, now: Timestamp) -> Result<Credentials, IssueError> {
        let kept = slot.lock().await.as_ref().map(|kept| kept.credentials.clone());
        if let Some(credentials) = kept.filter(|credentials| is_fresh(credentials, now)) {
            return Ok(credentials);
        }
        let credentials = self.issuer.issue(ask).await?;
        *slot.lock().await = Some(Kept::new(credentials.clone(), now));
        Ok(credentials)
    }

    /// [`Hole::NegativeTtlForever`]: what is younger than the refresh time when it comes has a negative time to live, which means none.
    fn is_kept_for_ever(&self, kept: &Kept) -> bool {
        self.switches.open(Hole::NegativeTtlForever) && !is_fresh(&kept.credentials, kept.since)
    }
}

fn is_fresh(credentials: &Credentials, now: Timestamp) -> bool {
    credentials.expiration > now.checked_add(REFRESH_AHEAD).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex as StdMutex;

    use super::*;

    /// An STS that numbers its answers, takes one external id per role if told so, and fails on demand.
    #[derive(Debug, Default)]
    pub(crate) struct FakeSts {
        pub(crate) asked: StdMutex<Vec<Ask>>,
        pub(crate) fails: StdMutex<bool>,
        pub(crate) expiration: StdMutex<Timestamp>,
        pub(crate) external_id: Option<String>,
    }

    impl Issuer for Arc<FakeSts> {
        async fn issue(&self, ask: &Ask) -> Result<Credentials, IssueError> {
            self.asked.lock().unwrap().push(ask.clone());
            tokio::task::yield_now().await;
            let asked = self.asked.lock().unwrap();
            if *self.fails.lock().unwrap() {
                return Err(IssueError::Unavailable);
            }
            if self.external_id.is_some() && self.external_id != ask.external_id {
                return Err(IssueError::Denied);
            }
            Ok(Credentials {
                access_key_id: format!("ASIA{}", asked.len()),
                secret_access_key: Secret::new("secret".to_owned()),
                session_token: Secret::new(format!("{} {}", ask.role_arn, ask.session_name)),
                expiration: *self.expiration.lock().unwrap(),
            })
        }
    }

    fn ask(external_id: Option<&str>, session_name: &str) -> Ask {
        Ask {
            role_arn: "arn".to_owned(),
            external_id: external_id.map(str::to_owned),
            session_name: session_name.to_owned(),
            session: Session::default(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn set_up(hole: Option<Hole>, external_id: Option<&str>) -> (Arc<FakeSts>, Cache<Arc<FakeSts>>) {
        let sts = FakeSts {
            external_id: external_id.map(str::to_owned),
            expiration: StdMutex::new(at(3600)),
            ..FakeSts::default()
        };
        let sts = Arc::new(sts);
        (
            sts.clone(),
            Cache::new(
                sts,
                Switches {
                    hole,
                    default_role: None,
                },
            ),
        )
    }

    #[tokio::test]
    async fn good_credentials_are_asked_once_and_refreshed_ahead() {
        let (sts, cache) = set_up(None, None);
        for now in [0, 10, 2699] {
            cache.obtain(ask(None, "s"), move || at(now)).await.unwrap();
        }
        assert_eq!(sts.asked.lock().unwrap().len(), 1);
        cache.obtain(ask(None, "s"), move || at(2700)).await.unwrap();
        assert_eq!(sts.asked.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn another_external_id_or_session_shares_an_entry_only_by_arn() {
        for (hole, shared) in [(None, false), (Some(Hole::CacheByArn), true)] {
            let (_, cache) = set_up(hole, Some("right"));
            let first = cache.obtain(ask(Some("right"), "a"), move || at(0)).await.unwrap();
            let without_id = cache.obtain(ask(None, "a"), move || at(0)).await;
            let other_session = cache.obtain(ask(Some("right"), "b"), move || at(0)).await.unwrap();
            assert_eq!(without_id.is_ok(), shared, "{hole:?}");
            assert_eq!(first == other_session, shared, "{hole:?}");
            let narrowed = Session {
                policy: Some("{}".to_owned()),
                ..Session::default()
            };
            let narrowed = Ask {
                session: narrowed,
                ..ask(Some("right"), "a")
            };
            let narrowed = cache.obtain(narrowed, move || at(0)).await.unwrap();
            assert_eq!(first == narrowed, shared, "{hole:?}");
        }
    }

    #[tokio::test]
    async fn expired_credentials_outlive_sts_only_with_serve_expired() {
        for (hole, served) in [(None, false), (Some(Hole::ServeExpired), true)] {
            let (sts, cache) = set_up(hole, None);
            cache.obtain(ask(None, "s"), move || at(0)).await.unwrap();
            *sts.fails.lock().unwrap() = true;
            assert!(
                cache.obtain(ask(None, "s"), move || at(3599)).await.is_ok(),
                "still good: {hole:?}"
            );
            assert_eq!(
                cache.obtain(ask(None, "s"), move || at(3600)).await.is_ok(),
                served,
                "{hole:?}"
            );
        }
    }

    #[tokio::test]
    async fn short_sessions_are_kept_beyond_their_end_only_with_a_negative_ttl() {
        for (hole, asked) in [(None, 2), (Some(Hole::NegativeTtlForever), 1)] {
            let (sts, cache) = set_up(hole, None);
            *sts.expiration.lock().unwrap() = at(600);
            for now in [0, 601] {
                cache.obtain(ask(None, "s"), move || at(now)).await.unwrap();
            }
            assert_eq!(sts.asked.lock().unwrap().len(), asked, "{hole:?}");
        }
    }

    #[tokio::test]
    async fn one_callers_refusal_is_everyones_only_by_arn() {
        for (hole, given) in [(None, true), (Some(Hole::FailuresByArn), false)] {
            let (_, cache) = set_up(hole, Some("right"));
            assert!(cache.obtain(ask(Some("wrong"), "a"), move || at(0)).await.is_err());
            assert_eq!(
                cache.obtain(ask(Some("right"), "b"), move || at(0)).await.is_ok(),
                given,
                "{hole:?}"
            );
        }
    }

    #[tokio::test]
    async fn callers_at_once_ask_sts_once_unless_alone() {
        for (hole, asked) in [(None, 1), (Some(Hole::NoSingleFlight), 2)] {
            let (sts, cache) = set_up(hole, None);
            let ask = || cache.obtain(ask(None, "s"), move || at(0));
            let _ = tokio::join!(ask(), ask());
            assert_eq!(sts.asked.lock().unwrap().len(), asked, "{hole:?}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("x".to_owned())), "**redacted**");
    }
}
