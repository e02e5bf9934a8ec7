//! `report.html`: one file that needs no other, for people: the table of verdicts with filters, and the evidence of each. It shows what `report.json` holds,
//! which is free of secrets. Answers come from whoever was attacked, so nothing of them may become markup, and the page runs no script but its own.

mod overview;

use std::fmt::{self, Display, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Attempt, Finding, NotRun, RunReport, ScenarioReport};
use crate::verdict::Judgement;

const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");

/// In the order in which a reader wants them: what is wrong first.
const JUDGEMENTS: [Judgement; 5] = [
    Judgement::Leaks,
    Judgement::Unexpected,
    Judgement::Void,
    Judgement::LeaksAsDocumented,
    Judgement::Holds,
];

/// Text that stays text between tags and within quotes.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.to_string().chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// The page of a run.
pub fn render(run: &RunReport) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src {}; script-src {}\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Scenarios: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        hash(STYLE),
        hash(SCRIPT),
        if run.fails() { "failed" } else { "held" },
    );
    head(&mut page, run);
    overview::overview(&mut page, run);
    filters(&mut page, run);
    page.push_str(
        "<table>\n<thead><tr><th>Scenario</th><th>Defence</th><th>Judgement</th><th>Got</th><th>Seconds</th></tr></thead>\n",
    );
    for scenario in &run.scenarios {
        row(&mut page, scenario);
    }
    let _ = write!(page, "</table>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

fn head(page: &mut String, run: &RunReport) {
    let _ = writeln!(
        page,
        "<h1>{}</h1>\n<p>{} scenarios in {:.0} s, begun {}, seed <code>{}</code>{}</p>",
        headline(run),
        run.scenarios.len(),
        run.seconds,
        Escaped(&run.started),
        Escaped(&run.seed),
        if run.matrix {
            "; documented leaks are no failure"
        } else {
            ""
        },
    );
    if let Some(proxy) = &run.proxy {
        let _ = writeln!(page, "<p>external is <code>{}</code></p>", Escaped(proxy));
    }
    findings(page, "Seen beyond any one scenario", &run.findings);
    not_run(page, &run.not_run);
}

fn not_run(page: &mut String, left_out: &[NotRun]) {
    if left_out.is_empty() {
        return;
    }
    let _ = writeln!(page, "<details><summary>Not run: {}</summary><ul>", left_out.len());
    for each in left_out {
        let _ = writeln!(
            page,
            "<li>{} {} under {}: {}</li>",
            Escaped(&each.id),
            Escaped(&each.title),
            Escaped(&each.defence),
            Escaped(&each.reason)
        );
    }
    page.push_str("</ul></details>\n");
}

fn headline(run: &RunReport) -> &'static str {
    let documented = |scenario: &ScenarioReport| scenario.judgement == Judgement::LeaksAsDocumented;
    if run.fails() {
        "Something did not hold"
    } else if run.scenarios.iter().any(documented) {
        "Everything is as documented"
    } else {
        "Everything held"
    }
}

fn filters(page: &mut String, run: &RunReport) {
    page.push_str("<form id=\"filters\">\n<input type=\"search\" id=\"words\" placeholder=\"Scenario\" aria-label=\"Scenario\">\n");
    for judgement in JUDGEMENTS {
        let count = run
            .scenarios
            .iter()
            .filter(|scenario| scenario.judgement == judgement)
            .count();
        if count > 0 {
            let _ = writeln!(
                page,
                "<label><input type=\"checkbox\" name=\"judgement\" value=\"{0}\" checked> <span class=\"{0}\">{1}</span> {count}</label>",
                class(judgement),
                judgement.as_str(),
            );
        }
    }
    let mut defences: Vec<&str> = run.scenarios.iter().map(|scenario| scenario.defence.as_str()).collect();
    defences.sort_unstable();
    defences.dedup();
    page.push_str("<select id=\"defence\" aria-label=\"Defence\"><option value=\"\">every defence</option>");
    for defence in defences {
        let _ = write!(page, "<option>{}</option>", Escaped(defence));
    }
    page.push_str("</select>\n</form>\n");
}

fn row(page: &mut String, scenario: &ScenarioReport) {
    let class = class(scenario.judgement);
    let _ = writeln!(
        page,
        "<tbody id=\"{}\" data-judgement=\"{class}\" data-defence=\"{}\">\n<tr><td><b>{}</b> {}</td><td>{}</td><td class=\"{class}\">{}</td>\
         <td>{}</td><td>{:.1}</td></tr>\n<tr class=\"evidence\"><td colspan=\"5\"><details><summary>Evidence</summary>",
        Escaped(anchor(scenario)),
        Escaped(&scenario.defence),
        Escaped(&scenario.id),
        Escaped(&scenario.title),
        Escaped(&scenario.defence),
        scenario.judgement.as_str(),
        Escaped(scenario.verdicts()),
        scenario.seconds,
    );
    for reason in scenario.reasons() {
        let _ = writeln!(page, "<p class=\"reason\">{}</p>", Escaped(reason));
    }
    for attempt in &scenario.attempts {
        evidence(page, attempt);
    }
    findings(page, "Seen besides", &scenario.findings);
    page.push_str("</details></td></tr>\n</tbody>\n");
}

fn evidence(page: &mut String, attempt: &Attempt) {
    let _ = writeln!(
        page,
        "<h3>Step {}, {}: {}</h3>\n<p>got <b>{}</b>, may get {}{}{}</p>",
        attempt.step,
        Escaped(&attempt.place),
        Escaped(&attempt.what),
        Escaped(&attempt.verdict),
        Escaped(&attempt.expected),
        if attempt.note.is_empty() { "" } else { ". " },
        Escaped(&attempt.note),
    );
    for exchange in &attempt.exchanges {
        let _ = writeln!(
            page,
            "<pre class=\"request\">{}</pre>\n<pre class=\"answer\">{}</pre>\n<p class=\"wire\">connect: {}{}{}</p>",
            Escaped(exchange.request.trim_end()),
            Escaped(exchange.answer.trim_end()),
            Escaped(&exchange.connect),
            if exchange.end.is_empty() { "" } else { ", end: " },
            Escaped(&exchange.end),
        );
    }
}

fn findings(page: &mut String, title: &str, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h3>{title}</h3>\n<ul>");
    for finding in findings {
        let _ = writeln!(
            page,
            "<li>{}: <b>{}</b> {}</li>",
            Escaped(&finding.oracle),
            Escaped(&finding.verdict),
            Escaped(&finding.what)
        );
    }
    page.push_str("</ul>\n");
}

/// What links within the page call a scenario.
fn anchor(scenario: &ScenarioReport) -> String {
    format!("{}-{}", scenario.id, scenario.defence)
}

const fn class(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Holds => "holds",
        Judgement::LeaksAsDocumented => "documented",
        Judgement::Leaks => "leaks",
        Judgement::Unexpected => "unexpected",
        Judgement::Void => "void",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in ".{0,60}") {
            let escaped = Escaped(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
            prop_assert_eq!(back, text);
        }
    }
}
