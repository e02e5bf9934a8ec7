//! The table of scenario × defence, at most 100 columns wide, and the reasons below it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::RunReport;
use super::grid::Grid;
use crate::verdict::Judgement;

/// Widest line.
pub const WIDTH: usize = 100;
const ID: usize = 9;

/// How to colour; plain where the output is no terminal or `NO_COLOR` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// ANSI colours.
    Ansi,
    /// None.
    Plain,
}

impl Colour {
    /// The word in the judgement's colour.
    pub fn paint(self, judgement: Judgement, word: &str) -> String {
        let code = match judgement {
            Judgement::Holds => "32",
            Judgement::LeaksAsDocumented => "33",
            Judgement::Leaks => "31;1",
            Judgement::Unexpected => "35",
            Judgement::Void => "36",
        };
        match self {
            Self::Ansi => format!("\u{1b}[{code}m{word}\u{1b}[0m"),
            Self::Plain => word.to_owned(),
        }
    }
}

/// Renders the whole report for a person.
pub fn render(report: &RunReport, colour: Colour) -> String {
    let grid = Grid::of(report);
    let mut text = String::new();
    match grid.defences.as_slice() {
        [] => text.push_str("nothing was run\n"),
        [only] => render_single(&mut text, only, &grid, colour),
        _ => render_matrix(&mut text, &grid, colour),
    }
    render_reasons(&mut text, report, colour);
    render_not_run(&mut text, report);
    render_sum(&mut text, report);
    text
}

/// What was asked for and has no question to a defence, by reason.
fn render_not_run(text: &mut String, report: &RunReport) {
    let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for each in &report.not_run {
        let ids = reasons.entry((&each.defence, &each.reason)).or_default();
        ids.push(&each.id);
    }
    if let Some(proxy) = &report.proxy {
        let _ = writeln!(text, "\nexternal is {proxy}");
    }
    for ((defence, reason), ids) in reasons {
        let line = format!("not run against {defence}, since {reason}: {}", ids.join(", "));
        let _ = writeln!(
            text,
            "{}",
            textwrap::fill(&line, textwrap::Options::new(WIDTH).subsequent_indent("  "))
        );
    }
}

/// One defence: the verdicts are shown, as there is room for them.
fn render_single(text: &mut String, defence: &str, grid: &Grid<'_>, colour: Colour) {
    const TITLE: usize = 43;
    const JUDGEMENT: usize = 20;
    let verdicts = WIDTH - ID - TITLE - JUDGEMENT - 3;
    let _ = writeln!(
        text,
        "{:<ID$} {:<TITLE$} {:<JUDGEMENT$} got",
        "scenario",
        "",
        cut(defence, JUDGEMENT)
    );
    for (id, row) in &grid.rows {
        for scenario in row.cells.values() {
            let word = format!("{:<JUDGEMENT$}", scenario.judgement.as_str());
            let line = format!(
                "{id:<ID$} {:<TITLE$} {} {}",
                cut(row.title, TITLE),
                colour.paint(scenario.judgement, &word),
                cut(&scenario.verdicts(), verdicts)
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
}

/// Several defences: a column each.
fn render_matrix(text: &mut String, grid: &Grid<'_>, colour: Colour) {
    let columns = &grid.defences;
    let column = ((WIDTH - ID - 20) / columns.len()).clamp(8, 21) - 1;
    let title = WIDTH.saturating_sub(ID + 1 + columns.len() * (column + 1)).max(10);
    let heads: String = columns.iter().fold(String::new(), |mut heads, name| {
        let _ = write!(heads, " {:<column$}", cut(name, column));
        heads
    });
    let _ = writeln!(
        text,
        "{}",
        format!("{:<ID$} {:<title$}{heads}", "scenario", "").trim_end()
    );
    for (id, row) in &grid.rows {
        let mut line = format!("{id:<ID$} {:<title$}", cut(row.title, title));
        for defence in columns {
            let cell = match row.cells.get(defence) {
                Some(scenario) => {
                    let word = if scenario.judgement == Judgement::LeaksAsDocumented {
                        "leak(doc)"
                    } else {
                        scenario.judgement.as_str()
                    };
                    colour.paint(scenario.judgement, &format!("{:<column$}", cut(word, column)))
                }
                None => format!("{:<column$}", "-"),
            };
            let _ = write!(line, " {cell}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn render_reasons(text: &mut String, report: &RunReport, colour: Colour) {
    for scenario in report
        .scenarios
        .iter()
        .filter(|scenario| scenario.judgement.fails(report.matrix))
    {
        let head = format!("{} {}", scenario.id, scenario.judgement.as_str());
        let _ = writeln!(
            text,
            "\n{} under {}: {}",
            colour.paint(scenario.judgement, &head),
            scenario.defence,
            scenario.title
        );
        let reasons = scenario.reasons();
        for reason in reasons.iter().take(6) {
            let _ = writeln!(text, "  {}", cut(reason, 400));
        }
        if reasons.len() > 6 {
            let _ = writeln!(text, "  … and {} more, see report.json", reasons.len() - 6);
        }
        let shown = scenario
            .attempts
            .iter()
            .find(|attempt| attempt.verdict.is_leak() || !attempt.expected.allows(&attempt.verdict));
        if let Some(exchange) = shown.and_then(|attempt| {
            attempt
                .exchanges
                .iter()
                .rev()
                .find(|exchange| !exchange.answer.is_empty())
        }) {
            for line in exchange.request.lines().take(3) {
                let _ = writeln!(text, "  > {}", cut(line, WIDTH - 4));
            }
            for line in exchange.answer.lines().take(16) {
                let _ = writeln!(text, "  < {}", cut(line, WIDTH - 4));
            }
        }
    }
    for finding in &report.findings {
        let _ = writeln!(text, "\n{}: {}", finding.oracle, cut(&finding.what, 400));
    }
}

fn render_sum(text: &mut String, report: &RunReport) {
    let count = |judgement| {
        report
            .scenarios
            .iter()
            .filter(|scenario| scenario.judgement == judgement)
            .count()
    };
    let mut parts = vec![format!("{} hold", count(Judgement::Holds))];
    for (judgement, word) in [
        (Judgement::LeaksAsDocumented, "leak as documented"),
        (Judgement::Leaks, "LEAK"),
        (Judgement::Unexpected, "UNEXPECTED"),
        (Judgement::Void, "VOID"),
    ] {
        if count(judgement) > 0 {
            parts.push(format!("{} {word}", count(judgement)));
        }
    }
    if !report.findings.is_empty() {
        parts.push(format!("{} findings outside any scenario", report.findings.len()));
    }
    let _ = writeln!(
        text,
        "\n{} scenarios in {:.0} s: {}",
        report.scenarios.len(),
        report.seconds,
        parts.join(", ")
    );
}

/// The text cut to a width, with an ellipsis where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}
