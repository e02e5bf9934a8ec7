//! Judges the file of an earlier proxy's settings against the configuration: what becomes of each, and what is taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::environment::{Entry, read as read_entries};
use super::form;
use super::register::{Fate, Setting, When};
use super::{Adopted, Compat, Mode, Profile};
use crate::config::{Account, Base, Config, Fault, Role};
use crate::paragraph::{show, wrap};

/// What became of the file of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What is taken over.
    pub adopted: Adopted,
    /// Lines that cannot be read, and settings that are refused and would be missed.
    pub faults: Vec<Fault>,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// What becomes of each setting.
    pub assessment: Assessment,
}

/// What becomes of each setting, in the order of the file. Holds no value that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The file.
    pub file: String,
    /// Whose settings they are.
    pub profile: Profile,
    /// One for each setting.
    pub findings: Vec<Finding>,
}

/// What becomes of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its line.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub fate: Fate,
    /// Why.
    pub why: String,
    /// What to do instead; empty if nothing is to be done.
    pub remedy: String,
    /// It is refused, would be missed, and was not given up.
    pub is_fault: bool,
}

impl fmt::Display for Assessment {
    /// A page for a terminal of 100 columns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const INDENT: usize = 13;
        writeln!(f, "settings of {} in {}", self.profile.repository(), self.file)?;
        for finding in &self.findings {
            let words = format!("{}: {}", finding.name, finding.why);
            writeln!(f, "  {:<11}{}", finding.fate, wrap(&words, INDENT, INDENT))?;
            if !finding.remedy.is_empty() {
                let remedy = format!("remedy: {}", finding.remedy);
                writeln!(f, "{:INDENT$}{}", "", wrap(&remedy, INDENT, INDENT))?;
            }
        }
        if self.findings.is_empty() {
            writeln!(f, "  none")?;
        }
        Ok(())
    }
}

/// Examines the file of settings. `file` is only a name.
#[must_use]
pub fn examine(file: &str, text: &str, compat: &Compat, config: &Config) -> Examined {
    let (entries, broken) = read_entries(text);
    let adopted = adopt(&entries, compat, config);
    let judge = Judge {
        compat,
        config,
        adopted: &adopted,
    };
    let findings: Vec<Finding> = entries.iter().map(|entry| judge.judge(entry)).collect();
    let unreadable = broken.into_iter().map(|broken| Fault {
        file: file.to_owned(),
        line: broken.line,
        field: broken.name,
        problem: broken.problem.to_owned(),
        remedy: broken.remedy.to_owned(),
    });
    let missed = findings.iter().filter(|finding| finding.is_fault).map(|finding| Fault {
        file: file.to_owned(),
        line: finding.line,
        field: finding.name.clone(),
        problem: format!("is refused: {}", finding.why),
        remedy: format!(
            "{}; or name it in compat.given_up, so that nobody is surprised",
            finding.remedy
        ),
    });
    let mut faults: Vec<Fault> = unreadable.chain(missed).collect();
    faults.sort_by_key(|fault| fault.line);
    Examined {
        faults,
        warnings: warn(file, &findings),
        assessment: Assessment {
            file: file.to_owned(),
            profile: compat.profile,
            findings,
        },
        adopted,
    }
}

fn warn(file: &str, findings: &[Finding]) -> Vec<String> {
    let names = |fate| {
        let of_fate = findings
            .iter()
            .filter(|finding| finding.fate == fate && !finding.is_fault);
        let names: Vec<&str> = of_fate.map(|finding| finding.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let refused = names(Fate::Refused).map(|names| format!("{file}: refused: {names}; `check` says why"));
    let unknown = names(Fate::Unknown).map(|names| format!("{file}: nobody knows the settings {names}"));
    refused.into_iter().chain(unknown).collect()
}

/// What is taken over: aliases of accounts, and the default role as far as it can be read.
fn adopt(entries: &[Entry], compat: &Compat, config: &Config) -> Adopted {
    let value = |name: &str| {
        let known = compat.profile.setting(name).is_some();
        let entry = entries.iter().find(|entry| known && entry.name == name);
        entry
            .map(|entry| entry.value.as_str())
            .filter(|value| !value.is_empty())
    };
    let accounts = value("AWS_ACCOUNT_MAP").and_then(read_accounts).unwrap_or_default();
    let role = value("DEFAULT_ROLE").map(|text| form::read(text, compat.profile, &accounts, &config.aws.home));
    Adopted {
        accounts,
        default_role: role.and_then(Result::ok),
    }
}

/// A JSON object of aliases. lyft's took whatever JSON it was.
fn read_accounts(text: &str) -> Option<BTreeMap<String, Account>> {
    let map: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
    let is_alias = |alias: &str| {
        (1..=64).contains(&alias.len())
            && alias
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    map.into_iter()
        .map(|(alias, account)| is_alias(&alias).then_some(alias).zip(Account::parse(&account).ok()))
        .collect()
}

struct Judge<'c> {
    compat: &'c Compat,
    config: &'c Config,
    adopted: &'c Adopted,
}

impl Judge<'_> {
    fn judge(&self, entry: &Entry) -> Finding {
        let finding = |fate, why: String, remedy: &str| Finding {
            line: entry.line,
            name: entry.name.clone(),
            fate,
            why,
            remedy: remedy.to_owned(),
            is_fault: false,
        };
        let Some(setting) = self.compat.profile.setting(&entry.name) else {
            let why = format!("not a setting of {}", self.compat.profile.repository());
            return finding(Fate::Unknown, why, "");
        };
        if entry.value.is_empty() {
            return finding(Fate::Ignored, "it is empty".to_owned(), "");
        }
        let (fate, more) = self.weigh(setting, &entry.value);
        let why = match &more {
            Some(more) => format!("{more}; {}", setting.why),
            None => setting.why.to_owned(),
        };
        if fate != Fate::Refused {
            return finding(fate, why, "");
        }
        let is_given_up = self.compat.given_up.contains(setting.name);
        let why = if is_given_up { format!("given up; {why}") } else { why };
        Finding {
            is_fault: setting.is_missed && !is_given_up,
            ..finding(fate, why, setting.remedy)
        }
    }

    /// What becomes of a setting with this value, and what there is to say of the value.
    fn weigh(&self, setting: &Setting, value: &str) -> (Fate, Option<String>) {
        let aws = &self.config.aws;
        match setting.when {
            When::Always(fate) => (fate, None),
            When::On(_) if matches!(value, "False" | "false" | "0") => (Fate::Ignored, Some("it is off".to_owned())),
            When::Beside(usual, _) if value == usual => (Fate::Ignored, Some("it is as usual".to_owned())),
            When::On(fate) | When::Beside(_, fate) => (fate, None),
            When::DefaultRole => self.weigh_default_role(value),
            When::DefaultAccount if value == aws.home.account.as_str() => (Fate::Honoured, None),
            When::DefaultAccount => (Fate::Refused, Some(format!("aws.account is {}", aws.home.account))),
            When::AccountMap => self.weigh_accounts(value),
            When::Engine if is_same_socket(value, &self.config.engine.socket) => {
                (Fate::Honoured, Some("engine.socket is the same".to_owned()))
            }
            When::Engine => (
                Fate::Refused,
                Some(format!("engine.socket is {}", self.config.engine.socket)),
            ),
            When::Region if value == aws.region.as_str() => (Fate::Honoured, Some("it is the same".to_owned())),
            When::Region => (Fate::Ignored, Some(format!("here it is {}", aws.region))),
            When::Base if aws.credentials == Base::Imds => (Fate::Refused, None),
            When::Base => (Fate::Ignored, None),
            When::Prometheus if self.config.listen.metrics.is_some() => (Fate::Tightened, None),
            When::Prometheus => (Fate::Refused, None),
        }
    }

    fn weigh_default_role(&self, value: &str) -> (Fate, Option<String>) {
        let Some(asked) = &self.adopted.default_role else {
            let more = format!("{:?} is no role of an account that is listed", show(value));
            return (Fate::Refused, Some(more));
        };
        let is_observing = self.compat.mode == Mode::Observe;
        if let (true, Some(role)) = (is_observing, asked.find(self.compat.observed.keys())) {
            return (
                Fate::Honoured,
                Some(format!("while observing, {role} is given to whom the rules refuse")),
            );
        }
        let roles: BTreeSet<&Role> = self.config.rules.iter().filter_map(|rule| rule.role.as_ref()).collect();
        let role = asked.find(roles.iter().copied());
        let rules = self.config.rules.iter();
        let rules: Vec<&str> = rules
            .filter(|rule| role.is_some() && rule.role.as_ref() == role)
            .map(|rule| rule.name.as_str())
            .collect();
        if is_observing {
            (Fate::Refused, Some("compat.observed_roles has it not".to_owned()))
        } else if rules.is_empty() {
            (Fate::Refused, Some("no rule has it".to_owned()))
        } else {
            let plural = if rules.len() == 1 { "" } else { "s" };
            let more = format!("it is the role of rule{plural} {}", rules.join(", "));
            (Fate::Tightened, Some(more))
        }
    }

    fn weigh_accounts(&self, value: &str) -> (Fate, Option<String>) {
        let Some(accounts) = read_accounts(value) else {
            return (Fate::Refused, Some("it cannot be read".to_owned()));
        };
        let home = &self.config.aws.home;
        let foreign = accounts.iter().filter(|(_, account)| !home.has(account.as_str()));
        let foreign: Vec<&str> = foreign.map(|(alias, _)| alias.as_str()).collect();
        let more = (!foreign.is_empty()).then(|| format!("the account of {} is not listed", foreign.join(", ")));
        (Fate::Tightened, more)
    }
}

/// Whether both mean one socket: two or three slashes, and `/var/run`, which is `/run`.
fn is_same_socket(one: &str, other: &str) -> bool {
    let path = |text: &str| {
        let path = text.strip_prefix("unix:")?.trim_start_matches('/');
        Some(path.strip_prefix("var/").unwrap_or(path).to_owned())
    };
    match (path(one), path(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one == other,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
