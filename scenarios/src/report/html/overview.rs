//! The table at the top of a page about several defences: a line for each scenario, a column for each defence, each cell a link to its evidence.

use std::fmt::Write as _;

use super::{Escaped, anchor, class};
use crate::report::{RunReport, ScenarioReport};
use crate::verdict::Judgement;

/// Writes the table; nothing where there is one defence only, which the table below shows as well.
pub(super) fn overview(page: &mut String, run: &RunReport) {
    let mut defences: Vec<&str> = Vec::new();
    let mut lines: Vec<(&ScenarioReport, Vec<&ScenarioReport>)> = Vec::new();
    for scenario in &run.scenarios {
        if !defences.contains(&scenario.defence.as_str()) {
            defences.push(&scenario.defence);
        }
        match lines.iter_mut().find(|(first, _)| first.id == scenario.id) {
            Some((_, line)) => line.push(scenario),
            None => lines.push((scenario, vec![scenario])),
        }
    }
    if defences.len() < 2 {
        return;
    }
    page.push_str("<table class=\"overview\">\n<thead><tr><th>Scenario</th>");
    for defence in &defences {
        let _ = write!(page, "<th>{}</th>", Escaped(defence));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (scenario, line) in lines {
        let _ = write!(
            page,
            "<tr><td><b>{}</b> {}</td>",
            Escaped(&scenario.id),
            Escaped(&scenario.title)
        );
        for defence in &defences {
            match line.iter().find(|one| one.defence == *defence) {
                Some(one) => cell(page, one),
                None => page.push_str("<td>–</td>"),
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

fn cell(page: &mut String, scenario: &ScenarioReport) {
    let word = match scenario.judgement {
        Judgement::LeaksAsDocumented => "leaks (documented)",
        other => other.as_str(),
    };
    let _ = write!(
        page,
        "<td><a class=\"{}\" href=\"#{}\">{word}</a></td>",
        class(scenario.judgement),
        Escaped(anchor(scenario)),
    );
}
