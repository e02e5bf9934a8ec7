//! The policy linter: what in trust and identity policies lets in more than was meant, or less. Pure: texts in, findings out. It must not
//! read files.

mod catalogue;
mod instance;
mod report;
mod rules;
mod source;
#[cfg(test)]
mod tests;

pub use catalogue::RULES;
pub use report::{Format, write};

use crate::policy::Kind;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody else gets in, or the policy is none.
    Error,
    /// More than needed.
    Warning,
}

impl Severity {
    /// The word in reports, which is SARIF's.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name in reports.
    pub id: &'static str,
    /// How bad it is to break it.
    pub severity: Severity,
    /// What it asks for.
    pub title: &'static str,
    /// Why it is asked for.
    pub why: &'static str,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, as the user named it.
    pub file: String,
    /// Where in it: `aws_iam_role.deploy`, `Resources.Deploy`…, then the place in the document.
    pub place: String,
    /// Which rule.
    pub rule: Rule,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// What the linter is told beside the files.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The account that the policies are for. Without it nobody can tell foreign accounts from one's own.
    pub account: Option<String>,
    /// Whether policies that stand by themselves are of the role of an instance.
    pub instance: bool,
    /// What the role of an instance may have beside assuming roles and pulling images: actions and ARNs of managed policies, with `*`.
    pub allowed: Vec<String>,
}

/// Says why there is a rule.
#[must_use]
pub fn explain(id: &str) -> Option<String> {
    let rule = RULES.into_iter().find(|rule| rule.id == id)?;
    let (word, title, why) = (rule.severity.word(), rule.title, rule.why);
    Some(format!("{id} ({word}): {title}.\n\n{why}\n"))
}

/// A policy found in a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) place: String,
    pub(crate) kind: Kind,
    pub(crate) document: serde_json::Value,
    /// Whether it is of a role that an instance profile holds.
    pub(crate) of_instance: bool,
}

/// Judges one file.
///
/// # Errors
/// The text is neither JSON nor YAML, or has no policy in it.
pub fn judge(file: &str, text: &str, settings: &Settings) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    let (documents, attached) = source::read(text)?;
    for found in &documents {
        rules::judge(file, found, settings, &mut findings);
    }
    for one in &attached {
        instance::judge_attached(file, one, settings, &mut findings);
    }
    Ok(findings)
}
