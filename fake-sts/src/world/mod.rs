//! The accounts that the fake knows: roles with their trust and identity policies, users with long-lived keys, managed policies, identity
//! providers. Read from `world.toml`, changed by IAM's API and the control API. It must not know sessions, requests or HTTP.

mod change;
mod federation;
mod holder;
mod lines;
mod read;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use fake_kit::seed::Seed;
use jiff::Timestamp;

use crate::arn::RoleArn;
use crate::policy::{Attributes, Document};
use crate::secret::Secret;

pub(crate) use federation::{bare_issuer, provider_arn, saml_provider_arn};
pub(crate) use holder::named;

pub use federation::{IssuerKind, IssuerPlan, OidcProvider, Organization, SamlProvider, SamlSource};
pub use holder::{ADMINISTRATOR, Holder};
pub use read::{Fault, Faults, read, read_role};
pub use shared::SharedWorld;

/// What is served without `--world`.
pub const DEFAULT_WORLD: &str = include_str!("default.toml");

/// Account and name: what roles, users and instance profiles are unique by. Paths take no part.
pub type Key = (String, String);

/// The account that names without an account belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// `eu-central-1`…
    pub region: String,
    /// `aws`…
    pub partition: String,
    /// Whether GetWebIdentityToken is switched on (IAM: EnableOutboundWebIdentityFederation).
    pub outbound_web_identity: bool,
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
    pub trust: Arc<Document>,
    /// What its sessions may do.
    pub holder: Holder,
    /// When it was made; `None` for those of the world file.
    pub created_at: Option<Timestamp>,
    /// Description.
    pub description: Option<String>,
}

/// An IAM user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its ARN.
    pub arn: String,
    /// `AIDA…`; another one after the user was deleted and made again.
    pub id: String,
    /// Twelve digits.
    pub account: String,
    /// `aws`…
    pub partition: String,
    /// What it may do.
    pub holder: Holder,
    /// Serial number and the one code that its second factor shows.
    pub mfa: Option<(String, Secret)>,
    /// When it was made; `None` for those of the world file.
    pub created_at: Option<Timestamp>,
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
            federated: None,
        }
    }

    /// What the world keeps it by.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.account.clone(), self.name.clone())
    }
}

/// A long-lived key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// `AKIA…`.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// Whose.
    pub owner: Key,
    /// `Active`, not `Inactive`.
    pub active: bool,
    /// When it was made; `None` for those of the world file.
    pub created_at: Option<Timestamp>,
}

/// A managed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Its ARN.
    pub arn: String,
    /// `ANPA…`.
    pub id: String,
    /// What it says.
    pub document: Arc<Document>,
    /// When it was made; `None` for those of the world file.
    pub created_at: Option<Timestamp>,
}

/// An instance profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its ARN.
    pub arn: String,
    /// `AIPA…`.
    pub id: String,
    /// The name of its role; IAM allows one.
    pub role: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

/// Everything the fake knows of IAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The account of names that state none.
    pub account: Account,
    /// The organization, if the accounts have one.
    pub organization: Option<Organization>,
    /// Issuers of tokens that the fake plays, or whose keys it knows.
    pub issuers: Vec<IssuerPlan>,
    pub(super) roles: BTreeMap<Key, Role>,
    pub(super) users: BTreeMap<Key, Arc<User>>,
    pub(super) keys: BTreeMap<String, AccessKey>,
    pub(super) managed: BTreeMap<String, Managed>,
    pub(super) profiles: BTreeMap<Key, Profile>,
    pub(super) providers: BTreeMap<String, OidcProvider>,
    pub(super) saml_providers: BTreeMap<String, SamlProvider>,
    pub(super) generations: BTreeMap<(&'static str, Key), u64>,
}

impl World {
    /// An account with nobody in it.
    #[must_use]
    pub fn new(account: Account) -> Self {
        let managed = holder::built_in(&account.partition);
        Self {
            account,
            organization: None,
            issuers: Vec::new(),
            roles: BTreeMap::new(),
            users: BTreeMap::new(),
            keys: BTreeMap::new(),
            managed: managed.into_iter().map(|one| (one.arn.clone(), one)).collect(),
            profiles: BTreeMap::new(),
            providers: BTreeMap::new(),
            saml_providers: BTreeMap::new(),
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

    /// A long-lived key.
    #[must_use]
    pub fn access_key(&self, access_key_id: &str) -> Option<&AccessKey> {
        self.keys.get(access_key_id)
    }

    /// The owner of a long-lived key.
    #[must_use]
    pub fn user(&self, access_key_id: &str) -> Option<&Arc<User>> {
        self.users.get(&self.keys.get(access_key_id)?.owner)
    }

    /// The user of that account and name.
    #[must_use]
    pub fn user_by_name(&self, account: &str, name: &str) -> Option<&Arc<User>> {
        self.users.get(&(account.to_owned(), name.to_owned()))
    }

    /// The keys of a user.
    pub fn keys_of(&self, owner: &Key) -> impl Iterator<Item = &AccessKey> {
        self.keys.values().filter(move |key| key.owner == *owner)
    }

    /// Every role.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// Every user.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// A managed policy.
    #[must_use]
    pub fn managed(&self, arn: &str) -> Option<&Managed> {
        self.managed.get(arn)
    }

    /// An identity provider.
    #[must_use]
    pub fn provider(&self, arn: &str) -> Option<&OidcProvider> {
        self.providers.get(arn)
    }

    /// Every identity provider.
    pub fn providers(&self) -> impl Iterator<Item = &OidcProvider> {
        self.providers.values()
    }

    /// A SAML provider.
    #[must_use]
    pub fn saml_provider(&self, arn: &str) -> Option<&SamlProvider> {
        self.saml_providers.get(arn)
    }

    /// Every SAML provider.
    pub fn saml_providers(&self) -> impl Iterator<Item = &SamlProvider> {
        self.saml_providers.values()
    }

    /// The provider that an account has registered for an issuer.
    #[must_use]
    pub fn provider_for(&self, account: &str, issuer: &str) -> Option<&OidcProvider> {
        let bare = bare_issuer(issuer)?;
        self.providers
            .values()
            .find(|one| one.account == account && bare_issuer(&one.url) == Some(bare))
    }

    /// The providers that an account has registered.
    pub fn providers_of(&self, account: &str) -> impl Iterator<Item = &OidcProvider> {
        self.providers.values().filter(move |one| one.account == account)
    }

    /// An instance profile.
    #[must_use]
    pub fn profile(&self, account: &str, name: &str) -> Option<&Profile> {
        self.profiles.get(&(account.to_owned(), name.to_owned()))
    }

    /// Every instance profile.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// Whether anything in the world belongs to that account, so that its principals are known.
    #[must_use]
    pub fn has_account(&self, account: &str) -> bool {
        account == self.account.id
            || self.roles.keys().any(|(own, _)| own == account)
            || self.users.keys().any(|(own, _)| own == account)
    }
}

/// The unique id of a role: 21 characters, as long as the real ones.
#[must_use]
pub fn role_id(seed: &Seed, account: &str, name: &str, generation: u64) -> String {
    format!("AROA{}", seed.base32(&format!("role:{account}:{name}"), generation, 17))
}

/// The unique id of a user.
#[must_use]
pub fn user_id(seed: &Seed, account: &str, name: &str, generation: u64) -> String {
    format!("AIDA{}", seed.base32(&format!("user:{account}:{name}"), generation, 17))
}
