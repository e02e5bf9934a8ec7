//! What the proxy knows of the instance it runs on: harmless values, asked for once and kept, since they never change while an instance
//! runs. Knows no container; what a container may read is for policy to say.

mod imds;
mod leaf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub(crate) use imds::connect;
pub use imds::{Imds, NoEndpoint};
pub use leaf::Leaf;

/// How long one question may take. The service answers in milliseconds.
const FETCH: Duration = Duration::from_millis(1500);
/// How long a caller waits, others' questions included. SDKs give up after a second or two.
const WAIT: Duration = Duration::from_secs(2);
/// How long a failure is remembered: jobs must not make the proxy ask a service that fails at their own pace.
const PAUSE: Duration = Duration::from_secs(2);

/// Why a value cannot be read. `as_str` is the metric label and the audit reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Error)]
#[error("{}", self.as_str())]
pub enum Unreadable {
    /// The service refuses, fails or cannot be reached.
    Failed,
    /// No answer in time.
    TimedOut,
    /// The answer is nothing that such a value can be.
    Odd,
}

impl Unreadable {
    /// A short fixed word for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "instance-unreadable",
            Self::TimedOut => "instance-timed-out",
            Self::Odd => "instance-odd-value",
        }
    }
}

/// A value on its way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<String, Unreadable>> + Send + 'a>>;

/// Whoever knows the instance's values. The production implementation is [`Imds`]; tests script their own.
pub trait Upstream: Send + Sync + 'static {
    /// Asks for a value, at the leaf's own path: nothing of a container's request comes along.
    fn fetch(&self, leaf: Leaf) -> Fetching<'_>;
}

/// The instance's values.
pub struct Instance {
    upstream: Box<dyn Upstream>,
    slots: BTreeMap<Leaf, Slot>,
}

#[derive(Default)]
struct Slot {
    value: OnceLock<String>,
    /// Held by whoever asks; until when a failure is remembered, and which.
    asking: Mutex<Option<(Unreadable, Instant)>>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl Instance {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(upstream: impl Upstream) -> Self {
        Self {
            upstream: Box::new(upstream),
            slots: Leaf::ALL.into_iter().map(|leaf| (leaf, Slot::default())).collect(),
        }
    }

    /// A value that is known already.
    #[must_use]
    pub fn known(&self, leaf: Leaf) -> Option<&str> {
        self.slots.get(&leaf)?.value.get().map(String::as_str)
    }

    /// A value, asked for unless it is known. However many wait, one question is under way.
    ///
    /// # Errors
    /// When the service does not tell it in time, or tells something else.
    pub async fn read(&self, leaf: Leaf) -> Result<&str, Unreadable> {
        let Some(slot) = self.slots.get(&leaf) else {
            return Err(Unreadable::Failed);
        };
        timeout(WAIT, self.ask(slot, leaf))
            .await
            .unwrap_or(Err(Unreadable::TimedOut))
    }

    async fn ask<'s>(&'s self, slot: &'s Slot, leaf: Leaf) -> Result<&'s str, Unreadable> {
        let mut failed = slot.asking.lock().await;
        if let Some(value) = slot.value.get() {
            return Ok(value);
        }
        if let Some((why, until)) = *failed
            && until > Instant::now()
        {
            return Err(why);
        }
        let answer = timeout(FETCH, self.upstream.fetch(leaf)).await;
        match answer.unwrap_or(Err(Unreadable::TimedOut)) {
            Ok(value) if Leaf::admits(&value) => Ok(slot.value.get_or_init(|| value)),
            Ok(_) => Err(remember(&mut failed, leaf, Unreadable::Odd)),
            Err(why) => Err(remember(&mut failed, leaf, why)),
        }
    }
}

fn remember(failed: &mut Option<(Unreadable, Instant)>, leaf: Leaf, why: Unreadable) -> Unreadable {
    tracing::warn!(%leaf, %why, "the instance's metadata cannot be read");
    *failed = Some((why, Instant::now() + PAUSE));
    why
}
