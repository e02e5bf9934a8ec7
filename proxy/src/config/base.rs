//! Where the proxy's own credentials come from: one source, stated by the operator, and never a chain that goes on to the next one.

use std::path::{Path, PathBuf};

use super::names::{Home, Role};
use super::table::Fields;

/// The source of base credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// The instance profile, through the real endpoint.
    Imds,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    Environment,
    /// A profile of the files that `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` name, or of those in `HOME`.
    Profile {
        /// Its name.
        name: String,
    },
    /// AssumeRoleWithWebIdentity with the token of a file, which is read anew each time.
    WebIdentity {
        /// The role.
        role: Role,
        /// The file.
        token_file: PathBuf,
    },
}

impl Base {
    /// Whether these are credentials of a role's session, so that AWS gives the sessions that they assume one hour at most (role chaining).
    #[must_use]
    pub const fn is_session(&self) -> bool {
        matches!(self, Self::Imds | Self::WebIdentity { .. })
    }
}

/// Reads what `[aws]` says of them. None is a fault that was told.
pub(super) fn read(fields: &mut Fields<'_, '_>, home: Option<&Home>) -> Option<Base> {
    let source = fields.parse(
        "credentials",
        |text| match text {
            "imds" | "environment" | "profile" | "web-identity" => Ok(text.to_owned()),
            _ => Err("not a source of credentials"),
        },
        "write imds, environment, profile or web-identity; there is no chain",
    );
    let source = source.map_or_else(|| "imds".to_owned(), |found| found.value);
    let profile = fields.parse("profile", parse_profile, "write the name of a profile");
    let role = fields.parse(
        "web_identity_role",
        |text| match home {
            Some(home) => Role::parse(text, home).map(Some),
            // The account is a fault already.
            None => Ok(None),
        },
        "write a name, /path/name or the ARN of a role of aws.account",
    );
    let token_file = fields.parse(
        "web_identity_token_file",
        |text| match Path::new(text) {
            path if path.is_absolute() => Ok(path.to_owned()),
            _ => Err("not an absolute path"),
        },
        "write the absolute path of the file that holds the token",
    );
    let unused = "is for another source than aws.credentials names";
    if let Some(found) = profile.as_ref().filter(|_| source != "profile") {
        fields.fault(found, unused, "remove it, or write credentials = \"profile\"");
    }
    let remedy = "remove it, or write credentials = \"web-identity\"";
    if let Some(found) = role.as_ref().filter(|_| source != "web-identity") {
        fields.fault(found, unused, remedy);
    }
    if let Some(found) = token_file.as_ref().filter(|_| source != "web-identity") {
        fields.fault(found, unused, remedy);
    }
    match source.as_str() {
        "environment" => Some(Base::Environment),
        "profile" => {
            if !fields.is_present("profile") {
                fields.missing("profile", "name the profile; `default` if it is that one");
            }
            profile.map(|found| Base::Profile { name: found.value })
        }
        "web-identity" => {
            for name in ["web_identity_role", "web_identity_token_file"] {
                if !fields.is_present(name) {
                    fields.missing(name, "web-identity needs web_identity_role and web_identity_token_file");
                }
            }
            let (role, token_file) = (role?.value?, token_file?.value);
            Some(Base::WebIdentity { role, token_file })
        }
        _ => Some(Base::Imds),
    }
}

fn parse_profile(text: &str) -> Result<String, &'static str> {
    let good = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b'@'));
    if good {
        Ok(text.to_owned())
    } else {
        Err("not the name of a profile")
    }
}

#[cfg(test)]
mod tests {
    use super::Base;
    use crate::config::{Config, Environment};
    use crate::fixture::HEADER;

    fn read(text: &str) -> Result<Base, String> {
        Config::read("m.toml", &format!("{HEADER}{text}\n"), &Environment::default())
            .map(|config| config.aws.credentials)
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_instance_profile_is_the_source_unless_another_is_stated() {
        assert_eq!(read(""), Ok(Base::Imds));
        assert_eq!(read("credentials = \"imds\""), Ok(Base::Imds));
        assert_eq!(read("credentials = \"environment\""), Ok(Base::Environment));
        let profile = read("credentials = \"profile\"\nprofile = \"ci\"");
        assert_eq!(profile, Ok(Base::Profile { name: "ci".to_owned() }));
        let Ok(Base::WebIdentity { role, token_file }) = read(
            "credentials = \"web-identity\"\nweb_identity_role = \"proxy\"\nweb_identity_token_file = \"/run/token\"",
        ) else {
            panic!("refused")
        };
        assert_eq!(role.arn(), "arn:aws:iam::123456789012:role/proxy");
        assert_eq!(token_file.to_str(), Some("/run/token"));
    }

    #[test]
    fn what_another_source_would_need_is_a_fault() {
        insta::assert_snapshot!(
            read("credentials = \"chain\"\nprofile = \"a b\"\nweb_identity_token_file = \"/t\"").unwrap_err(), @r###"
        m.toml:7: aws.credentials: "chain": not a source of credentials
          remedy: write imds, environment, profile or web-identity; there is no chain
        m.toml:8: aws.profile: "a b": not the name of a profile
          remedy: write the name of a profile
        m.toml:9: aws.web_identity_token_file: is for another source than aws.credentials names
          remedy: remove it, or write credentials = "web-identity"
        "###);
        insta::assert_snapshot!(
            read("credentials = \"web-identity\"\nprofile = \"ci\"\nweb_identity_token_file = \"token\"").unwrap_err(), @r###"
        m.toml:4: aws.web_identity_role: is missing
          remedy: web-identity needs web_identity_role and web_identity_token_file
        m.toml:8: aws.profile: is for another source than aws.credentials names
          remedy: remove it, or write credentials = "profile"
        m.toml:9: aws.web_identity_token_file: "token": not an absolute path
          remedy: write the absolute path of the file that holds the token
        "###);
        assert!(
            read("credentials = \"profile\"")
                .unwrap_err()
                .contains("aws.profile: is missing")
        );
    }

    #[test]
    fn sessions_of_a_session_last_an_hour_at_most() {
        let rule = crate::fixture::RULE;
        let web = "credentials = \"web-identity\"\nweb_identity_role = \"proxy\"\nweb_identity_token_file = \"/t\"\n";
        for base in ["", web] {
            let text = format!("{base}session_seconds = 3601\n{rule}duration_seconds = 43200\n");
            let told = read(&text).unwrap_err();
            assert!(
                told.contains("aws.session_seconds: ") && told.contains("rule[0].duration_seconds: "),
                "{told}"
            );
            assert!(read(&text.replace("3601", "3600").replace("43200", "3600")).is_ok());
        }
        let of_a_user =
            format!("credentials = \"environment\"\nsession_seconds = 43200\n{rule}duration_seconds = 43200\n");
        assert!(read(&of_a_user).is_ok());
    }
}
