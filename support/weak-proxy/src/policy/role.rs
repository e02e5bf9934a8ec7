//! Names of roles: bare, with path, or as ARN.

use crate::config::Aws;

/// A role by its ARN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role(String);

impl Role {
    /// `name`, `/path/name` or an ARN of this partition; anything else is no role.
    #[must_use]
    pub fn parse(text: &str, aws: &Aws) -> Option<Self> {
        let (account, path) = match text.strip_prefix("arn:") {
            Some(rest) => {
                let rest = rest.strip_prefix(aws.partition.as_str())?.strip_prefix(":iam::")?;
                let (account, path) = rest.split_once(":role/")?;
                (account, path)
            }
            None => (aws.account.as_str(), text.strip_prefix('/').unwrap_or(text)),
        };
        let account_is_valid = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_segment = |s: &str| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
        };
        let is_bare_with_slash = !text.starts_with("arn:") && !text.starts_with('/') && text.contains('/');
        let valid = account_is_valid
            && !is_bare_with_slash
            && path.len() <= 512
            && path.split('/').all(is_segment)
            && path.rsplit('/').next().is_some_and(|name| name.len() <= 64);
        valid.then(|| Self(format!("arn:{}:iam::{account}:role/{path}", aws.partition)))
    }

    /// Any text at all, as the careless proxies take it: an ARN as it is, everything else behind the account.
    #[must_use]
    pub fn from_anything(text: &str, aws: &Aws) -> Self {
        if text.starts_with("arn:") {
            return Self(text.to_owned());
        }
        Self(format!(
            "arn:{}:iam::{}:role/{}",
            aws.partition,
            aws.account,
            text.trim_start_matches('/')
        ))
    }

    /// A name in any account that somebody names.
    #[must_use]
    pub fn of_account(name: &str, account: &str, aws: &Aws) -> Self {
        Self(format!("arn:{}:iam::{account}:role/{name}", aws.partition))
    }

    /// The ARN.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.0
    }

    /// The last segment: what the list answers and what the path names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}
