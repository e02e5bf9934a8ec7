//! What a fake states about a request, by name. Faults match on it and the ledger keeps it. It must not know which names there are.

use std::borrow::Cow;
use std::fmt;

/// A few named texts, in the order in which they were stated. No name stands twice.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<(&'static str, Cow<'static, str>)>);

impl Facts {
    /// Nothing stated yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// States that, instead of what was stated under this name.
    pub fn insert(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// What is stated under a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Takes back what was stated under a name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| *known != name);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_ref()))
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<const N: usize> From<[(&'static str, Cow<'static, str>); N]> for Facts {
    /// The first of each name counts; a fake names none twice.
    fn from(stated: [(&'static str, Cow<'static, str>); N]) -> Self {
        Self(stated.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_value_and_the_last_counts() {
        let mut facts = Facts::from([("path", "/a".into()), ("method", "GET".into())]);
        facts.insert("path", "/b".to_owned());
        facts.insert("colour", "red");
        facts.remove("method");
        assert_eq!((facts.get("path"), facts.get("method")), (Some("/b"), None));
        let all: Vec<_> = facts.iter().collect();
        assert_eq!(all, [("path", "/b"), ("colour", "red")]);
    }
}
