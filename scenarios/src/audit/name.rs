//! Words of an answer that may be shown: names of roles, and nothing that could be a secret instead of one. Pure.

use std::fmt;

/// What a caller must not see again: a token, for as long as it is sent on.
#[derive(Clone)]
pub(super) struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("** hidden **")
    }
}

impl Hidden {
    /// A token that can be sent as a header's value.
    pub(super) fn token(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?.trim();
        let is_sendable = (1..=4096).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_sendable.then(|| Self(text.to_owned()))
    }

    /// For the header that it goes into.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

/// The longest name that IAM gives a role.
const NAME_AT_MOST: usize = 64;

/// A role's name as somebody answered it.
#[derive(Clone)]
pub(super) struct RoleName {
    name: String,
    /// What it was read from looks like a secret.
    is_doubtful: bool,
}

impl PartialEq for RoleName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for RoleName {}

impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl RoleName {
    /// Reads a name in IAM's grammar.
    pub(super) fn read(text: &str) -> Option<Self> {
        let is_name = (1..=NAME_AT_MOST).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte));
        is_name.then(|| Self {
            name: text.to_owned(),
            is_doubtful: looks_secret(text),
        })
    }

    /// The role of an ARN: of a role, of a session of one, or of an instance profile.
    pub(super) fn of_arn(arn: &str) -> Option<Self> {
        // arn:partition:service:region:account:resource
        let resource = arn.strip_prefix("arn:")?.splitn(5, ':').nth(4)?;
        let (kind, rest) = resource.split_once('/')?;
        let name = match kind {
            "role" | "instance-profile" => Self::read(rest.rsplit('/').next()?)?,
            "assumed-role" => Self::read(rest.split('/').next()?)?,
            _ => return None,
        };
        Some(Self {
            // A secret may have slashes: a piece of one is no name either.
            is_doubtful: name.is_doubtful || looks_secret(rest),
            ..name
        })
    }

    /// For a path or a comparison.
    pub(super) fn raw(&self) -> &str {
        &self.name
    }

    /// The name, or how long it is where it looks more like a secret: an answer is somebody else's to choose.
    pub(super) fn shown(&self) -> String {
        if self.is_doubtful {
            format!("a name of {} characters", self.name.len())
        } else {
            self.name.clone()
        }
    }
}

/// Whether a word has the shape of a secret access key (40 characters of base64), a session token (56), an access key id, a JWT or a session's token.
pub(super) fn looks_secret(word: &str) -> bool {
    let starts = ["AKIA", "ASIA", "IQoJ", "FwoG", "AQAEA", "eyJ"];
    let mut runs = word.split(|letter: char| !(letter.is_ascii_alphanumeric() || "+/=".contains(letter)));
    let has_long_run =
        runs.any(|run| run.len() >= 40 || run.len() >= 30 && run.bytes().any(|byte| byte.is_ascii_digit()));
    matches!(word.len(), 40 | 56)
        || word.ends_with("==")
        || starts.iter().any(|start| word.starts_with(start))
        || has_long_run
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn roles_are_read_from_lists_and_arns() {
        let of = |arn: &str| RoleName::of_arn(arn).map(|name| name.name);
        assert_eq!(
            of("arn:aws:iam::123456789012:role/team/ci-deploy").as_deref(),
            Some("ci-deploy")
        );
        assert_eq!(
            of("arn:aws:sts::123456789012:assumed-role/ci-deploy/20-302").as_deref(),
            Some("ci-deploy")
        );
        assert_eq!(of("arn:aws-cn:iam::1:instance-profile/host").as_deref(), Some("host"));
        assert_eq!(of("arn:aws:iam::1:user/somebody"), None);
        assert_eq!(RoleName::read("two words"), None);
        assert_eq!(RoleName::read(""), None);
    }

    #[test]
    fn a_name_that_looks_like_a_secret_is_counted_instead() {
        for secret in [
            "wJalrXUtnFEMIAK7MDENGAbPxRfiCYEXAMPLEKEY",
            "ASIAIOSFODNN7EXAMPLE",
            "AQAEAIXkhdOR3sIqAVRdg0mVAdHYRr_fkfFDU7SDzH9whlWZJwANKg==",
            "ci-wJalrXUtnFEMIAK7MDENGAbPxRfiCYEXAMPLEKEY",
        ] {
            let shown = RoleName::read(secret).unwrap().shown();
            assert_eq!(shown, format!("a name of {} characters", secret.len()));
        }
        for name in [
            "ci-deploy",
            "AWSReservedSSO_AdministratorAccess_0123456789abcdef",
            "lab-host",
        ] {
            assert_eq!(RoleName::read(name).unwrap().shown(), name);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in ".{0,80}") {
            let _ = (RoleName::read(&text), RoleName::of_arn(&text), looks_secret(&text), Hidden::token(text.as_bytes()));
        }
    }
}
