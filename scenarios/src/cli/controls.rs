//! `controls`: every scenario against the hole it exists for. A scenario that cannot turn red is a defect of the suite, and so is a hole that nothing catches.
//! With every hole closed the same scenario must hold: else it is red for another reason than its hole.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::args::RunArguments;
use super::{Exit, complain, open, say};
use crate::ambient::Ambient;
use crate::case::SWITCHES;
use crate::case::model::Case;
use crate::report::progress::Progress;
use crate::report::table::{Colour, cut};
use crate::report::{RunReport, ScenarioReport};
use crate::run::{Item, Pace, run as run_items};
use crate::select::{select, shard};
use crate::stage::Standing;
use crate::verdict::Judgement;

/// Each case with each hole it names and, where weak-proxy has that hole, with the hole closed.
pub(super) fn items<'a>(cases: &[&'a Case]) -> Vec<Item<'a>> {
    cases
        .iter()
        .flat_map(|case| {
            let holes = Standing::holes(case).into_iter();
            holes.map(move |standing| (*case, standing))
        })
        .collect()
}

pub(super) async fn run(options: &RunArguments, cases: &[Case], ambient: Ambient) -> Exit {
    let selected = select(cases, &options.filter);
    let (k, n) = options.shard;
    let chosen = shard(items(&selected), k, n);
    if chosen.is_empty() {
        complain("error: no scenario matches");
        return Exit::NothingMatched;
    }
    if let Err(exit) = super::may_keep(options, chosen.len()) {
        return exit;
    }
    let workshop = match open(ambient, &options.seed, options.keep).await {
        Ok(workshop) => workshop,
        Err(exit) => return exit,
    };
    let progress = Progress::new(chosen.len(), Colour::Plain, options.quiet);
    let pace = Pace::new(workshop.ambient.processors, options.jobs, true);
    let report = tokio::select! {
        report = run_items(&workshop, &chosen, pace, &progress) => report,
        () = super::interrupted() => {
            progress.end();
            complain("error: interrupted; nothing was judged");
            return Exit::Failed;
        }
    };
    let whole = options.filter.is_empty() && options.shard == (1, 1);
    let defects = defects(&report, whole);
    say(&render(&report, &defects));
    if let Some(directory) = &options.report
        && let Err(error) = report.write(directory)
    {
        complain(&format!(
            "error: the report cannot be written to {}: {error}",
            directory.display()
        ));
        return Exit::Failed;
    }
    super::close(workshop).await;
    if defects.is_empty() { Exit::Held } else { Exit::Failed }
}

/// What is wrong with the suite: scenarios that stayed green or learnt nothing and, where all were run, switches that nothing caught.
fn defects(report: &RunReport, whole: bool) -> Vec<String> {
    let mut defects: Vec<String> = report
        .scenarios
        .iter()
        .filter(|scenario| !is_as_wanted(scenario))
        .map(|scenario| {
            let wanted = if is_closed(scenario) { "hold" } else { "turn red" };
            let why = scenario
                .reasons()
                .into_iter()
                .next()
                .unwrap_or_else(|| format!("got {}", scenario.verdicts()));
            format!(
                "{} does not {wanted} against {}: {} ({})",
                scenario.id,
                scenario.defence,
                scenario.judgement.as_str(),
                cut(&why, 300)
            )
        })
        .collect();
    if whole {
        let caught = |switch: &str| {
            let label = Standing::Weak(switch.to_owned()).label();
            report
                .scenarios
                .iter()
                .any(|scenario| scenario.defence == label && scenario.judgement.is_red())
        };
        defects.extend(
            SWITCHES
                .iter()
                .filter(|switch| !caught(switch))
                .map(|switch| format!("no scenario catches weak-proxy --hole {switch}")),
        );
    }
    defects
}

fn is_closed(scenario: &ScenarioReport) -> bool {
    scenario.defence == Standing::Closed.label()
}

/// Red against a hole; holding where every hole is closed.
fn is_as_wanted(scenario: &ScenarioReport) -> bool {
    if is_closed(scenario) {
        scenario.judgement == Judgement::Holds
    } else {
        scenario.judgement.is_red()
    }
}

/// The matrix of hole × scenario.
fn render(report: &RunReport, defects: &[String]) -> String {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for scenario in &report.scenarios {
        let mark = if scenario.judgement.is_red() {
            "red"
        } else {
            scenario.judgement.as_str()
        };
        rows.entry(&scenario.defence)
            .or_default()
            .push(format!("{} {mark}", scenario.id));
    }
    let mut text = format!("{:<44} scenarios\n", "hole");
    for (hole, cells) in &rows {
        let mut line = format!("{:<44}", cut(hole, 43));
        for cell in cells {
            if line.chars().count() + cell.chars().count() + 2 > crate::report::table::WIDTH {
                let _ = writeln!(text, "{}", line.trim_end_matches([' ', ',']));
                line = " ".repeat(44);
            }
            let _ = write!(line, " {cell},");
        }
        let _ = writeln!(text, "{}", line.trim_end_matches([' ', ',']));
    }
    let _ = writeln!(
        text,
        "\n{} controls in {} rows in {:.0} s",
        report.scenarios.len(),
        rows.len(),
        report.seconds
    );
    if defects.is_empty() {
        text.push_str("every scenario turns red against its hole, and every hole is caught");
    } else {
        let _ = write!(text, "{}", defects.join("\n"));
    }
    text
}
