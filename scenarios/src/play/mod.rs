//! Acts a case out on a stage: starts its jobs, takes its steps in order, runs its controls, and gathers what every container received.
//! It judges nothing itself: verdicts come from `oracle`, the judgement from `verdict`.

mod actors;
mod circumstances;
mod clients;
mod control;
mod federation;
mod lasting;
mod lines;
mod request;
mod rush;
mod scene;
mod session;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::case::model::{Case, Defence, Question};
use crate::cast::{Cast, HOST_ROLE, REGION, role_arn, world_role};
use crate::oracle::answer::{Exchange, View};
use crate::oracle::terms::Terms;
use crate::probe::protocol::Keys;
use crate::report::{Attempt, Finding};
use crate::stage::Stage;
use crate::verdict::Verdict;

pub(crate) use actors::Actors;
pub use actors::Watched;
pub(crate) use scene::literal_image;
pub(crate) use session::{Session, Told, Turn};

/// How long connecting may take, in milliseconds, where somebody must get through: on a loaded machine a first packet may be lost with the
/// question who its neighbour is, and is sent again a second later. Who may be blocked is waited for no longer than a client would.
const GET_THROUGH_MS: u64 = 10_000;

/// What acting a case out brought.
#[derive(Debug, Default)]
pub struct Played {
    /// Attempts in order.
    pub attempts: Vec<Attempt>,
    /// Failed controls and lab faults.
    pub findings: Vec<Finding>,
    /// Containers that took part: what they may see, and where their traffic was captured.
    pub watched: Vec<Watched>,
    /// Foreign canaries that attempts have reported already.
    pub leaked: BTreeSet<String>,
    /// Bodies of refusals, by status.
    pub denials: BTreeMap<u16, BTreeSet<Vec<u8>>>,
    /// The containers as the last step left them, where the stage keeps them.
    pub(crate) left: Actors,
    /// Seconds it took.
    pub seconds: f64,
}

/// Why a case could not be acted out to its end. The scenario is void then, with this as its reason.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The engine, a fake or a container did not do what was asked.
    #[error("{what}: {why}")]
    Lab {
        /// What was being done.
        what: String,
        /// What came back, whole chain.
        why: String,
    },
    /// The case names something that is not there (checked when it was read, so this is a defect of the runner).
    #[error(transparent)]
    Placeholder(#[from] crate::expand::UnknownPlaceholder),
    /// A control failed: nothing would be learnt from going on.
    #[error("control failed: {why}")]
    Control {
        /// Which, and what it got.
        why: String,
    },
}

impl PlayError {
    /// An error of the lab with its causes.
    pub(crate) fn lab(what: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::Lab {
            what: what.into(),
            why: with_causes(error),
        }
    }
}

/// An error and what caused it, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// What steps share while a case is played.
pub(crate) struct Play<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) case: &'a Case,
    pub(crate) cast: Cast,
    pub(crate) defence: Defence,
    pub(crate) actors: Actors,
    pub(crate) saved: BTreeMap<String, String>,
    pub(crate) expiry: BTreeMap<String, jiff::Timestamp>,
    /// ID tokens of the jobs that have started, by `job.VARIABLE`.
    pub(crate) tokens: BTreeMap<String, String>,
    /// Credentials that steps have saved.
    pub(crate) keys: BTreeMap<String, Keys>,
    /// How opening each named connection went.
    pub(crate) connections: BTreeMap<(String, String), String>,
    pub(crate) faults: Vec<(String, u64)>,
    /// How long connecting may take now, in milliseconds.
    pub(crate) connect_ms: u64,
    pub(crate) played: Played,
}

/// Plays a case. Whatever happens, its faults are lifted afterwards, and its containers and networks are gone unless the stage keeps them.
pub async fn play(stage: &Stage, case: &Case, defence: Defence) -> Played {
    let begun = Instant::now();
    let mut play = Play::new(stage, case, defence);
    if let Err(error) = play.act().await {
        let oracle = if matches!(error, PlayError::Control { .. }) {
            "control"
        } else {
            "lab"
        };
        play.played.findings.push(Finding {
            oracle: oracle.to_owned(),
            verdict: Verdict::Void,
            what: error.to_string(),
        });
    }
    play.clean_up().await;
    play.played.seconds = begun.elapsed().as_secs_f64();
    play.played
}

impl<'a> Play<'a> {
    /// Before anything of it is there.
    fn new(stage: &'a Stage, case: &'a Case, defence: Defence) -> Self {
        Self {
            stage,
            case,
            cast: Cast::new(case),
            defence,
            actors: Actors::default(),
            saved: BTreeMap::new(),
            expiry: BTreeMap::new(),
            tokens: BTreeMap::new(),
            keys: BTreeMap::new(),
            connections: BTreeMap::new(),
            faults: Vec::new(),
            connect_ms: GET_THROUGH_MS,
            played: Played::default(),
        }
    }
}

impl Play<'_> {
    async fn act(&mut self) -> Result<(), PlayError> {
        self.set_scene().await?;
        self.control_before().await?;
        for (index, step) in self.case.steps.iter().enumerate() {
            if !step.applies(self.defence) {
                continue;
            }
            let each: Vec<Option<&String>> = if step.each.is_empty() {
                vec![None]
            } else {
                step.each.iter().map(Some).collect()
            };
            for value in each {
                let value = value.map(|value| self.expand(value, None)).transpose()?;
                self.take(index + 1, step, value.as_deref()).await?;
            }
        }
        self.control_after().await
    }

    async fn clean_up(&mut self) {
        for (service, id) in std::mem::take(&mut self.faults) {
            let control = self.stage.fake(&service);
            if let Err(error) = control.lift(id).await {
                self.played.findings.push(Finding {
                    oracle: "lab".to_owned(),
                    verdict: Verdict::Void,
                    what: error.to_string(),
                });
            }
        }
        self.played.watched.extend(self.actors.watched());
        if self.stage.keeps {
            self.played.left = std::mem::take(&mut self.actors);
            return;
        }
        if let Err(error) = self.actors.clean_up(&self.stage.docker).await {
            self.played.findings.push(Finding {
                oracle: "lab".to_owned(),
                verdict: Verdict::Void,
                what: error.to_string(),
            });
        }
    }

    /// What a container of this job and kind may see.
    pub(crate) fn view(&self, job: &str, kind: &str) -> View {
        let mut sanctioned = self.cast.sanctioned(self.case, job, kind);
        if !self.case.puts(Question::InheritedRole, self.defence) {
            sanctioned.extend(self.cast.sanctioned(self.case, job, "build"));
        }
        // Where jobs are meant to talk to the endpoint, its session tokens are theirs; under `none` they are part of what leaks.
        let has_token = self.defence.serves_jobs() || !self.case.puts(Question::ForwardedToken, self.defence);
        let token = has_token.then(|| "host-token".to_owned());
        View {
            own: sanctioned
                .iter()
                .map(|role| format!("role:{}", world_role(&self.case.id, role)))
                .chain(token)
                .collect(),
            roles: self
                .cast
                .roles
                .iter()
                .map(|(name, arn)| (arn.clone(), name.clone()))
                .collect(),
            terms: self
                .cast
                .rules(self.case, job, kind)
                .flat_map(|rule| {
                    let roles = rule.role.iter().chain(&rule.selectable);
                    roles.map(|role| (role_arn(&world_role(&self.case.id, role)), Terms::of(rule)))
                })
                .collect(),
            holder: self
                .cast
                .jobs
                .get(job)
                .map(|(_, id)| id.to_string())
                .unwrap_or_default(),
            others: (!self.case.puts(Question::SessionName, self.defence)).then(|| self.job_ids_but(job)),
            plain: sanctioned
                .iter()
                .map(|role| world_role(&self.case.id, role))
                // The region is the same for everybody.
                .chain([REGION.to_owned()])
                .collect(),
            host_role: HOST_ROLE.to_owned(),
            direct: self.defence.serves_jobs(),
        }
    }

    /// The ids of all jobs but this one.
    fn job_ids_but(&self, job: &str) -> BTreeSet<String> {
        let others = self.cast.jobs.iter().filter(|(name, _)| *name != job);
        others.map(|(_, (_, id))| id.to_string()).collect()
    }

    /// Records an attempt and what it shows beyond its own verdict.
    pub(crate) fn record(&mut self, attempt: Attempt, exchanges: &[Exchange], view: &View) {
        for exchange in exchanges {
            self.played.leaked.extend(
                self.stage
                    .canaries
                    .find(&exchange.received)
                    .into_iter()
                    .filter(|name| !view.own.contains(name)),
            );
            for answer in crate::oracle::answer::Answer::parse_all(&exchange.received) {
                if (400..600).contains(&answer.status) && !exchange.request.starts_with("HEAD") {
                    self.played
                        .denials
                        .entry(answer.status)
                        .or_default()
                        .insert(answer.body);
                }
            }
        }
        self.played.attempts.push(attempt);
    }

    /// Puts values into a text of the case.
    pub(crate) fn expand(&self, text: &str, each: Option<&str>) -> Result<String, PlayError> {
        let looked_up = |name: &str| -> Option<String> {
            match name.split_once('.') {
                _ if name == "each" => each.map(str::to_owned),
                _ if name == "dollar" => Some("$".to_owned()),
                _ if let Some(argument) = name.strip_prefix("repeat:") => crate::expand::repeat(argument),
                _ if name == "sts" => Some(crate::stage::STS_URL.to_owned()),
                _ if name == "proxy.port" => Some(crate::stage::PROXY_PORT.to_string()),
                _ if let Some(offset) = name.strip_prefix("now") => self.moment(offset),
                Some(("token", token)) => self.tokens.get(token).cloned(),
                Some(("network", network)) => Some(actors::network_name(&self.case.id, network)),
                Some(("saved", saved)) => self.saved.get(saved).cloned(),
                _ => self.cast.known(self.case, name).or_else(|| self.actors.known(name)),
            }
        };
        Ok(crate::expand::expand(text, looked_up)?)
    }
}
