//! The credentials an instance hands out, and the documents that carry them. It must not know where they come from.

use jiff::{SignedDuration, Timestamp};

use crate::secret::Secret;

/// How long credentials of an instance live when nobody asks for less (captures: about six hours).
pub const LIFETIME_SECONDS: u64 = 21_600;
/// New credentials are there at least five minutes before the old ones expire (AWS documentation).
const ROTATED_BEFORE_EXPIRY: SignedDuration = SignedDuration::from_mins(5);

/// Whose credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The role of the instance profile.
    Role,
    /// The instance identity role, `aws:ec2-instance`.
    Identity,
}

/// By which version of the service they are asked for. Credentials tell it to whoever checks them (`ec2:RoleDelivery`), so each version has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Version 1: without a session token.
    V1,
    /// Version 2: with a valid session token.
    V2,
}

/// One set of temporary credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// The session token.
    pub session_token: Secret,
    /// When they were issued.
    pub last_updated: Timestamp,
    /// When they expire.
    pub expiration: Timestamp,
}

/// What became of the wish for credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issued {
    /// There they are.
    Credentials(Credentials),
    /// STS does not let EC2 assume the role.
    Refused {
        /// The role's name.
        role: String,
        /// When it was tried.
        at: Timestamp,
        /// What STS said, for the ledger.
        said: String,
    },
}

/// The fields of a credentials document, in the order of the real one.
pub type Fields = Vec<(String, String)>;

impl Credentials {
    /// Whether they are still the ones to hand out.
    pub fn current(&self, now: Timestamp) -> bool {
        self.expiration.duration_since(now) > ROTATED_BEFORE_EXPIRY
    }
}

impl Issued {
    /// The document's fields.
    pub fn fields(&self) -> Fields {
        let fields: Vec<(&str, String)> = match self {
            Self::Credentials(set) => vec![
                ("Code", "Success".to_owned()),
                ("LastUpdated", seconds(set.last_updated)),
                ("Type", "AWS-HMAC".to_owned()),
                ("AccessKeyId", set.access_key_id.clone()),
                ("SecretAccessKey", set.secret_access_key.expose().to_owned()),
                ("Token", set.session_token.expose().to_owned()),
                ("Expiration", seconds(set.expiration)),
            ],
            Self::Refused { role, at, .. } => vec![
                ("Code", "AssumeRoleUnauthorizedAccess".to_owned()),
                (
                    "Message",
                    format!(
                        "EC2 cannot assume the role {role}. Please see documentation at \
                         https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html."
                    ),
                ),
                ("LastUpdated", seconds(*at)),
            ],
        };
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// When the document last changed.
    pub fn changed(&self) -> Timestamp {
        match self {
            Self::Credentials(set) => set.last_updated,
            Self::Refused { at, .. } => *at,
        }
    }
}

/// A time as the service's JSON documents write it: `2026-01-02T03:04:05Z`.
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A JSON object as the service lays it out: two spaces, ` : `, no newline at the end (captures).
pub fn object<'a>(fields: impl IntoIterator<Item = (&'a str, serde_json::Value)>) -> String {
    let lines: Vec<String> = fields
        .into_iter()
        .map(|(name, value)| format!("  {} : {}", serde_json::Value::from(name), spaced(&value)))
        .collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

/// The service writes arrays as `[ "a", "b" ]`.
fn spaced(value: &serde_json::Value) -> String {
    match value.as_array() {
        Some(items) => {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            format!("[ {} ]", items.join(", "))
        }
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Credentials {
        Credentials {
            access_key_id: "ASIAEXAMPLE".to_owned(),
            secret_access_key: Secret::new("SECRET"),
            session_token: Secret::new("TOKEN"),
            last_updated: "2026-01-02T03:04:05.9Z".parse().unwrap(),
            expiration: "2026-01-02T09:04:05.9Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_credentials_document_has_the_real_layout() {
        let issued = Issued::Credentials(set());
        let fields = issued.fields();
        let text = object(
            fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().into())),
        );
        insta::assert_snapshot!(text, @r#"
        {
          "Code" : "Success",
          "LastUpdated" : "2026-01-02T03:04:05Z",
          "Type" : "AWS-HMAC",
          "AccessKeyId" : "ASIAEXAMPLE",
          "SecretAccessKey" : "SECRET",
          "Token" : "TOKEN",
          "Expiration" : "2026-01-02T09:04:05Z"
        }
        "#);
    }

    #[test]
    fn credentials_are_rotated_five_minutes_before_they_expire() {
        assert!(set().current("2026-01-02T08:59:05Z".parse().unwrap()));
        assert!(!set().current("2026-01-02T08:59:06Z".parse().unwrap()));
    }

    #[test]
    fn secrets_do_not_print() {
        let text = format!("{:?}", Issued::Credentials(set()));
        assert!(!text.contains("SECRET") && !text.contains("TOKEN"));
    }
}
