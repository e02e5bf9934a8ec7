//! The report for a person: a line for each way, then what is open with what it means and what closes it. Never wider than 100 columns. Pure.

use std::fmt::Write as _;

use super::report::{Finding, Report, State};
use crate::report::table::{Colour, WIDTH, cut};
use crate::verdict::{Judgement, Verdict};

const WAY: usize = 20;
const TRIED: usize = 34;
const VERDICT: usize = 26;
const LAST: usize = WIDTH - WAY - TRIED - VERDICT - 3;

/// Renders the report.
pub fn render(report: &Report, colour: Colour) -> String {
    let mut text = format!("{:<WAY$} {:<TRIED$} {:<VERDICT$} \n", "way", "tried", "got")
        .trim_end()
        .to_owned();
    text.push('\n');
    for way in &report.ways {
        let line = format!(
            "{:<WAY$} {:<TRIED$} {:<VERDICT$} {}",
            way.way,
            way.tried,
            cut(&verdict(way), VERDICT),
            last(way, colour)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for state in [State::Open, State::Sanctioned, State::Unknown, State::Notice] {
        for way in report.ways.iter().filter(|way| way.state == state) {
            explain(&mut text, way, colour);
        }
    }
    let _ = write!(text, "\n{}", sum(report));
    text
}

fn verdict(way: &Finding) -> String {
    way.verdict.as_ref().map_or_else(|| "-".to_owned(), Verdict::to_string)
}

/// The state of what matters, or why the rest does not.
fn last(way: &Finding, colour: Colour) -> String {
    match way.state {
        State::Open | State::Sanctioned | State::Notice | State::Unknown => {
            paint(way.state, colour, way.state.as_str())
        }
        State::Closed => cut(&way.note, LAST),
    }
}

fn paint(state: State, colour: Colour, word: &str) -> String {
    let judgement = match state {
        State::Open => Judgement::Leaks,
        State::Sanctioned | State::Closed => Judgement::Holds,
        State::Notice => Judgement::LeaksAsDocumented,
        State::Unknown => Judgement::Void,
    };
    colour.paint(judgement, word)
}

fn explain(text: &mut String, way: &Finding, colour: Colour) {
    let mut head = vec![verdict(way)];
    head.extend((!way.note.is_empty() && !verdict(way).contains(&way.note)).then(|| way.note.clone()));
    head.extend(way.key_ends_with.as_ref().map(|end| format!("key …{end}")));
    head.extend(
        way.usable
            .map(|usable| if usable { "usable by their shape" } else { "not usable" }.to_owned()),
    );
    head.retain(|part| part != "-");
    let paragraph = |first: &str, words: &str| {
        let options = textwrap::Options::new(WIDTH)
            .initial_indent(first)
            .subsequent_indent("          ");
        textwrap::fill(words, options)
    };
    let painted = paint(way.state, colour, way.state.as_str());
    let _ = writeln!(text, "\n{painted} {} ({})", way.way, way.catalogue);
    let _ = writeln!(text, "{}", paragraph("  got     ", &head.join(", ")));
    if way.state != State::Unknown {
        let _ = writeln!(text, "{}", paragraph("  means   ", &way.means));
    }
    if matches!(way.state, State::Open | State::Notice) {
        let _ = writeln!(text, "{}", paragraph("  closes  ", &way.closes));
    }
}

fn sum(report: &Report) -> String {
    let count = |state| report.ways.iter().filter(|way| way.state == state).count();
    let sanctioned = match &report.expected {
        Some(role) => format!("{} sanctioned ({role})", count(State::Sanctioned)),
        None => format!("{} sanctioned", count(State::Sanctioned)),
    };
    let mut line = format!(
        "{} ways in {} s: {} open, {sanctioned}, {} closed, {} notice, {} unknown",
        report.ways.len(),
        report.seconds,
        report.open,
        count(State::Closed),
        count(State::Notice),
        report.unknown
    );
    let gives_roles = report
        .ways
        .iter()
        .any(|way| way.state == State::Open && matches!(way.verdict, Some(Verdict::Role(_))));
    if gives_roles && report.expected.is_none() {
        line.push_str("\nIf this job is to have such a role: --expect ROLE");
    }
    line
}
