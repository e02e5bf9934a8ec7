//! The forms in which the earlier proxies' jobs name roles: `name`, `name@account`, `path/name@account`, `name@alias` and ARNs.

use std::collections::BTreeMap;

use super::Profile;
use crate::config::{Account, Home, NameFault, Role};

/// A role as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    role: Role,
    /// It was asked for by its name alone: the earlier proxies let IAM find the path (`iam:GetRole`).
    by_name: bool,
}

impl Asked {
    /// This role and no other.
    #[must_use]
    pub const fn exactly(role: Role) -> Self {
        Self { role, by_name: false }
    }

    /// Which of the roles is meant, if one is. A name alone means the role without a path, or else the one that is called so in the first
    /// account: IAM has no two of one name there, and of several nobody guesses.
    pub fn find<'r>(&self, roles: impl Iterator<Item = &'r Role> + Clone) -> Option<&'r Role> {
        let exact = roles.clone().find(|role| **role == self.role);
        if exact.is_some() || !self.by_name {
            return exact;
        }
        let mut called = roles.filter(|role| role.account() == self.role.account() && role.name() == self.role.name());
        match (called.next(), called.next()) {
            (one, None) => one,
            (_, Some(_)) => None,
        }
    }
}

/// Reads a role. `accounts` are the aliases of accounts.
pub(super) fn read(
    text: &str,
    profile: Profile,
    accounts: &BTreeMap<String, Account>,
    home: &Home,
) -> Result<Asked, NameFault> {
    if text.starts_with("arn:") {
        return Role::parse(text, home).map(Asked::exactly);
    }
    let Some((name, account)) = text.split_once('@') else {
        let by_name = !text.contains('/');
        // go-metadataproxy asked IAM for it, which takes no path there; lyft's put it into an ARN.
        let role = match profile {
            Profile::Lyft if !by_name && !text.starts_with('/') => Role::parse(&format!("/{text}"), home),
            Profile::Lyft | Profile::GoMetadataproxy => Role::parse(text, home),
        };
        return role.map(|role| Asked { role, by_name });
    };
    let account = match accounts.get(account) {
        Some(account) => account.clone(),
        None => Account::parse(account)?,
    };
    let slash = if name.starts_with('/') { "" } else { "/" };
    let arn = format!("arn:{}:iam::{account}:role{slash}{name}", home.partition);
    Role::parse(&arn, home).map(Asked::exactly)
}
