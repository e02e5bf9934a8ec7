//! What a scenario is played against, and its word in reports. Pure.

use crate::case::model::{Case, Defence, Opening};

/// What stands in the defence's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// The defence itself.
    Defence(Defence),
    /// weak-proxy with this switch, judged by what the case expects of the proxy.
    Weak(String),
    /// weak-proxy with every hole closed: what turns red against a hole must hold here, or it is red for another reason.
    Closed,
    /// The first defence, judged by what the case expects of the second.
    InPlaceOf(Defence, Defence),
    /// The defence itself, while something else is open.
    Opened(Defence, Opening),
}

impl Standing {
    /// The word for reports.
    pub fn label(&self) -> String {
        match self {
            Self::Defence(defence) => defence.to_string(),
            Self::Weak(hole) => format!("weak-proxy({hole})"),
            Self::Closed => "weak-proxy".to_owned(),
            Self::InPlaceOf(stands, of) => format!("{stands} for {of}"),
            Self::Opened(defence, opening) => format!("{defence}({opening})"),
        }
    }

    /// Reads the word of a report.
    pub fn parse(label: &str) -> Option<Self> {
        if label == Self::Closed.label() {
            return Some(Self::Closed);
        }
        if let Some((stands, of)) = label.split_once(" for ") {
            return Some(Self::InPlaceOf(Defence::parse(stands)?, Defence::parse(of)?));
        }
        match label.strip_suffix(')').and_then(|label| label.split_once('(')) {
            Some(("weak-proxy", hole)) => Some(Self::Weak(hole.to_owned())),
            Some((defence, opening)) => Some(Self::Opened(Defence::parse(defence)?, Opening::parse(opening)?)),
            None => Defence::parse(label).map(Self::Defence),
        }
    }

    /// Everything that the case's hole asks for.
    pub fn holes(case: &Case) -> Vec<Self> {
        let main = case.main_defence();
        let weak = case.hole.weak.iter().cloned().map(Self::Weak);
        let closed = (!case.hole.weak.is_empty()).then_some(Self::Closed);
        let opened = case.hole.openings().map(|opening| Self::Opened(main, opening));
        let instead = case.hole.defence.iter().map(|stands| Self::InPlaceOf(*stands, main));
        weak.chain(closed).chain(opened).chain(instead).collect()
    }

    /// The defence that is set up; none of its own where weak-proxy stands for one.
    pub const fn own(&self) -> Defence {
        match self {
            Self::Defence(defence) | Self::InPlaceOf(defence, _) | Self::Opened(defence, _) => *defence,
            Self::Weak(_) | Self::Closed => Defence::Proxy,
        }
    }

    /// Whose expectations count.
    pub const fn judged_as(&self) -> Defence {
        match self {
            Self::Defence(defence) | Self::InPlaceOf(_, defence) | Self::Opened(defence, _) => *defence,
            Self::Weak(_) | Self::Closed => Defence::Proxy,
        }
    }

    /// What is open beside.
    pub const fn opening(&self) -> Option<&Opening> {
        match self {
            Self::Opened(_, opening) => Some(opening),
            Self::Defence(_) | Self::Weak(_) | Self::Closed | Self::InPlaceOf(_, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_read_back() {
        let opened = |opening| Standing::Opened(Defence::Oidc, opening);
        for standing in [
            Standing::Defence(Defence::FirewallAndProxy),
            Standing::Weak("cache-by-arn".to_owned()),
            Standing::Closed,
            Standing::InPlaceOf(Defence::OidcOnly, Defence::Oidc),
            opened(Opening::Role(2)),
            opened(Opening::Sts("key-id".to_owned())),
        ] {
            assert_eq!(Standing::parse(&standing.label()), Some(standing));
        }
        for label in ["", "prayer", "oidc(door 1)", "none for prayer"] {
            assert_eq!(Standing::parse(label), None, "{label}");
        }
    }
}
