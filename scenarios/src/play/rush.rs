//! Several containers at the same time: each goes through the client's whole flow again and again while the others do, and nobody may get another's answer.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;

use super::request::ENDPOINT;
use super::steps::Got;
use super::{Play, PlayError};
use crate::case::model::Step;
use crate::oracle::answer::Exchange;
use crate::verdict::Verdict;

impl Play<'_> {
    /// What each place got: one verdict if all its answers agree, the leak if one of them is, and else all of them.
    pub(super) async fn rush(&self, step: &Step) -> Result<Vec<(String, Got)>, PlayError> {
        let version = step.version.unwrap_or(2);
        let times = step.times.unwrap_or(1);
        let rushes = step.places.iter().map(|place| async move {
            let line = self.line_at(place)?;
            let view = self.view_at(place);
            let mut verdicts = BTreeSet::new();
            let mut kept: Option<Vec<Exchange>> = None;
            for _ in 0..times {
                let exchanges = self.flow(&line, place, ENDPOINT, version, None).await?;
                let verdict = self.last_or_leak(&exchanges, &view);
                // The evidence is of the first leak, or of the first answer that differs.
                if kept.is_none() || (!verdicts.contains(&verdict) && !verdicts.iter().any(Verdict::is_leak)) {
                    kept = Some(exchanges);
                }
                verdicts.insert(verdict);
            }
            Ok::<_, PlayError>((
                place.clone(),
                Got {
                    verdict: Some(together(verdicts)),
                    exchanges: kept.unwrap_or_default(),
                    what: format!(
                        "IMDSv{version} flow, {times} times, {} containers at once",
                        step.places.len()
                    ),
                },
            ))
        });
        try_join_all(rushes).await
    }
}

fn together(verdicts: BTreeSet<Verdict>) -> Verdict {
    if let Some(leak) = verdicts.iter().find(|verdict| verdict.is_leak()) {
        return leak.clone();
    }
    let mut all = verdicts.iter();
    match (all.next(), all.next()) {
        (None, _) => Verdict::Void,
        (Some(only), None) => only.clone(),
        (Some(_), Some(_)) => {
            let words: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
            Verdict::Other(words.join(" and "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> String {
        together(words.iter().map(|word| word.parse().unwrap()).collect()).to_string()
    }

    #[test]
    fn one_leak_among_many_answers_is_the_verdict() {
        assert_eq!(told(&["ROLE(own)"]), "ROLE(own)");
        assert_eq!(told(&["ROLE(own)", "LEAK(host-role)", "DENY"]), "LEAK(host-role)");
        assert_eq!(told(&["ROLE(own)", "UNAVAILABLE"]), "OTHER(UNAVAILABLE and ROLE(own))");
        assert_eq!(told(&[]), "VOID");
    }
}
