//! Reads what matters of the runner's `config.toml`. Everything else, and every key that is not known here, is the runner's business.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::credentials::Secret;

/// A value with the line where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// From 1.
    pub line: usize,
    /// The value.
    pub value: T,
}

/// The runner's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// `[[runners]]`, in the file's order.
    pub runners: Vec<Runner>,
}

/// One `[[runners]]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Runner {
    /// Where it begins.
    pub line: usize,
    /// `name`
    pub name: String,
    /// The host of `url`, as job URLs have it.
    pub host: String,
    /// What labels show of the token: never the token itself.
    pub short: String,
    /// Tells equal tokens from others, within one reading.
    token: Secret,
    /// `executor`
    pub executor: String,
    /// `environment`
    pub environment: Vec<At<String>>,
    /// `[runners.feature_flags]`, those that are on.
    pub flags: Vec<String>,
    /// `[runners.docker] container_labels`
    pub labels: Vec<At<(String, String)>>,
    /// `[runners.docker] volumes`
    pub volumes: Vec<At<String>>,
    /// `[runners.docker] privileged` or `services_privileged`
    pub privileged: Option<At<&'static str>>,
    /// `[runners.docker] network_mode`
    pub network_mode: Option<At<String>>,
    /// `[runners.docker] pull_policy` and `allowed_pull_policies`
    pub pull_policies: Vec<At<String>>,
    /// `[runners.docker] cap_add`
    pub capabilities: Vec<At<String>>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner")
            .field("line", &self.line)
            .field("short", &self.short)
            .field("executor", &self.executor)
            .finish_non_exhaustive()
    }
}

impl Runner {
    /// Whether both are registered with one token: they are one runner to GitLab.
    #[must_use]
    pub fn has_token_of(&self, other: &Self) -> bool {
        self.token == other.token
    }

    /// Whether its jobs run in containers of an engine.
    #[must_use]
    pub fn is_docker(&self) -> bool {
        self.executor.starts_with("docker")
    }

    /// Whether its jobs run on machines of their own, which it makes.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.executor.as_str(), "docker+machine" | "docker-autoscaler")
    }
}

/// What the runner calls itself in the label `runner.id` (`helpers/shorten_token.go` of runner 19.4).
#[must_use]
pub fn short_token(token: &str) -> String {
    let partition = |text: &str| {
        let known = ["t1_", "t2_", "t3_"];
        known
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .map(str::to_owned)
    };
    let mut rest = if let Some(rest) = token.strip_prefix("glrt-") {
        partition(rest).unwrap_or_else(|| rest.to_owned())
    } else if let Some(rest) = token.strip_prefix("glrtr-") {
        rest.to_owned()
    } else {
        partition(token).unwrap_or_else(|| token.to_owned())
    };
    if let Some(behind) = rest.strip_prefix("glcbt-") {
        rest = behind.to_owned();
    }
    // GR and the date of rotation, seven hexadecimal digits.
    if let Some(behind) = rest.strip_prefix("GR")
        && behind.len() >= 7
        && behind.bytes().take(7).all(|b| b.is_ascii_hexdigit())
    {
        rest = behind.chars().skip(7).collect();
    }
    rest.chars().take(9).collect()
}

/// The host of a URL with its port, as job URLs have it.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.to_ascii_lowercase()
}

impl Document {
    /// Reads the file.
    ///
    /// # Errors
    /// The line that is no TOML, and why.
    pub fn read(text: &str) -> Result<Self, (usize, String)> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let reading = Reading { text };
        if let Some(error) = errors.first() {
            // The parser's words, never the line: it may hold a token.
            return Err((reading.line(error.span().unwrap_or(0..0)), error.message().to_owned()));
        }
        let runners = document
            .get_ref()
            .get("runners")
            .and_then(|value| value.get_ref().as_array());
        let runners = runners.into_iter().flat_map(|array| array.iter());
        Ok(Self {
            runners: runners.filter_map(|runner| reading.runner(runner)).collect(),
        })
    }
}

struct Reading<'t> {
    text: &'t str,
}

type Table<'i> = DeTable<'i>;
type Value<'i> = Spanned<DeValue<'i>>;

impl Reading<'_> {
    fn line(&self, at: Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..at.start).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|b| **b == b'\n').count()
    }

    fn at<T>(&self, value: &Value<'_>, read: T) -> At<T> {
        At {
            line: self.line(value.span()),
            value: read,
        }
    }

    fn runner(&self, value: &Value<'_>) -> Option<Runner> {
        let table = value.get_ref().as_table()?;
        let nothing = DeTable::default();
        let docker = table
            .get("docker")
            .and_then(|docker| docker.get_ref().as_table())
            .unwrap_or(&nothing);
        let flags = table.get("feature_flags").and_then(|flags| flags.get_ref().as_table());
        let token = text(table, "token").unwrap_or_default();
        Some(Runner {
            line: self.line(value.span()),
            name: text(table, "name").unwrap_or_default(),
            host: host_of(&text(table, "url").unwrap_or_default()),
            short: short_token(&token),
            token: Secret::new(token),
            executor: text(table, "executor").unwrap_or_default(),
            environment: self.texts(table, "environment"),
            flags: flags
                .into_iter()
                .flat_map(DeTable::iter)
                .filter(|(_, value)| value.get_ref().as_bool() == Some(true))
                .map(|(key, _)| key.get_ref().to_string())
                .collect(),
            labels: self.labels(docker),
            volumes: self.texts(docker, "volumes"),
            privileged: ["privileged", "services_privileged"].into_iter().find_map(|name| {
                let value = docker.get(name)?;
                (value.get_ref().as_bool() == Some(true)).then(|| self.at(value, name))
            }),
            network_mode: docker
                .get("network_mode")
                .and_then(|value| Some(self.at(value, value.get_ref().as_str()?.to_owned())))
                .filter(|mode| !mode.value.is_empty()),
            pull_policies: ["pull_policy", "allowed_pull_policies"]
                .into_iter()
                .flat_map(|name| self.texts(docker, name))
                .collect(),
            capabilities: self.texts(docker, "cap_add"),
        })
    }

    fn labels(&self, docker: &Table<'_>) -> Vec<At<(String, String)>> {
        let labels = docker
            .get("container_labels")
            .and_then(|labels| labels.get_ref().as_table());
        let label = |(key, value): (&Spanned<_>, &Value<'_>)| At {
            line: self.line(key.span()),
            value: (to_text(key), value.get_ref().as_str().unwrap_or_default().to_owned()),
        };
        labels.into_iter().flat_map(DeTable::iter).map(label).collect()
    }

    /// A text or a list of them.
    fn texts(&self, table: &Table<'_>, name: &str) -> Vec<At<String>> {
        let Some(value) = table.get(name) else {
            return Vec::new();
        };
        match value.get_ref().as_array() {
            Some(array) => array
                .iter()
                .filter_map(|item| Some(self.at(item, item.get_ref().as_str()?.to_owned())))
                .collect(),
            None => value
                .get_ref()
                .as_str()
                .map(|text| self.at(value, text.to_owned()))
                .into_iter()
                .collect(),
        }
    }
}

fn to_text(key: &Spanned<impl ToString>) -> String {
    key.get_ref().to_string()
}

fn text(table: &Table<'_>, name: &str) -> Option<String> {
    Some(table.get(name)?.get_ref().as_str()?.to_owned())
}
