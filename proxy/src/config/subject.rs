//! Whom a rule is for: containers of GitLab jobs, or containers that the operator starts himself. Knows no file and no container.

use std::collections::BTreeSet;
use std::fmt;

use super::{Host, Ref, RefPattern, Runner, SystemId, is_outside};

/// What begins the labels that GitLab Runner sets.
pub const RUNNER_PREFIX: &str = "com.gitlab.gitlab-runner.";

/// Whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Containers of GitLab jobs.
    Jobs(Jobs),
    /// Containers that the operator starts himself, and that no runner made.
    Marked(Marker),
}

impl Subject {
    /// Whether some container could be one of both, as far as the rules alone can tell.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Jobs(own), Self::Jobs(theirs)) => own.overlaps(theirs),
            // Whether a container carries two different labels is seen when it comes.
            (Self::Marked(own), Self::Marked(theirs)) => own == theirs,
            (Self::Jobs(_), Self::Marked(_)) | (Self::Marked(_), Self::Jobs(_)) => false,
        }
    }

    /// The jobs, if it is for jobs.
    #[must_use]
    pub const fn jobs(&self) -> Option<&Jobs> {
        match self {
            Self::Jobs(jobs) => Some(jobs),
            Self::Marked(_) => None,
        }
    }

    /// The label, if it is for containers of the operator.
    #[must_use]
    pub const fn marker(&self) -> Option<&Marker> {
        match self {
            Self::Jobs(_) => None,
            Self::Marked(marker) => Some(marker),
        }
    }
}

/// Jobs of one runner and one GitLab server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jobs {
    /// The runner that must have made the container.
    pub runner: Runner,
    /// Only these machines of the runner; empty: any.
    pub system_ids: BTreeSet<SystemId>,
    /// The GitLab server that must have sent the job.
    pub gitlab: Host,
    /// The projects, by id.
    pub projects: BTreeSet<u64>,
    /// The kinds of container.
    pub kinds: BTreeSet<Kind>,
    /// Only these refs; empty: any branch and tag. Narrows, and grants nothing.
    pub refs: BTreeSet<RefPattern>,
}

impl Jobs {
    fn overlaps(&self, other: &Self) -> bool {
        self.runner == other.runner
            && self.gitlab == other.gitlab
            && !self.projects.is_disjoint(&other.projects)
            && !self.kinds.is_disjoint(&other.kinds)
            && meet(&self.system_ids, &other.system_ids)
            && self.refs_meet(other)
    }

    fn refs_meet(&self, other: &Self) -> bool {
        match (self.refs.is_empty(), other.refs.is_empty()) {
            (true, true) => true,
            (true, false) => other.refs.iter().any(|pattern| !pattern.is_outside()),
            (false, true) => self.refs.iter().any(|pattern| !pattern.is_outside()),
            (false, false) => {
                let theirs = || other.refs.iter();
                self.refs.iter().any(|own| theirs().any(|pattern| own.meets(pattern)))
            }
        }
    }

    /// Whether these are jobs of that ref. Without refs of their own they are those of branches and tags, and no other.
    #[must_use]
    pub fn cover_ref(&self, reference: &Ref) -> bool {
        if self.refs.is_empty() {
            !is_outside(reference)
        } else {
            self.refs.iter().any(|pattern| pattern.covers(reference))
        }
    }
}

/// Whether two lists of which an empty one is everything have something in common.
pub(super) fn meet<T: Ord>(one: &BTreeSet<T>, other: &BTreeSet<T>) -> bool {
    one.is_empty() || other.is_empty() || !one.is_disjoint(other)
}

/// A label that the operator sets on his own containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Marker {
    key: String,
    value: String,
}

impl Marker {
    /// Reads `KEY=VALUE`.
    ///
    /// # Errors
    /// Unless both are something, and the key is none of GitLab Runner's.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
        let is_key = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
        if !(1..=256).contains(&key.len()) || !key.bytes().all(is_key) {
            return Err("a label's key is 1 to 256 letters, digits, _, -, . and /");
        }
        if key.starts_with(RUNNER_PREFIX) {
            return Err("labels of GitLab Runner are on containers of jobs");
        }
        if !(1..=256).contains(&value.len()) || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return Err("a label's value is 1 to 256 visible characters");
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// What a container is to its job: the runner's label `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The job's script.
    Build,
    /// Git, caches and artifacts. It runs the author's code too (`hooks:pre_get_sources_script`).
    Predefined,
    /// A service of the job.
    Service,
    /// Waits for a service's port.
    Wait,
    /// Sets permissions of a cache volume.
    CacheInit,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Build,
        Self::Predefined,
        Self::Service,
        Self::Wait,
        Self::CacheInit,
    ];

    /// The runner's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Predefined => "predefined",
            Self::Service => "service",
            Self::Wait => "wait",
            Self::CacheInit => "cache-init",
        }
    }

    /// Reads the runner's word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
