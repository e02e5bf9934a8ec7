//! A case's scene without its steps: a person takes them one by one. What comes back is for eyes, so every secret is out of it.

use super::lines::Asked;
use super::steps::Got;
use super::{Play, PlayError};
use crate::case::model::{Case, Defence, Step};
use crate::probe::protocol::{CONNECT_MS, Env, Interfaces, Resolve};
use crate::report::Shown;
use crate::stage::Stage;
use crate::verdict::Verdict;

/// Where a session speaks from: the build container of its case's one job.
const PLACE: &str = "a.build";
/// Its case: one job whose role is sanctioned.
const CASE: &str = include_str!("session.toml");

/// What a person wants done in the container.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// What a case's step does.
    Step(Box<Step>),
    /// The environment of the job's process.
    Environment,
    /// Interfaces, addresses and gateways.
    Interfaces,
    /// What a name resolves to.
    Resolve(String),
    /// ip(8).
    Ip(Vec<String>),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Requests and answers.
    pub(crate) exchanges: Vec<Shown>,
    /// What they amount to for this container.
    pub(crate) verdict: Option<Verdict>,
    /// Anything else, as text.
    pub(crate) text: String,
}

/// A scene with one job container, until it is ended.
pub(crate) struct Session<'a>(Play<'a>);

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    /// The case that a stage for a session is built for.
    pub(crate) fn case() -> Result<Case, crate::case::Faults> {
        crate::case::read("session.toml", "use", "USE-00-a-persons-own-steps", CASE)
    }

    /// Starts the job.
    pub(crate) async fn begin(stage: &'a Stage, case: &'a Case, defence: Defence) -> Result<Self, PlayError> {
        let mut play = Play::new(stage, case, defence);
        // Nobody knows what a person expects.
        play.connect_ms = CONNECT_MS;
        match play.set_scene().await {
            Ok(()) => Ok(Self(play)),
            Err(error) => {
                play.clean_up().await;
                Err(error)
            }
        }
    }

    /// The container's name on the engine.
    pub(crate) fn container(&self) -> String {
        self.0
            .actors
            .member(PLACE)
            .map(|member| member.name.clone())
            .unwrap_or_default()
    }

    /// Does one thing in the container.
    pub(crate) async fn take(&mut self, turn: Turn) -> Result<Told, PlayError> {
        let redactor = &self.0.stage.redactor;
        match turn {
            Turn::Step(mut step) => {
                PLACE.clone_into(&mut step.place);
                let Got { verdict, exchanges, .. } = self.0.act_out(&step, None).await?;
                Ok(Told {
                    exchanges: exchanges.iter().map(|exchange| redactor.exchange(exchange)).collect(),
                    verdict,
                    text: String::new(),
                })
            }
            Turn::Environment => {
                let answer = self.must(Env {}).await?;
                let lines = answer
                    .env
                    .iter()
                    .map(|(name, value)| redactor.text(&format!("{name}={value}")));
                Ok(Told::text(lines.collect()))
            }
            Turn::Interfaces => {
                let answer = self.must(Interfaces {}).await?;
                let interfaces = answer.interfaces.iter().map(|interface| {
                    let mac = interface.mac.as_deref().unwrap_or("no link address");
                    format!("{}: {mac}, {}", interface.name, interface.addresses.join(", "))
                });
                let gateways = answer.gateways.iter().map(|gateway| format!("gateway {gateway}"));
                Ok(Told::text(interfaces.chain(gateways).collect()))
            }
            Turn::Resolve(name) => {
                let line = self.0.line_at(PLACE)?;
                match line.ask(self.0.stage, PLACE, Resolve { name }).await? {
                    Asked::Answer(answer) if answer.addresses.is_empty() => {
                        Ok(Told::text(vec!["no address".to_owned()]))
                    }
                    Asked::Answer(answer) => Ok(Told::text(answer.addresses)),
                    Asked::Failure(failure) => Ok(Told::text(vec![failure.to_string()])),
                }
            }
            Turn::Ip(args) => {
                let said = self.0.actors.run_ip(&self.0.stage.docker, PLACE, &args).await?;
                Ok(Told::text(vec![redactor.text(&said)]))
            }
        }
    }

    async fn must<A: crate::probe::protocol::Ask>(&self, ask: A) -> Result<A::Answer, PlayError> {
        self.0.line_at(PLACE)?.must(self.0.stage, PLACE, ask).await
    }

    /// Removes the job.
    pub(crate) async fn end(mut self) {
        self.0.clean_up().await;
    }
}

impl Told {
    fn text(lines: Vec<String>) -> Self {
        Self {
            text: lines.join("\n"),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sessions_case_is_a_sound_one_with_one_job() {
        let case = Session::case().unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(case.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(case.steps[0].place, PLACE);
    }
}
