//! Positive controls: before and after its attempts a scenario shows that the defence works at all. One that fails makes the scenario void.

use std::collections::BTreeSet;

use super::request::ENDPOINT;
use super::{Play, PlayError};
use crate::case::model::{Control, Defence};
use crate::cast::TWIN;
use crate::oracle::answer::classify;
use crate::report::Finding;
use crate::stage::Standing;
use crate::verdict::Verdict;

/// When a control runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

impl Play<'_> {
    /// What this defence must show.
    pub(super) fn control(&self) -> Control {
        let like = self.defence.like();
        let default = if like == Defence::Proxy || self.case.stated() == [Defence::Oidc] {
            Control::Sanctioned
        } else {
            Control::Reach
        };
        match &self.stage.standing {
            // What stands in a defence's place sanctions nothing; that the route works is all it can show.
            Standing::InPlaceOf(_, _) => Control::Reach,
            Standing::Defence(_) | Standing::Opened(_, _) | Standing::Weak(_) | Standing::Closed => self
                .case
                .control
                .get(&self.defence)
                .or_else(|| self.case.control.get(&like))
                .copied()
                .unwrap_or(default),
        }
    }

    pub(super) async fn control_before(&mut self) -> Result<(), PlayError> {
        self.run_controls(When::Before).await
    }

    pub(super) async fn control_after(&mut self) -> Result<(), PlayError> {
        self.run_controls(When::After).await
    }

    async fn run_controls(&mut self, when: When) -> Result<(), PlayError> {
        let mut shown = 0;
        for place in self.attempting_places() {
            // A job that starts later, or has been removed, shows nothing at this end.
            if self.line_at(&place).is_err() {
                continue;
            }
            let sanctioned = match (self.control(), when) {
                (Control::Sanctioned, _) | (Control::SanctionedBefore, When::Before) => true,
                (Control::Twin | Control::Reach, _) | (Control::SanctionedBefore, When::After) => false,
            };
            let disputed = self.case.is_disputed(&place, self.defence);
            if sanctioned && !disputed && !self.sanctioned_at(&place).is_empty() {
                self.show_sanctioned(&place, when).await?;
            } else {
                self.show_reach(&place, when).await?;
            }
            shown += 1;
        }
        if self.control() == Control::Twin {
            self.show_sanctioned(&format!("{TWIN}.build"), when).await?;
            shown += 1;
        }
        if shown == 0 && when == When::Before {
            return Err(PlayError::Control {
                why: "there is no container to run one in".to_owned(),
            });
        }
        Ok(())
    }

    /// Places of attempts, each once.
    fn attempting_places(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.case
            .steps
            .iter()
            .filter(|step| step.attempt.unwrap_or_else(|| step.action.is_attempt()))
            .filter(|step| step.applies(self.defence))
            .flat_map(|step| {
                if step.places.is_empty() {
                    std::slice::from_ref(&step.place)
                } else {
                    &step.places
                }
            })
            .filter(|place| seen.insert((*place).clone()))
            .cloned()
            .collect()
    }

    fn sanctioned_at(&self, place: &str) -> Vec<&str> {
        self.actors
            .job_and_kind(place)
            .map(|(job, kind)| self.cast.sanctioned(self.case, &job, &kind))
            .unwrap_or_default()
    }

    async fn show_sanctioned(&mut self, place: &str, when: When) -> Result<(), PlayError> {
        if self.defence.has_id_tokens() {
            return self.show_token(place, when).await;
        }
        let line = self.line_at(place)?;
        let view = self.view_at(place);
        let exchanges = self.flow(&line, place, ENDPOINT, 2, None).await?;
        let leak = exchanges
            .iter()
            .map(|exchange| classify(exchange, &self.stage.canaries, &view))
            .find(Verdict::is_leak);
        if let Some(leak) = leak {
            // Whatever else it shows: a sanctioned request that brings somebody else's secret is a leak, not a failed control.
            let what = format!("{when:?} the attempts, the sanctioned request in {place} got {leak}");
            self.played.findings.push(Finding {
                oracle: "control".to_owned(),
                verdict: leak,
                what,
            });
            return Ok(());
        }
        let verdict = exchanges.last().map_or(Verdict::Void, |exchange| {
            classify(exchange, &self.stage.canaries, &view)
        });
        let sanctioned = self.sanctioned_at(place);
        match &verdict {
            Verdict::Role(role) if sanctioned.contains(&role.as_str()) => Ok(()),
            _ => Err(PlayError::Control {
                why: format!(
                    "{when:?} the attempts, the sanctioned request in {place} got {verdict} instead of ROLE({})",
                    sanctioned.join("|")
                ),
            }),
        }
    }

    /// The job's own token gets it a role that the operator sanctions.
    async fn show_token(&mut self, place: &str, when: When) -> Result<(), PlayError> {
        let Some(token) = self.first_token(place) else {
            return self.show_reach(place, when).await;
        };
        let sanctioned: Vec<String> = self.sanctioned_at(place).into_iter().map(str::to_owned).collect();
        let Some(role) = sanctioned.first().and_then(|role| self.cast.roles.get(role)).cloned() else {
            return self.show_reach(place, when).await;
        };
        let verdict = self.present(place, &role, token).await?;
        match &verdict {
            Verdict::Role(role) if sanctioned.contains(role) => Ok(()),
            _ => Err(PlayError::Control {
                why: format!(
                    "{when:?} the attempts, the token of {place} got {verdict} instead of ROLE({})",
                    sanctioned.join("|")
                ),
            }),
        }
    }

    async fn show_reach(&self, place: &str, when: When) -> Result<(), PlayError> {
        let got = self.reach(place).await?;
        if got.verdict == Some(Verdict::Same) {
            return Ok(());
        }
        let why = got
            .exchanges
            .first()
            .map_or_else(String::new, |exchange| format!("{} {}", exchange.connect, exchange.end));
        Err(PlayError::Control {
            why: format!("{when:?} the attempts, {place} did not reach a neighbour of the endpoint: {why}"),
        })
    }
}
