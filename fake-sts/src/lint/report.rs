//! Findings as text for people, JSON for scripts, SARIF for code hosts.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Finding, RULES, Severity};

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One object.
    Json,
    /// SARIF 2.1.0.
    Sarif,
}

/// Writes findings.
#[must_use]
pub fn write(findings: &[Finding], format: Format) -> String {
    match format {
        Format::Text => text(findings),
        Format::Json => pretty(&json!({ "findings": findings.iter().map(object).collect::<Vec<_>>() })),
        Format::Sarif => pretty(&sarif(findings)),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for one in findings {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}: {} {} [{}]\n  {}\n  hint: {}",
            one.file,
            one.rule.severity.word(),
            one.place,
            one.rule.id,
            one.problem,
            one.remedy
        );
    }
    let count = |severity| findings.iter().filter(|one| one.rule.severity == severity).count();
    let told = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let _ = writeln!(text, "{}, {}", told(errors, "error"), told(warnings, "warning"));
    text
}

fn object(one: &Finding) -> Value {
    json!({
        "file": one.file,
        "place": one.place,
        "rule": one.rule.id,
        "severity": one.rule.severity.word(),
        "problem": one.problem,
        "remedy": one.remedy,
    })
}

fn sarif(findings: &[Finding]) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.title },
                "fullDescription": { "text": rule.why },
                "defaultConfiguration": { "level": rule.severity.word() },
            })
        })
        .collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|one| {
            json!({
                "ruleId": one.rule.id,
                "level": one.rule.severity.word(),
                "message": { "text": format!("{} {}. {}", one.place, one.problem, one.remedy) },
                "locations": [{
                    "physicalLocation": { "artifactLocation": { "uri": one.file } },
                    "logicalLocations": [{ "fullyQualifiedName": one.place }],
                }],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "fake-sts lint", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    })
}
