//! For those who come from another metadata proxy: what its settings mean here, in which forms its jobs name roles, and which role it would
//! have given. Pure; `reload` reads the file of settings.
//!
//! Nothing of this sanctions anything: a job selects among the roles of its rule, and what observe mode gives is on a list of the operator's.

mod before;
mod environment;
mod examine;
mod form;
mod register;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use environment::{Broken, Entry, read as read_entries};
pub use examine::{Assessment, Examined, Finding, examine};
pub use form::Asked;
pub use register::{Fate, Setting, VARIABLES, common};

use crate::config::{Account, ExternalId, Home, NameFault, Role};

/// A proxy that jobs may have been written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// jippi/go-metadataproxy
    GoMetadataproxy,
    /// lyft/metadataproxy
    Lyft,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 2] = [Self::GoMetadataproxy, Self::Lyft];

    /// Its word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GoMetadataproxy => "go-metadataproxy",
            Self::Lyft => "lyft",
        }
    }

    /// The repository.
    #[must_use]
    pub const fn repository(self) -> &'static str {
        match self {
            Self::GoMetadataproxy => "jippi/go-metadataproxy",
            Self::Lyft => "lyft/metadataproxy",
        }
    }

    /// Reads the word of the configuration.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == text)
    }
}

/// Whether what the rules refuse is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// Not yet: it is answered as the earlier proxy would have, from a list of roles, and recorded.
    Observe,
}

/// `[compat]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compat {
    /// Whose users come.
    pub profile: Profile,
    /// Its settings, as `NAME=value` lines.
    pub environment_file: Option<PathBuf>,
    /// Settings that are refused, and of which the operator knows.
    pub given_up: BTreeSet<String>,
    /// Whether what the rules refuse is refused.
    pub mode: Mode,
    /// What observe mode may give, with what STS is told as external id.
    pub observed: BTreeMap<Role, Option<ExternalId>>,
    /// What was taken over from the file of settings.
    pub adopted: Adopted,
}

/// What is taken over from the file of settings. None of it sanctions a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Accounts by their aliases.
    pub accounts: BTreeMap<String, Account>,
    /// What a container got that named no role. Only observe mode gives it.
    pub default_role: Option<Asked>,
}

impl Compat {
    /// Reads a role as the earlier proxy did.
    ///
    /// # Errors
    /// It is in none of its forms, or of an account that is not listed.
    pub fn read_role(&self, text: &str, home: &Home) -> Result<Asked, NameFault> {
        form::read(text, self.profile, &self.adopted.accounts, home)
    }

    /// What an operator should know of it although it is no fault.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let roles: Vec<&str> = self.observed.keys().map(Role::name).collect();
        match self.mode {
            Mode::Observe => vec![format!(
                "NOTHING IS ENFORCED: compat.mode is \"observe\", and a container that the rules refuse is given {} whenever {} would have given \
                 it that; each such answer is an audit record with reason \"observed\"",
                roles.join(" or "),
                self.profile.repository()
            )],
            Mode::Enforce if !roles.is_empty() => vec![
                "compat.observed_roles says nothing while compat.mode is \"enforce\": remove it once nobody wants the way back"
                    .to_owned(),
            ],
            Mode::Enforce => Vec::new(),
        }
    }
}
