//! What tests share: a sanctioned container, a scripted STS, an attestor that obeys, a clock that follows paused time.

pub(crate) mod engine;
pub(crate) mod gitlab;
mod labels;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::caller::{Attestor, Connection, Facts, Run, Unattested};
use crate::config::{Config, Environment};
use crate::credentials::{AssumeRole, Assumed, CacheEvent, Failure, Key, Observe, Secret};
use crate::instance::{Fetching, Leaf, Unreadable, Upstream};

pub(crate) const HEADER: &str = r#"
[listen]
port = 0
[aws]
account = "123456789012"
region = "eu-central-1"
"#;

pub(crate) const RULE: &str = r#"
[[rule]]
name = "deploy"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 20
role = "deploy"
selectable = ["/team/deploy", "deploy-eu"]
"#;

pub(crate) fn config(rules: &str) -> Config {
    Config::read("test.toml", &format!("{HEADER}{rules}"), &Environment::default()).unwrap()
}

pub(crate) fn labels() -> BTreeMap<String, String> {
    labels::labels().into()
}

pub(crate) fn label(facts: &mut Facts, key: &str, value: &str) {
    facts
        .labels
        .insert(format!("com.gitlab.gitlab-runner.{key}"), value.to_owned());
}

pub(crate) fn facts() -> Facts {
    Facts {
        run: Run {
            container_id: "a".repeat(64),
            // A minute before the clock of the tests begins.
            started_at: "2027-01-15T07:59:00.5Z".to_owned(),
            cgroup_id: 4242,
        },
        labels: labels(),
        env: vec!["CI_JOB_ID=302".to_owned(), "PATH=/bin".to_owned()],
        image_env: vec!["PATH=/bin".to_owned()],
        image_labels: BTreeMap::new(),
        image_id: format!("sha256:{}", "1".repeat(64)),
        repo_digests: vec![format!("registry.example.com/ruby@sha256:{}", "2".repeat(64))],
    }
}

/// A wall clock that moves with the runtime's paused time.
#[derive(Debug)]
pub(crate) struct PausedClock(Instant);

impl PausedClock {
    pub(crate) fn start() -> SharedTimeSource {
        SharedTimeSource::new(Self(Instant::now()))
    }

    pub(crate) fn epoch() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }
}

impl TimeSource for PausedClock {
    fn now(&self) -> SystemTime {
        Self::epoch() + self.0.elapsed()
    }
}

/// An STS that answers what it is told, and counts.
#[derive(Debug)]
pub(crate) struct ScriptedSts {
    pub(crate) calls: AtomicUsize,
    pub(crate) failure: Mutex<Option<Failure>>,
    pub(crate) lifetime: Mutex<Duration>,
    pub(crate) delay: Mutex<Duration>,
    pub(crate) panics: AtomicBool,
    pub(crate) other_role: AtomicBool,
    clock: SharedTimeSource,
}

impl ScriptedSts {
    pub(crate) fn new(clock: SharedTimeSource) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            failure: Mutex::default(),
            lifetime: Mutex::new(Duration::from_hours(1)),
            delay: Mutex::new(Duration::from_millis(100)),
            panics: AtomicBool::default(),
            other_role: AtomicBool::default(),
            clock,
        })
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn fail(&self, failure: Option<Failure>) {
        *self.failure.lock().unwrap() = failure;
    }
}

impl AssumeRole for Arc<ScriptedSts> {
    async fn assume_role(&self, key: &Key) -> Result<Assumed, Failure> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        assert!(!self.panics.load(Ordering::SeqCst), "scripted");
        let failure = *self.failure.lock().unwrap();
        if let Some(failure) = failure {
            return Err(failure);
        }
        let name = if self.other_role.load(Ordering::SeqCst) {
            "admin"
        } else {
            key.role.name()
        };
        Ok(Assumed {
            assumed_role_arn: format!("arn:aws:sts::123456789012:assumed-role/{name}/{}", key.session_name),
            source_identity: key.source_identity.clone(),
            access_key_id: format!("ASIA{call}"),
            secret_access_key: Secret::new(format!("secret{call}of{name}")),
            session_token: Secret::new(format!("IQoJ{call}")),
            expires: self.clock.now() + *self.lifetime.lock().unwrap(),
        })
    }
}

/// An instance that says of every value what it is told, and remembers what it was asked.
#[derive(Debug)]
pub(crate) struct ScriptedInstance {
    pub(crate) asked: Mutex<Vec<Leaf>>,
    pub(crate) answer: Mutex<Result<String, Unreadable>>,
    pub(crate) delay: Mutex<Duration>,
}

impl ScriptedInstance {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: Mutex::default(),
            answer: Mutex::new(Ok("value".to_owned())),
            delay: Mutex::new(Duration::from_millis(5)),
        })
    }
}

impl Upstream for Arc<ScriptedInstance> {
    fn fetch(&self, leaf: Leaf) -> Fetching<'_> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(leaf);
            let delay = *self.delay.lock().unwrap();
            tokio::time::sleep(delay).await;
            self.answer.lock().unwrap().clone()
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<CacheEvent>>);

impl Observe for Events {
    fn observe(&self, event: CacheEvent) {
        self.0.lock().unwrap().push(event);
    }
}

/// An attestor that obeys its test.
#[derive(Debug, Default)]
pub(crate) struct FakeAttestor {
    pub(crate) unattested: Mutex<Option<Unattested>>,
    pub(crate) facts: Mutex<Option<Arc<Facts>>>,
    /// How many confirmations still succeed; absent: all.
    pub(crate) confirmations: Mutex<Option<usize>>,
    pub(crate) ended: Notify,
}

impl Attestor for Arc<FakeAttestor> {
    type Pin = ();

    async fn attest(&self, _connection: &Connection) -> Result<(Arc<Facts>, ()), Unattested> {
        let unattested = *self.unattested.lock().unwrap();
        match unattested {
            Some(unattested) => Err(unattested),
            None => Ok((self.facts.lock().unwrap().clone().ok_or(Unattested::NotRunning)?, ())),
        }
    }

    fn confirm(&self, _pin: &()) -> Result<(), Unattested> {
        let mut confirmations = self.confirmations.lock().unwrap();
        match &mut *confirmations {
            None => Ok(()),
            Some(0) => Err(Unattested::AnotherSocket),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    async fn ended(&self, _pin: &()) {
        self.ended.notified().await;
    }
}
