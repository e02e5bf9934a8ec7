//! Changes of a world. Unique ids are given here, and principals that vanish leave theirs in the trust policies that named them. It must
//! not judge whether a change is allowed.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use fake_kit::seed::Seed;
use serde_json::Value;

use super::{AccessKey, Key, Managed, OidcProvider, Profile, Role, SamlProvider, User, World, role_id, user_id};
use crate::policy::{Document, Kind, Principal, read_document};

impl World {
    /// Adds a user, or changes the one of that name, which keeps its id.
    pub fn put_user(&mut self, mut user: User, seed: &Seed) -> Arc<User> {
        let key = user.key();
        user.id = user_id(seed, &key.0, &key.1, self.generation("user", &key));
        let user = Arc::new(user);
        self.users.insert(key, Arc::clone(&user));
        user
    }

    /// Adds a key; false when the id is taken.
    pub fn add_key(&mut self, key: AccessKey) -> bool {
        let free = !self.keys.contains_key(&key.id);
        if free {
            self.keys.insert(key.id.clone(), key);
        }
        free
    }

    /// Switches a key on or off; false when its owner has none of that id.
    pub fn set_key(&mut self, owner: &Key, id: &str, active: bool) -> bool {
        let found = self.keys.get_mut(id).filter(|key| key.owner == *owner);
        found.is_some_and(|key| {
            key.active = active;
            true
        })
    }

    /// Deletes a key; false when its owner has none of that id.
    pub fn remove_key(&mut self, owner: &Key, id: &str) -> bool {
        let own = self.keys.get(id).is_some_and(|key| key.owner == *owner);
        own && self.keys.remove(id).is_some()
    }

    /// Deletes a user with its keys.
    pub fn delete_user(&mut self, key: &Key) -> Option<Arc<User>> {
        let gone = self.users.remove(key)?;
        self.keys.retain(|_, held| held.owner != *key);
        self.retire("user", key, &gone.arn, &gone.id);
        Some(gone)
    }

    /// Makes a role, or changes the one of that name, which keeps its id. The stored role's id is derived from the seed.
    pub fn put_role(&mut self, mut role: Role, seed: &Seed) -> &Role {
        let key = (role.arn.account.clone(), role.arn.name.clone());
        role.id = role_id(seed, &key.0, &key.1, self.generation("role", &key));
        match self.roles.entry(key) {
            Entry::Occupied(mut taken) => {
                taken.insert(role);
                taken.into_mut()
            }
            Entry::Vacant(free) => free.insert(role),
        }
    }

    /// A role, to change.
    pub fn role_mut(&mut self, key: &Key) -> Option<&mut Role> {
        self.roles.get_mut(key)
    }

    /// Deletes a role.
    pub fn delete_role(&mut self, account: &str, name: &str) -> Option<Role> {
        let key = (account.to_owned(), name.to_owned());
        let gone = self.roles.remove(&key)?;
        self.retire("role", &key, &gone.arn.to_string(), &gone.id);
        Some(gone)
    }

    /// Adds a managed policy, or changes it.
    pub fn put_managed(&mut self, managed: Managed) {
        self.managed.insert(managed.arn.clone(), managed);
    }

    /// Deletes a managed policy.
    pub fn delete_managed(&mut self, arn: &str) -> Option<Managed> {
        self.managed.remove(arn)
    }

    /// Adds an instance profile, or changes it.
    pub fn put_profile(&mut self, account: &str, profile: Profile) {
        self.profiles
            .insert((account.to_owned(), profile.name.clone()), profile);
    }

    /// Deletes an instance profile.
    pub fn delete_profile(&mut self, account: &str, name: &str) -> Option<Profile> {
        self.profiles.remove(&(account.to_owned(), name.to_owned()))
    }

    /// Registers an identity provider, or changes it.
    pub fn put_provider(&mut self, provider: OidcProvider) {
        self.providers.insert(provider.arn.clone(), provider);
    }

    /// Deletes an identity provider.
    pub fn delete_provider(&mut self, arn: &str) -> Option<OidcProvider> {
        self.providers.remove(arn)
    }

    /// Registers a SAML provider, or changes it.
    pub fn put_saml_provider(&mut self, provider: SamlProvider) {
        self.saml_providers.insert(provider.arn.clone(), provider);
    }

    /// Deletes a SAML provider.
    pub fn delete_saml_provider(&mut self, arn: &str) -> Option<SamlProvider> {
        self.saml_providers.remove(arn)
    }

    fn generation(&self, kind: &'static str, key: &Key) -> u64 {
        self.generations.get(&(kind, key.clone())).copied().unwrap_or_default()
    }

    /// As in IAM, trust policies that named a principal keep its unique id once it is gone, so one that is made again under that name is
    /// another principal.
    fn retire(&mut self, kind: &'static str, key: &Key, arn: &str, id: &str) {
        *self.generations.entry((kind, key.clone())).or_default() += 1;
        for role in self.roles.values_mut() {
            if names(&role.trust, arn)
                && let Some(renamed) = rename(&role.trust, arn, id)
            {
                role.trust = Arc::new(renamed);
            }
        }
    }
}

fn names(document: &Document, arn: &str) -> bool {
    // Its name stands in the text, unless letters of the text are written as escapes.
    let name = arn.rsplit('/').next().unwrap_or(arn);
    if !document.text.contains(name) && !document.text.contains('\\') {
        return false;
    }
    let statements = document.policy().statements.iter();
    statements
        .filter_map(|statement| statement.principals.as_ref())
        .flat_map(|list| &list.named)
        .any(|principal| matches!(principal, Principal::Arn(text) if text == arn))
}

/// The document with an ARN replaced by a unique id wherever a principal is named. Conditions keep the ARN, as they do in IAM.
fn rename(document: &Document, arn: &str, id: &str) -> Option<Document> {
    let mut value: Value = serde_json::from_str(&document.text).ok()?;
    let statements: Vec<&mut Value> = match value.get_mut("Statement")? {
        Value::Array(list) => list.iter_mut().collect(),
        one => vec![one],
    };
    for statement in statements {
        for element in ["Principal", "NotPrincipal"] {
            if let Some(named) = statement.get_mut(element).and_then(|element| element.get_mut("AWS")) {
                replace(named, arn, id);
            }
        }
    }
    read_document(&value.to_string(), Kind::Trust).ok()
}

fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(|one| replace(one, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {}
    }
}
