//! Whether a job is what its labels say, asked of its GitLab server with the job's own token (`GET /api/v4/job`). The labels are what the runner
//! was told when the job began; the server knows whether it still runs, and what its ref is.
//!
//! Knows no connection and no rule but what one wants to hear (`Verification`). Job and author are hostile: the token is whatever the author
//! wrote into the job's variables, so that nothing is believed but an answer in which the server names the very job of the labels.

mod answer;
mod client;
mod files;
mod token;
mod verdicts;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

pub use answer::{read as read_answer, read_protection};
pub use client::{NoClient, Servers};
pub use files::examine;
pub use token::find as find_token;
pub use verdicts::{Verdict, Verdicts};

use crate::caller::Facts;
use crate::config::Verification;
use crate::credentials::Secret;
use crate::policy::{Edition, Job};

/// Why a job gets nothing although a rule is for it. `as_str` is the metric label and the audit reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unverified {
    /// The container's environment has no `CI_JOB_TOKEN`.
    TokenMissing,
    /// It has more than one.
    TokenAmbiguous,
    /// It is nothing that GitLab makes.
    TokenMalformed,
    /// GitLab refuses the token: it is of no job that runs.
    TokenRefused,
    /// GitLab names another job than the labels do: in this.
    Differs(&'static str),
    /// GitLab does not say this.
    Untold(&'static str),
    /// The job does not run: it is being cancelled, for instance.
    NotRunning,
    /// The ref is of another type than the rule wants.
    OtherRefType,
    /// The ref is not protected.
    NotProtected,
    /// The rule that wants it is not in force any more.
    Withdrawn,
    /// GitLab cannot be reached.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// GitLab failed (5xx), or its answer cannot be read.
    Broken,
    /// GitLab sends elsewhere. No token goes there.
    Redirected,
    /// GitLab asks to come less often.
    Throttled,
    /// GitLab refuses the token of `token_file`.
    ReaderRefused,
    /// `token_file` holds none.
    ReaderUnreadable,
    /// GitLab is asked as often as it may be.
    Limited,
    /// Too many containers are asked about.
    Full,
}

impl Unverified {
    /// A short fixed word for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenMissing => "job-token-missing",
            Self::TokenAmbiguous => "job-token-ambiguous",
            Self::TokenMalformed => "job-token-malformed",
            Self::TokenRefused => "job-token-refused",
            Self::Differs(_) => "job-not-verified",
            Self::Untold(_) => "job-untold",
            Self::NotRunning => "job-not-running",
            Self::OtherRefType => "job-ref-type",
            Self::NotProtected => "job-ref-not-protected",
            Self::Withdrawn => "rule-withdrawn",
            Self::Unreachable => "gitlab-unreachable",
            Self::TimedOut => "gitlab-timed-out",
            Self::Broken => "gitlab-broken",
            Self::Redirected => "gitlab-redirected",
            Self::Throttled => "gitlab-throttled",
            Self::ReaderRefused => "gitlab-token-file-refused",
            Self::ReaderUnreadable => "gitlab-token-file-unreadable",
            Self::Limited => "gitlab-limited",
            Self::Full => "gitlab-full",
        }
    }

    /// Whether that is the answer, rather than the want of one: then nothing better can be expected soon.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::TokenMissing
            | Self::TokenAmbiguous
            | Self::TokenMalformed
            | Self::TokenRefused
            | Self::Differs(_)
            | Self::Untold(_)
            | Self::NotRunning
            | Self::OtherRefType
            | Self::NotProtected
            | Self::Withdrawn => true,
            Self::Unreachable
            | Self::TimedOut
            | Self::Broken
            | Self::Redirected
            | Self::Throttled
            | Self::ReaderRefused
            | Self::ReaderUnreadable
            | Self::Limited
            | Self::Full => false,
        }
    }
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenMissing => {
                "the container's environment has no CI_JOB_TOKEN, which the runner gives to build and predefined containers, but to none whose \
                 job runs as native steps"
            }
            Self::TokenAmbiguous => "CI_JOB_TOKEN stands in the container's environment more than once: the job's author adds variables of that name",
            Self::TokenMalformed => "CI_JOB_TOKEN is nothing that GitLab makes",
            Self::TokenRefused => "GitLab refuses the job's token: the job has ended, or the token is none of a job",
            Self::Differs(part) => return write!(f, "GitLab names another {part} for the job's token than the labels do"),
            Self::Untold(part) => return write!(f, "GitLab's answer does not say the {part}, so that nothing can be concluded from it"),
            Self::NotRunning => "GitLab says that the job does not run: it has ended, or is being cancelled",
            Self::OtherRefType => "GitLab says that the job's ref is of another type than the rule's ref_type",
            Self::NotProtected => {
                "GitLab does not say that the job's ref is protected: it is not, it is gone, or the token of token_file may not see the project"
            }
            Self::Withdrawn => "the rule that has GitLab asked is not in force any more",
            Self::Unreachable => "GitLab cannot be reached, or does not prove who it is",
            Self::TimedOut => "GitLab did not answer in time",
            Self::Broken => "GitLab failed, or its answer cannot be read",
            Self::Redirected => "GitLab sends the question elsewhere, where no token goes: write its own address as the url of its [[gitlab]]",
            Self::Throttled => "GitLab asks to come less often",
            Self::ReaderRefused => "GitLab refuses the token of token_file: it needs the scope read_api, and has to be renewed before it expires",
            Self::ReaderUnreadable => "token_file cannot be read, or holds no token",
            Self::Limited => "GitLab is asked as often as calls_per_second lets it",
            Self::Full => "GitLab is asked about too many containers already",
        })
    }
}

/// What GitLab is asked about one container.
#[derive(Debug)]
pub struct Question {
    /// The rule that wants it, as it was read.
    pub edition: Edition,
    /// What the labels say.
    pub job: Job,
    /// What has to be true beside that.
    pub wanted: Verification,
    /// The job's token, or what its author gave out as such.
    pub token: Secret,
}

impl Question {
    /// The question for a container that a rule wants confirmed.
    ///
    /// # Errors
    /// There is nothing to ask with.
    pub fn new(facts: &Facts, job: &Job, edition: Edition, wanted: &Verification) -> Result<Self, Unverified> {
        let token = find_token(&facts.env)?;
        Ok(Self {
            edition,
            job: job.clone(),
            wanted: wanted.clone(),
            token: Secret::new(token.to_owned()),
        })
    }
}

/// An answer on its way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Whoever asks GitLab. The production implementation is [`Servers`]; tests script their own.
pub trait Ask: Send + Sync + 'static {
    /// Asks, for as long as that takes: [`Verdicts`] bounds it.
    fn ask<'a>(&'a self, question: &'a Question) -> Asking<'a>;
}

/// Whoever counts what came of questions.
pub trait Count: Send + Sync + 'static {
    /// One question, and how long it took; None if it was not asked.
    fn count(&self, verdict: Verdict, took: Option<Duration>);
}
