//! The scenarios of a run as people look at them: a row for each id, a column for each defence.

use std::collections::BTreeMap;

use super::{RunReport, ScenarioReport};

/// What was run, by id and defence.
pub(super) struct Grid<'a> {
    /// In the order in which they were run.
    pub(super) defences: Vec<&'a str>,
    /// By id.
    pub(super) rows: BTreeMap<&'a str, Row<'a>>,
}

/// A scenario, as far as it was run.
pub(super) struct Row<'a> {
    pub(super) title: &'a str,
    /// By defence.
    pub(super) cells: BTreeMap<&'a str, &'a ScenarioReport>,
}

impl<'a> Grid<'a> {
    pub(super) fn of(report: &'a RunReport) -> Self {
        let mut grid = Self {
            defences: Vec::new(),
            rows: BTreeMap::new(),
        };
        for scenario in &report.scenarios {
            if !grid.defences.contains(&scenario.defence.as_str()) {
                grid.defences.push(&scenario.defence);
            }
            let row = grid.rows.entry(&scenario.id).or_insert_with(|| Row {
                title: &scenario.title,
                cells: BTreeMap::new(),
            });
            row.cells.insert(&scenario.defence, scenario);
        }
        grid
    }
}
