//! The table: what was measured, the number, the budget.

use std::io::{self, Write as _};

use crate::container::Comparison;

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    what: String,
    measured: String,
    budget: String,
}

/// The middle of the measurements.
pub(crate) fn median(mut values: Vec<f64>) -> Result<f64, &'static str> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().ok_or("nothing was measured")
}

impl Line {
    /// The two servers' rates. Each round's ratio is of two measurements one second apart; the middle one counts.
    pub(crate) fn of_rates(comparison: &Comparison) -> Self {
        let ratios = ratios(comparison);
        let middle = |rates: &[crate::load::Rate]| {
            median(rates.iter().map(|rate| rate.per_second()).collect()).unwrap_or_default()
        };
        let (way, budget) = if comparison.manner == "kept" {
            ("kept connections", "≥ 0.85")
        } else {
            ("new connections", "≥ 0.75")
        };
        Self {
            what: format!("{way}, {} at once, against bare axum", comparison.at_once),
            measured: format!(
                "{:.2}  ({:.0}/s of {:.0}/s)",
                median(ratios).unwrap_or_default(),
                middle(&comparison.proxy),
                middle(&comparison.bare)
            ),
            budget: budget.to_owned(),
        }
    }

    /// What a connection takes longer than one to the bare server does: attestation, and everything else that the proxy does more.
    pub(crate) fn of_attestation(containers: usize, comparisons: &[Comparison]) -> Result<Self, &'static str> {
        let single = comparisons
            .iter()
            .find(|comparison| comparison.manner == "new" && comparison.at_once == 1);
        let single = single.ok_or("nothing was measured")?;
        let rounds = single.bare.iter().zip(&single.proxy);
        let micros = rounds.map(|(bare, proxy)| 1e6 / proxy.per_second() - 1e6 / bare.per_second());
        Ok(Self {
            what: format!("added to a new connection, {containers} containers"),
            measured: format!("{:.0} µs", median(micros.collect())?),
            budget: "≤ 30 µs".to_owned(),
        })
    }

    /// First credentials of a known container, beside a call of STS, in milliseconds.
    pub(crate) fn of_first(first: f64, call: f64) -> Self {
        Self {
            what: "first credentials of a known container".to_owned(),
            measured: format!("{first:.1} ms, the call alone {call:.1} ms"),
            budget: "≤ 5 ms more".to_owned(),
        }
    }

    /// Calls of STS that so many first requests at once made.
    pub(crate) fn of_burst(count: usize, answered: usize, calls: usize) -> Self {
        Self {
            what: format!("{count} first requests at once"),
            measured: format!("{calls} calls of STS, {answered} answered"),
            budget: "1 call".to_owned(),
        }
    }

    /// Prints the line.
    pub(crate) fn print(&self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{:<58} {:<36} {}", self.what, self.measured, self.budget)
    }

    /// Resident memory in MiB.
    pub(crate) fn of_memory(mebibytes: f64, connections: f64) -> Self {
        Self {
            what: format!("memory with 1,000 containers and {connections:.0} idle connections"),
            measured: format!("{mebibytes:.1} MiB"),
            budget: "≤ 40 MiB".to_owned(),
        }
    }
}

fn ratios(comparison: &Comparison) -> Vec<f64> {
    let rounds = comparison.bare.iter().zip(&comparison.proxy);
    rounds
        .map(|(bare, proxy)| proxy.per_second() / bare.per_second())
        .collect()
}
