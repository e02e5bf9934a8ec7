//! The accounts that the fake knows: roles with their trust and identity policies, users with long-lived keys. Read from `world.toml`.
//! It must not know sessions, requests or HTTP.

mod lines;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use fake_kit::seed::Seed;

use crate::arn::RoleArn;
use crate::policy::{Attributes, Policy, Principal};
use crate::secret::Secret;

pub use read::{Fault, Faults, read, read_role};

/// What is served without `--world`.
pub const DEFAULT_WORLD: &str = include_str!("default.toml");

/// The account that names without an account belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// `eu-central-1`…
    pub region: String,
    /// `aws`…
    pub partition: String,
}

/// An IAM role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: RoleArn,
    /// `AROA…`; another one after the role was deleted and made again.
    pub id: String,
    /// MaxSessionDuration.
    pub max_session_seconds: u32,
    /// Who may assume it.
    pub trust: Policy,
    /// What its sessions may do.
    pub policies: Vec<Policy>,
}

/// An IAM user with one long-lived key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// `AIDA…`.
    pub id: String,
    /// Twelve digits.
    pub account: String,
    /// `aws`…
    pub partition: String,
    /// `AKIA…`.
    pub access_key_id: String,
    /// Its secret.
    pub secret: Secret,
    /// What it may do.
    pub policies: Vec<Policy>,
}

impl User {
    /// What principals match on.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes {
            arn: &self.arn,
            principal_arn: &self.arn,
            unique_id: &self.id,
            account: &self.account,
            partition: &self.partition,
            service: None,
        }
    }
}

/// Everything the fake knows of IAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The account of names that state none.
    pub account: Account,
    roles: BTreeMap<(String, String), Role>,
    users: BTreeMap<String, Arc<User>>,
    generations: BTreeMap<(String, String), u64>,
}

impl World {
    /// An account with nobody in it.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self {
            account,
            roles: BTreeMap::new(),
            users: BTreeMap::new(),
            generations: BTreeMap::new(),
        }
    }

    /// The role of that account and name. The path takes no part: IAM keeps names unique without it.
    #[must_use]
    pub fn role(&self, account: &str, name: &str) -> Option<&Role> {
        self.roles.get(&(account.to_owned(), name.to_owned()))
    }

    /// The role with exactly that ARN, path included.
    #[must_use]
    pub fn role_by_arn(&self, arn: &RoleArn) -> Option<&Role> {
        self.role(&arn.account, &arn.name).filter(|role| role.arn == *arn)
    }

    /// The owner of a long-lived key.
    #[must_use]
    pub fn user(&self, access_key_id: &str) -> Option<&Arc<User>> {
        self.users.get(access_key_id)
    }

    /// Every role.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// Adds a user; false when the key is taken.
    pub fn add_user(&mut self, user: User) -> bool {
        let free = !self.users.contains_key(&user.access_key_id);
        if free {
            self.users.insert(user.access_key_id.clone(), Arc::new(user));
        }
        free
    }

    /// Makes a role, or changes the one of that name, which keeps its id. The stored role's id is derived from the seed.
    pub fn put_role(&mut self, mut role: Role, seed: &Seed) -> &Role {
        let key = (role.arn.account.clone(), role.arn.name.clone());
        let generation = self.generations.get(&key).copied().unwrap_or_default();
        role.id = role_id(seed, &key.0, &key.1, generation);
        let slot = self.roles.entry(key).or_insert_with(|| role.clone());
        *slot = role;
        slot
    }

    /// Deletes a role. As in IAM, trust policies that named it keep its unique id instead, so a role made again under that name is
    /// another principal.
    pub fn delete_role(&mut self, account: &str, name: &str) -> Option<Role> {
        let key = (account.to_owned(), name.to_owned());
        let gone = self.roles.remove(&key)?;
        *self.generations.entry(key).or_default() += 1;
        let arn = gone.arn.to_string();
        let named = self.roles.values_mut().flat_map(|role| &mut role.trust.statements);
        for principal in named
            .filter_map(|statement| statement.principals.as_mut())
            .flat_map(|list| &mut list.named)
        {
            if matches!(principal, Principal::Arn(text) if *text == arn) {
                *principal = Principal::UniqueId(gone.id.clone());
            }
        }
        Some(gone)
    }
}

/// The unique id of a role: 21 characters, as long as the real ones.
#[must_use]
pub fn role_id(seed: &Seed, account: &str, name: &str, generation: u64) -> String {
    format!("AROA{}", seed.base32(&format!("role:{account}:{name}"), generation, 17))
}

/// The unique id of a user.
#[must_use]
pub fn user_id(seed: &Seed, account: &str, name: &str) -> String {
    format!("AIDA{}", seed.base32(&format!("user:{account}:{name}"), 0, 17))
}
