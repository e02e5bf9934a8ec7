//! What an audit found: what was sanctioned, what is open, and the file that programs read. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::judge::{Got, Outcome};
use super::name::RoleName;
use super::perform::Audit;
use super::way::Way;
use crate::verdict::Verdict;

/// Which credentials this job is to get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The role; none where nothing was said, or `none`.
    role: Option<String>,
    /// Ways that are meant to be open, by name.
    allowed: Vec<String>,
}

/// A word of the command line that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misunderstood {
    /// The way is none.
    #[error("there is no way `{0}` to allow: the first column of the table names them")]
    Way(String),
    /// The role is none.
    #[error("`{0}` is neither the name nor the ARN of a role, nor `none`")]
    Role(String),
}

impl Expected {
    /// With the words of the command line: a role is given by its name or its ARN.
    ///
    /// # Errors
    /// The word that is no role, or the name of no way.
    pub fn of(role: Option<&str>, allowed: &[String]) -> Result<Self, Misunderstood> {
        let known = super::plan::every_way();
        if let Some(unknown) = allowed.iter().find(|name| !known.iter().any(|way| way.name == **name)) {
            return Err(Misunderstood::Way(unknown.clone()));
        }
        let role = match role.filter(|role| *role != "none") {
            None => None,
            Some(word) => {
                let name = RoleName::of_arn(word).or_else(|| RoleName::read(word));
                Some(name.ok_or_else(|| Misunderstood::Role(word.to_owned()))?)
            }
        };
        Ok(Self {
            role: role.map(|role| role.raw().to_owned()),
            allowed: allowed.to_vec(),
        })
    }

    /// The role's name.
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }
}

/// What a way is, given what is sanctioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It leads to something that nobody sanctioned.
    Open,
    /// It leads to the sanctioned role, or is meant to be open.
    Sanctioned,
    /// It leads nowhere, or to nothing that the plain request does not lead to.
    Closed,
    /// Not a way by itself, and worth knowing.
    Notice,
    /// An answer that fits nothing known, or none in time.
    Unknown,
}

impl State {
    /// The word for tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Sanctioned => "sanctioned",
            Self::Closed => "closed",
            Self::Notice => "notice",
            Self::Unknown => "unknown",
        }
    }
}

/// One way and what it brought. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The way's name.
    pub way: String,
    /// Which attacks of the lab's scenarios it belongs to.
    pub catalogue: String,
    /// What was tried.
    pub tried: String,
    /// What it got; absent where nobody was asked.
    pub verdict: Option<Verdict>,
    /// What that is.
    pub state: State,
    /// A few words more.
    pub note: String,
    /// What it means where it is open.
    pub means: String,
    /// What closes it.
    pub closes: String,
    /// The last four characters of the access key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ends_with: Option<String>,
    /// Whether the credentials look as if they could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable: Option<bool>,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this format.
    pub schema: u32,
    /// When it began, RFC 3339.
    pub at: String,
    /// `CI_JOB_ID`, where it is a number.
    pub job: Option<String>,
    /// The sanctioned role, or none.
    pub expected: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// How many ways are open that nobody sanctioned.
    pub open: usize,
    /// How many answers fit nothing known, or did not come in time.
    pub unknown: usize,
    /// Every way that was tried.
    pub ways: Vec<Finding>,
}

/// The version of the format.
const SCHEMA: u32 = 1;

impl Report {
    pub(super) fn of(audit: &Audit<'_>, outcomes: Vec<(Way, Outcome)>, took: Duration) -> Self {
        let ways: Vec<Finding> = outcomes
            .into_iter()
            .map(|(way, outcome)| settle(way, outcome, &audit.expected))
            .collect();
        let count = |state| ways.iter().filter(|way| way.state == state).count();
        Self {
            schema: SCHEMA,
            at: audit.now.to_string(),
            job: audit.around.job_number().map(str::to_owned),
            expected: audit.expected.role.clone(),
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            open: count(State::Open),
            unknown: count(State::Unknown),
            ways,
        }
    }

    /// Whether something is open that nobody sanctioned, or a way could not be tried in time: nothing was learnt of it then.
    pub fn fails(&self) -> bool {
        self.open > 0 || self.ways.iter().any(|way| way.verdict == Some(Verdict::Void))
    }

    /// For programs.
    ///
    /// # Errors
    /// What the JSON writer says.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

/// Weighs an outcome by what is sanctioned.
fn settle(way: Way, outcome: Outcome, expected: &Expected) -> Finding {
    let is_expected = outcome.role().is_some_and(|role| Some(role.raw()) == expected.role());
    let shown = match (&outcome.got, expected.role()) {
        // The operator's own word may be shown as it is.
        (Got::Role(_) | Got::Named(_), Some(role)) if is_expected => role.to_owned(),
        (Got::Role(role) | Got::Named(role), _) => role.shown(),
        (Got::Nothing | Got::Word(_), _) => String::new(),
    };
    let (verdict, state) = match outcome.got {
        Got::Nothing if outcome.is_notice => (None, State::Notice),
        Got::Nothing => (None, State::Closed),
        Got::Role(_) if is_expected => (Some(Verdict::Role(shown)), State::Sanctioned),
        Got::Role(_) => (Some(Verdict::Role(shown)), State::Open),
        Got::Named(_) if is_expected => (Some(Verdict::Same), State::Closed),
        Got::Named(_) => (Some(Verdict::Leak(format!("role-name:{shown}"))), State::Open),
        Got::Word(verdict) => {
            let state = state_of(&verdict);
            (Some(verdict), state)
        }
    };
    let is_allowed = state == State::Open && expected.allowed.iter().any(|name| name == way.name);
    Finding {
        way: way.name.to_owned(),
        catalogue: way.catalogue.to_owned(),
        tried: way.tried.to_owned(),
        verdict,
        state: if is_allowed { State::Sanctioned } else { state },
        note: outcome.note,
        means: way.means.to_owned(),
        closes: way.closes.to_owned(),
        key_ends_with: outcome.key_ends_with,
        usable: outcome.usable,
    }
}

const fn state_of(verdict: &Verdict) -> State {
    match verdict {
        Verdict::Leak(_) | Verdict::Role(_) => State::Open,
        Verdict::Blocked
        | Verdict::Silent
        | Verdict::Deny
        | Verdict::Unavailable
        | Verdict::Same
        | Verdict::Unusable => State::Closed,
        Verdict::Void | Verdict::Other(_) => State::Unknown,
    }
}
