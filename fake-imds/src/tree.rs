//! The metadata tree: leaves by path, listings made from them, each since the version that brought it.
//! It must not know which leaves an instance has.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;

use crate::credentials::Kind;
use crate::identity::Form;
use crate::version::Version;

/// What a leaf holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// Text.
    Text(Bytes),
    /// Text that changed then.
    Notice(Bytes, Timestamp),
    /// The instance's user data, bytes as given.
    UserData(Bytes),
    /// Credentials, issued when asked for.
    Credentials(Kind),
    /// Credentials of the role, with the account they are of.
    Extended,
    /// JSON, and called so.
    Json(Bytes),
    /// What changes with every request.
    Live(Live),
    /// A signature of the identity document, made when asked for.
    Signature(Form),
}

/// What says something else whenever it is asked, unless its time was stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// A spot interruption two minutes from now.
    SpotAction {
        /// What happens.
        action: String,
        /// When, if stated.
        time: Option<String>,
    },
    /// Its time alone.
    SpotTime {
        /// When, if stated.
        time: Option<String>,
    },
    /// A rebalance recommendation of now.
    Rebalance {
        /// When, if stated.
        time: Option<String>,
    },
}

/// What stands at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A leaf.
    Leaf(Leaf),
    /// A listing.
    Listing(String),
}

/// The tree below a version.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    leaves: BTreeMap<String, (Version, Leaf)>,
    shown: BTreeMap<String, String>,
}

impl Tree {
    /// Puts a leaf there.
    pub fn put(&mut self, since: Version, path: impl Into<String>, leaf: Leaf) {
        self.leaves.insert(path.into(), (since, leaf));
    }

    /// Puts a text there.
    pub fn text(&mut self, since: Version, path: impl Into<String>, text: impl Into<String>) {
        self.put(since, path, Leaf::Text(Bytes::from(text.into())));
    }

    /// Lists the folder at this path under another name, as `public-keys/` lists `0=KEYNAME`.
    pub fn show(&mut self, path: impl Into<String>, name: impl Into<String>) {
        self.shown.insert(path.into(), name.into());
    }

    /// What a version has at a path. A leaf answers with and without a trailing slash, and so does a listing. Whatever stands below a `hidden` path is not
    /// there.
    pub fn find(&self, version: Version, path: &str, hidden: Option<&str>) -> Option<Found> {
        let seen = |name: &str| !hidden.is_some_and(|hidden| below(hidden, name));
        if let Some((since, leaf)) = self.leaves.get(path) {
            return (*since <= version && seen(path)).then(|| Found::Leaf(leaf.clone()));
        }
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let inside = self
            .leaves
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix));
        let mut names = BTreeSet::new();
        for (name, _) in inside.filter(|(name, (since, _))| *since <= version && seen(name)) {
            let rest = name.strip_prefix(&prefix).unwrap_or(name);
            names.insert(match rest.split_once('/') {
                None => rest.to_owned(),
                // The listing of a version shows its folders without a slash (captures).
                Some((folder, _)) if prefix.is_empty() => folder.to_owned(),
                Some((folder, _)) => match self.shown.get(&format!("{prefix}{folder}")) {
                    Some(shown) => shown.clone(),
                    None => format!("{folder}/"),
                },
            });
        }
        let names: Vec<String> = names.into_iter().collect();
        (!names.is_empty()).then(|| Found::Listing(names.join("\n")))
    }

    /// All paths with leaves, for tests that walk the tree.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.leaves.keys().map(String::as_str)
    }
}

/// Whether a name is the folder or stands in it.
fn below(folder: &str, name: &str) -> bool {
    name.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.text(Version::FIRST, "meta-data/ami-id", "ami-1");
        tree.text(Version::since("2012-01-12"), "meta-data/iam/info", "{}");
        tree.text(Version::FIRST, "meta-data/public-keys/0/openssh-key", "ssh-rsa");
        tree.show("meta-data/public-keys/0", "0=lab");
        tree.text(Version::FIRST, "user-data", "x");
        tree
    }

    fn listing(version: &str, path: &str) -> Option<String> {
        match tree().find(Version::named(version).unwrap(), path, None)? {
            Found::Listing(text) => Some(text),
            Found::Leaf(_) => None,
        }
    }

    #[test]
    fn folders_are_listed_with_a_slash_except_below_a_version() {
        assert_eq!(listing("latest", "").unwrap(), "meta-data\nuser-data");
        assert_eq!(listing("latest", "meta-data").unwrap(), "ami-id\niam/\npublic-keys/");
        assert_eq!(listing("latest", "meta-data/public-keys").unwrap(), "0=lab");
    }

    #[test]
    fn a_category_is_absent_before_its_release() {
        assert_eq!(listing("2009-04-04", "meta-data").unwrap(), "ami-id\npublic-keys/");
        assert_eq!(
            tree().find(Version::named("2009-04-04").unwrap(), "meta-data/iam/info", None),
            None
        );
        assert_eq!(
            tree().find(Version::named("2009-04-04").unwrap(), "meta-data/iam", None),
            None
        );
    }

    #[test]
    fn what_is_hidden_is_neither_found_nor_listed() {
        let found = |path| tree().find(Version::LATEST, path, Some("meta-data/iam"));
        assert_eq!(found("meta-data/iam/info"), None);
        assert_eq!(found("meta-data/iam"), None);
        assert_eq!(
            found("meta-data"),
            Some(Found::Listing("ami-id\npublic-keys/".to_owned()))
        );
    }

    #[test]
    fn part_of_a_name_is_nothing() {
        assert_eq!(tree().find(Version::LATEST, "meta-data/ami", None), None);
        assert_eq!(tree().find(Version::LATEST, "meta", None), None);
        assert_eq!(tree().find(Version::LATEST, "meta-data/ami-id/x", None), None);
    }
}
