//! An explanation as a page for a terminal of 100 columns.

use std::fmt::{self, Formatter, Write as _};

use super::{Explained, Outcome, Weighed};
use crate::paragraph::{show, wrap};

/// Rules of other runners are only counted beyond this many: a file may have hundreds.
const RULES_SHOWN: usize = 20;
/// Where the words behind a name begin.
const NAME: usize = 12;
/// Where "chosen by" begins, unless the value is longer.
const CHOSEN: usize = 50;

pub(super) fn write(explained: &Explained, f: &mut Formatter<'_>) -> fmt::Result {
    let id = explained.container.get(..12).unwrap_or(&explained.container);
    writeln!(f, "container {id} ({})", show(&explained.name))?;
    line(f, "image", &explained.image)?;
    line(f, "started", &explained.started_at)?;

    writeln!(f, "\nwhat GitLab Runner's labels say, and who chooses it")?;
    if explained.job.is_empty() {
        line(f, "nothing", "that can be believed")?;
    }
    for fact in &explained.job {
        let mut text = format!("  {:<12}{}", fact.name, show(&fact.value));
        let length = text.chars().count();
        let gap = CHOSEN.saturating_sub(length).max(2);
        let _infallible = write!(text, "{:gap$}", "");
        let column = text.chars().count();
        writeln!(f, "{text}{}", wrap(fact.chosen_by, column, CHOSEN))?;
    }

    write_rules(explained, f)?;

    writeln!(f, "\nrole")?;
    let selected = match &explained.selected {
        Some(role) => format!("IAM_ROLE is {:?}; the author chooses it", show(role)),
        None => "IAM_ROLE is not set, or not to be believed; the author could set it".to_owned(),
    };
    line(f, "selected", &selected)?;
    if !explained.selectable.is_empty() {
        line(f, "from", &explained.selectable.join(" "))?;
    }

    writeln!(f, "\nwhat the kernel shows")?;
    for condition in &explained.kernel {
        let text = if condition.holds {
            condition.words.clone()
        } else {
            format!("no: {}", condition.words)
        };
        line(f, condition.name, &text)?;
    }

    match &explained.outcome {
        Outcome::Granted {
            rule,
            role,
            session,
            duration_seconds,
            narrowed_by,
            verified_by,
            until,
        } => {
            writeln!(f, "\ngranted")?;
            line(f, "role", role)?;
            line(f, "by rule", rule)?;
            line(f, "session", &format!("{session}, {duration_seconds} s"))?;
            if !narrowed_by.is_empty() {
                line(f, "narrowed by", &narrowed_by.join(" "))?;
            }
            if let Some(question) = verified_by {
                line(f, "verifier", question)?;
            }
            line(f, "until", until)
        }
        Outcome::Observed {
            role,
            session,
            duration_seconds,
            would_be,
            detail,
        } => {
            writeln!(
                f,
                "\nobserved: given although the rules refuse it (compat.mode = \"observe\")"
            )?;
            line(f, "role", role)?;
            line(f, "session", &format!("{session}, {duration_seconds} s"))?;
            line(f, "would be", would_be)?;
            line(f, "meaning", detail)
        }
        Outcome::Refused { reason, detail } => {
            writeln!(f, "\nrefused")?;
            line(f, "reason", reason)?;
            line(f, "meaning", detail)
        }
    }
}

fn write_rules(explained: &Explained, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "\nrules, in the file's order")?;
    if explained.rules.is_empty() {
        return line(f, "none", "is weighed");
    }
    // Those that came closest tell most.
    let is_close = |weighed: &&Weighed| weighed.criterion != Some("runner");
    let mut shown: Vec<&Weighed> = explained.rules.iter().filter(is_close).collect();
    let others = explained.rules.iter().filter(|weighed| !is_close(weighed));
    shown.extend(others.take(RULES_SHOWN.saturating_sub(shown.len())));
    for weighed in explained
        .rules
        .iter()
        .filter(|weighed| shown.iter().any(|shown| shown.rule == weighed.rule))
    {
        let text = match (weighed.criterion, &weighed.wanted) {
            (Some(criterion), Some(wanted)) => format!("no: its {criterion} is {wanted}"),
            (Some(_) | None, _) if weighed.matches => "matches".to_owned(),
            (Some(_) | None, _) => "no".to_owned(),
        };
        line(f, &weighed.rule, &text)?;
    }
    let left = explained.rules.len() - shown.len();
    if left > 0 {
        line(f, "…", &format!("and {left} of other runners"))?;
    }
    Ok(())
}

/// A name and its words.
fn line(f: &mut Formatter<'_>, name: &str, words: &str) -> fmt::Result {
    let indent = NAME + 2;
    let from = (name.chars().count() + 4).max(indent);
    let width = from - 4;
    writeln!(f, "  {name:<width$}  {}", wrap(words, from, indent))
}
