//! Which role the earlier proxy would have given, of those that observe mode may give.

use super::{Compat, Mode, Profile};
use crate::config::{ExternalId, Home, Role};

const KEY: &str = "IAM_ROLE";

/// What the earlier proxy read in a container's environment.
#[derive(Debug, PartialEq, Eq)]
enum Selected<'e> {
    /// This.
    Role(&'e str),
    /// Nothing: it gave its default role.
    Nothing,
    /// What it failed at: it gave nothing.
    Broken,
}

impl Compat {
    /// The role that the earlier proxy would have given a container with this environment, with its external id; None if it would have given
    /// none, or one that is not on the list, or if nothing is given that way.
    #[must_use]
    pub fn before(&self, env: &[String], home: &Home) -> Option<(&Role, Option<&ExternalId>)> {
        if self.mode != Mode::Observe {
            return None;
        }
        let asked = match select(self.profile, env) {
            Selected::Role(text) => self.read_role(text, home).ok()?,
            Selected::Nothing => self.adopted.default_role.clone()?,
            Selected::Broken => return None,
        };
        let role = asked.find(self.observed.keys())?;
        Some((role, self.observed.get(role)?.as_ref()))
    }
}

fn select(profile: Profile, env: &[String]) -> Selected<'_> {
    let mut values = env.iter().filter_map(|entry| match entry.split_once('=') {
        Some((KEY, value)) => Some(Some(value)),
        Some(_) => None,
        None => (entry == KEY).then_some(None),
    });
    match profile {
        // The first one, even if it is empty, which no role is.
        Profile::GoMetadataproxy => match values.next() {
            Some(Some(value)) => Selected::Role(value),
            Some(None) => Selected::Broken,
            None => Selected::Nothing,
        },
        // The last one, unless any entry cannot be taken apart.
        Profile::Lyft if env.iter().any(|entry| !entry.contains('=')) => Selected::Broken,
        Profile::Lyft => match values.next_back().flatten() {
            Some("") | None => Selected::Nothing,
            Some(value) => Selected::Role(value),
        },
    }
}
