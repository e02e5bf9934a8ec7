//! From the path of a request to a place in the tree: exactly as written, or with every tolerance that was ever reported of the real
//! service. It must not know what is at the place, nor who asks.

use std::borrow::Cow;

use crate::version::Version;

/// How much the fake tolerates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// As captured from EC2; where captures are silent, the stricter reading.
    Ec2,
    /// The worst credible upstream: merges slashes, resolves dot segments also when encoded, ignores what follows a role name,
    /// answers HEAD and POST like GET, accepts every version.
    Lenient,
    /// amazon-ec2-metadata-mock: its values, listings and error pages; with --world, that world with its error pages.
    Aemm,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// `/`: the list of versions.
    Versions,
    /// Something under a version.
    Under {
        /// The version.
        version: Version,
        /// The segments behind the version, joined by `/`, without leading or trailing slash.
        path: Cow<'a, str>,
        /// Whether the request's path ended in a slash.
        slash: bool,
    },
    /// Nothing that could be there.
    Nowhere,
}

/// What follows these and one more segment is ignored by the lenient profile.
const CREDENTIAL_FOLDERS: [&str; 2] = [
    "meta-data/iam/security-credentials",
    "meta-data/identity-credentials/ec2/security-credentials",
];

impl<'a> Place<'a> {
    /// Reads the path of a request target, without query.
    pub fn of(profile: Profile, path: &'a str) -> Self {
        match profile {
            Profile::Ec2 | Profile::Aemm => strict(path),
            Profile::Lenient => lenient(path),
        }
    }

    /// The path that was understood, for the ledger; of what was not, the path as received.
    pub fn canonical(&self, received: &str) -> String {
        match self {
            Self::Versions => "/".to_owned(),
            Self::Under { version, path, slash } => {
                let mut text = String::with_capacity(received.len());
                for part in [
                    "/",
                    version.name(),
                    if path.is_empty() { "" } else { "/" },
                    path,
                    if *slash { "/" } else { "" },
                ] {
                    text.push_str(part);
                }
                text
            }
            Self::Nowhere => received.to_owned(),
        }
    }
}

fn strict(path: &str) -> Place<'_> {
    let Some(rest) = path.strip_prefix('/') else {
        return Place::Nowhere;
    };
    if rest.is_empty() {
        return Place::Versions;
    }
    let (name, inner) = rest
        .split_once('/')
        .map_or((rest, None), |(name, inner)| (name, Some(inner)));
    let Some(version) = Version::named(name) else {
        return Place::Nowhere;
    };
    let (inner, slash) = match inner {
        None => ("", false),
        Some("") => ("", true),
        Some(inner) => inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true)),
    };
    // No name in the tree is empty or made of dots, and nothing is decoded: what is not canonical is nowhere.
    let odd = |segment: &str| matches!(segment, "" | "." | "..");
    if !inner.is_empty() && inner.split('/').any(odd) || path.ends_with("//") {
        return Place::Nowhere;
    }
    Place::Under {
        version,
        path: inner.into(),
        slash,
    }
}

fn lenient(path: &str) -> Place<'static> {
    let decoded = decode(path);
    let slash = decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..");
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let Some((name, inner)) = segments.split_first() else {
        return Place::Versions;
    };
    let version = match Version::named(name) {
        Some(version) => version,
        None if dated(name) => Version::LATEST,
        None => return Place::Nowhere,
    };
    let mut path = inner.join("/");
    let mut slash = slash;
    for folder in CREDENTIAL_FOLDERS {
        let role = path
            .strip_prefix(folder)
            .and_then(|rest| rest.strip_prefix('/'))
            .map(str::to_owned);
        if let Some((role, _)) = role.as_deref().and_then(|role| role.split_once('/')) {
            path = format!("{folder}/{role}");
            slash = false;
        }
    }
    let path = path.into();
    Place::Under { version, path, slash }
}

/// Anything that could be meant as a version: digits with dots or dashes.
fn dated(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
        && name.bytes().any(|b| b.is_ascii_digit())
}

/// Percent-decodes once; what is no escape stays, and what is no UTF-8 is replaced.
fn decode(path: &str) -> String {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let escape = (byte == b'%')
            .then(|| Some((hex(ahead.next()?)?, hex(ahead.next()?)?)))
            .flatten();
        match escape {
            Some((high, low)) => {
                decoded.push(high * 16 + low);
                bytes = ahead;
            }
            None => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROLE: &str = "/latest/meta-data/iam/security-credentials/lab-host";

    fn under(path: &str, slash: bool) -> Place<'_> {
        Place::Under {
            version: Version::LATEST,
            path: path.into(),
            slash,
        }
    }

    #[test]
    fn canonical_paths_are_the_same_place_in_every_profile() {
        for profile in [Profile::Ec2, Profile::Lenient, Profile::Aemm] {
            assert_eq!(Place::of(profile, "/"), Place::Versions);
            assert_eq!(Place::of(profile, "/latest"), under("", false));
            assert_eq!(Place::of(profile, "/latest/"), under("", true));
            assert_eq!(
                Place::of(profile, "/latest/meta-data/iam/"),
                under("meta-data/iam", true)
            );
            assert_eq!(
                Place::of(profile, ROLE),
                under("meta-data/iam/security-credentials/lab-host", false)
            );
            assert_eq!(
                Place::of(profile, "/latest/api/token").canonical("x"),
                "/latest/api/token"
            );
        }
    }

    #[test]
    fn the_lenient_profile_finds_the_role_behind_every_disguise() {
        for path in [
            "//latest/meta-data/iam/security-credentials/lab-host",
            "/latest//meta-data/iam///security-credentials/lab-host",
            "/x/../latest/./meta-data/iam/security-credentials/lab-host",
            "/%2e%2E/latest/meta-data/iam/security-credentials/lab-host",
            "/latest/meta-data/x/%2e./iam/security-credentials/lab-host",
            "/latest/meta-data/iam%2fsecurity-credentials/lab-host",
            "/latest/meta-data/iam/security-credentials/lab-host/x/y",
            "/9999-99-99/meta-data/iam/security-credentials/lab-host",
            "/0/meta-data/iam/security-credentials/lab-host",
            "/../../latest/meta-data/iam/security-credentials/lab-h%6fst",
        ] {
            let place = Place::of(Profile::Lenient, path);
            assert_eq!(
                place,
                under("meta-data/iam/security-credentials/lab-host", false),
                "{path}"
            );
            assert_ne!(Place::of(Profile::Ec2, path), place, "{path}");
        }
    }

    #[test]
    fn nothing_is_decoded_twice() {
        let place = Place::of(Profile::Lenient, "/latest/meta-data/iam%252fsecurity-credentials");
        assert_eq!(place, under("meta-data/iam%2fsecurity-credentials", false));
    }

    proptest! {
        #[test]
        fn the_lenient_profile_survives_any_path(path in "\\PC{0,60}") {
            let _place = Place::of(Profile::Lenient, &path);
        }

        #[test]
        fn the_lenient_profile_survives_paths_made_of_trouble(path in "[/.%2eEfF5c;\\\\\u{0}-\u{7f}]{0,40}") {
            if let Place::Under { path, .. } = Place::of(Profile::Lenient, &path) {
                prop_assert!(!path.starts_with('/') && !path.contains("//"));
            }
        }

        #[test]
        fn the_strict_profile_knows_only_canonical_paths(path in "(/|//|\\.|\\.\\.|%2e|%2f|latest|1\\.0|meta-data|iam|security-credentials|lab-host){0,12}") {
            match Place::of(Profile::Ec2, &path) {
                place @ (Place::Versions | Place::Under { .. }) => prop_assert_eq!(place.canonical("?"), path),
                Place::Nowhere => {}
            }
        }
    }
}
