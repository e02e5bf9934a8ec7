//! What STS is told of who a session is for: its name, tags and source identity. Knows no file and no container.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Field, Template};

/// Tags that STS takes for one session.
pub const TAGS_MAX: usize = 50;

/// The name of a session tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagKey(String);

impl TagKey {
    /// # Errors
    /// Unless STS takes the text as a tag's name. Of letters, those of ASCII.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !(1..=128).contains(&text.len()) {
            return Err("a tag's name has 1 to 128 characters");
        }
        if text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err("names that begin with aws: are those of AWS");
        }
        let good = |b: u8| b.is_ascii_alphanumeric() || b" _.:/=+-@".contains(&b);
        if text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err("STS does not take one of the characters in a tag's name")
        }
    }

    /// The text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether STS takes both for the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Display for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What STS is told of who a rule's sessions are for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `RoleSessionName`
    pub name: Template,
    /// `Tags`, at most [`TAGS_MAX`]. The role's trust policy must allow `sts:TagSession`.
    pub tags: BTreeMap<TagKey, Template>,
    /// `TransitiveTagKeys`: the tags that sessions made from this one keep.
    pub transitive: BTreeSet<TagKey>,
    /// `SourceIdentity`. The role's trust policy must allow `sts:SetSourceIdentity`.
    pub source_identity: Option<Template>,
}

impl Identity {
    /// Whether tags or source identity, by which policies may allow something, depend on the field.
    #[must_use]
    pub fn is_told(&self, field: Field) -> bool {
        let mut templates = self.tags.values().chain(&self.source_identity);
        templates.any(|template| template.names(field))
    }

    /// Every template.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        [&self.name]
            .into_iter()
            .chain(self.tags.values())
            .chain(&self.source_identity)
    }
}

#[cfg(test)]
mod tests {
    use super::TagKey;

    #[test]
    fn a_tag_is_named_as_sts_takes_it() {
        for good in [
            "project",
            "gitlab:project",
            "Cost Center",
            "a/b=c+d-e@f.g_h",
            &"x".repeat(128),
        ] {
            assert_eq!(TagKey::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "aws:project", "AWS:project", "a,b", "ä", "a\nb", &"x".repeat(129)] {
            assert!(TagKey::parse(bad).is_err(), "{bad}");
        }
    }
}
