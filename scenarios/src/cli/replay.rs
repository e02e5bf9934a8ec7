//! `replay`: again, from a report: same seed, same order, and whether the same came out.

use std::path::{Path, PathBuf};

use super::args::RunArguments;
use super::{Exit, Subject, complain, external, perform_items, say};
use crate::ambient::Ambient;
use crate::case::model::{Case, Defence};
use crate::report::RunReport;
use crate::run::Item;
use crate::stage::Standing;

/// Reads a report; a directory stands for the `report.json` in it.
fn read(path: &Path) -> Result<RunReport, String> {
    let file: PathBuf = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_owned()
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "{}:{}: {error}; give a report.json of scenarios run",
            file.display(),
            error.line()
        )
    })
}

/// The items of a report, in its order; an id or a defence that this version does not know is told, not passed over.
fn items<'a>(report: &RunReport, ids: &[String], cases: &'a [Case]) -> Result<Vec<Item<'a>>, String> {
    let wanted = |id: &str| ids.is_empty() || ids.iter().any(|wanted| wanted.eq_ignore_ascii_case(id));
    report
        .scenarios
        .iter()
        .filter(|scenario| wanted(&scenario.id))
        .map(|scenario| {
            let case = cases.iter().find(|case| case.id == scenario.id);
            let case = case.ok_or_else(|| {
                format!(
                    "the report names scenario {}, which is not among the cases",
                    scenario.id
                )
            })?;
            let standing = Standing::parse(&scenario.defence).ok_or_else(|| {
                format!(
                    "the report names the defence {}, which this version does not know",
                    scenario.defence
                )
            })?;
            Ok((case, standing))
        })
        .collect()
}

/// What came out otherwise, a line each.
fn differences(before: &RunReport, after: &RunReport) -> Vec<String> {
    after
        .scenarios
        .iter()
        .filter_map(|now| {
            let then = before
                .scenarios
                .iter()
                .find(|then| then.id == now.id && then.defence == now.defence)?;
            let told = |scenario: &crate::report::ScenarioReport| {
                format!("{} ({})", scenario.verdicts(), scenario.judgement.as_str())
            };
            (told(then) != told(now))
                .then(|| format!("{} under {}: was {}, is {}", now.id, now.defence, told(then), told(now)))
        })
        .collect()
}

pub(super) async fn run(path: &Path, ids: &[String], cases: &[Case], ambient: Ambient) -> Exit {
    let before = match read(path) {
        Ok(report) => report,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::Usage;
        }
    };
    let items = match items(&before, ids, cases) {
        Ok(items) => items,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::Usage;
        }
    };
    if items.is_empty() {
        complain("error: the report holds no such scenario");
        return Exit::NothingMatched;
    }
    let is_external = |standing: &Standing| standing.own() == Defence::External;
    let proxy = before
        .proxy
        .clone()
        .filter(|_| items.iter().any(|(_, standing)| is_external(standing)));
    if proxy.is_none() && items.iter().any(|(_, standing)| is_external(standing)) {
        complain(
            "error: the report does not say which proxy was the defence external: run it with --proxy-command instead",
        );
        return Exit::Usage;
    }
    if let Some(Err(error)) = proxy.as_ref().map(|proxy| external::is_there(proxy, &ambient)) {
        complain(&format!("error: the report is about a proxy that is not here: {error}"));
        return Exit::Usage;
    }
    let subject = Subject {
        proxy,
        not_run: before.not_run.clone(),
    };
    let options = RunArguments::replaying(before.seed.clone(), before.matrix);
    perform_items(&items, &options, subject, ambient, |after, table| {
        say(&table);
        let differences = differences(&before, after);
        if differences.is_empty() {
            say("the same verdicts as in the report");
        } else {
            say(&format!("otherwise than in the report:\n{}", differences.join("\n")));
        }
    })
    .await
}
