//! The table at the top of a page about several defences: a line for each scenario, a column for each defence, each cell a link to its evidence.

use std::fmt::Write as _;

use super::{Escaped, anchor, class};
use crate::report::grid::Grid;
use crate::report::{RunReport, ScenarioReport};
use crate::verdict::Judgement;

/// Writes the table; nothing where there is one defence only, which the table below shows as well.
pub(super) fn overview(page: &mut String, run: &RunReport) {
    let grid = Grid::of(run);
    if grid.defences.len() < 2 {
        return;
    }
    page.push_str("<table class=\"overview\">\n<thead><tr><th>Scenario</th>");
    for defence in &grid.defences {
        let _ = write!(page, "<th>{}</th>", Escaped(defence));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (id, row) in &grid.rows {
        let _ = write!(page, "<tr><td><b>{}</b> {}</td>", Escaped(id), Escaped(row.title));
        for defence in &grid.defences {
            match row.cells.get(defence) {
                Some(scenario) => cell(page, scenario),
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
