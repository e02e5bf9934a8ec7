//! Checked credentials, and the document that the metadata service makes of them. Pure.

use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{Assumed, Failure, Key};
use crate::config::Role;

/// Credentials that are what was asked for, as the document that a container reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    document: Zeroizing<String>,
    /// Where the document has key id, secret key, token and expiration.
    places: [Range<usize>; 4],
    issued: SystemTime,
    expires: SystemTime,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("access_key_id", &self.access_key_id())
            .field("document", &"**redacted**")
            .field("issued", &self.issued)
            .field("expires", &self.expires)
            .finish()
    }
}

impl Issued {
    /// Checks an answer of STS against what was asked, and takes it.
    ///
    /// # Errors
    /// When it is of another role or session, has expired, or holds what no credential holds.
    pub fn check(key: &Key, assumed: &Assumed, now: SystemTime) -> Result<Self, Failure> {
        let fields = [
            &*assumed.access_key_id,
            assumed.secret_access_key.reveal(),
            assumed.session_token.reveal(),
        ];
        // STS uses base64 and nothing else, so that no value needs escaping in JSON.
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-'))
        };
        // The base credentials may bring a source identity that nobody here asked for.
        let is_identified = key.source_identity.is_none() || key.source_identity == assumed.source_identity;
        let is_ours = assumed.assumed_role_arn == expected_arn(key) && is_identified && fields.into_iter().all(plain);
        if !is_ours || assumed.expires <= now {
            return Err(Failure::WrongAnswer);
        }
        let (Some(updated), Some(expiration)) = (write_time(now), write_time(assumed.expires)) else {
            return Err(Failure::WrongAnswer);
        };
        let [access_key_id, secret_access_key, token] = fields;
        let document = format!(
            "{{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"{updated}\",\n  \"Type\" : \"AWS-HMAC\",\n  \
             \"AccessKeyId\" : \"{access_key_id}\",\n  \"SecretAccessKey\" : \"{secret_access_key}\",\n  \
             \"Token\" : \"{token}\",\n  \"Expiration\" : \"{expiration}\"\n}}"
        );
        let document = Zeroizing::new(document);
        // One after the other, as they stand there: a later value may look like an earlier one.
        let mut end = 0;
        let mut place = |name: &str, text: &str| {
            let start = document.get(end..)?.find(name)?.checked_add(end + name.len())?;
            end = start + text.len();
            Some(start..end)
        };
        let places = (|| {
            Some([
                place("\"AccessKeyId\" : \"", access_key_id)?,
                place("\"SecretAccessKey\" : \"", secret_access_key)?,
                place("\"Token\" : \"", token)?,
                place("\"Expiration\" : \"", &expiration)?,
            ])
        })();
        let places = places.ok_or(Failure::WrongAnswer)?;
        Ok(Self {
            document,
            places,
            issued: now,
            expires: assumed.expires,
        })
    }

    /// `AccessKeyId`, which is no secret: CloudTrail names it with everything that is done with the credentials.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        let [id, ..] = &self.places;
        self.document.get(id.clone()).unwrap_or_default()
    }

    /// The document, for the one place that sends it.
    #[must_use]
    pub fn reveal_document(&self) -> &str {
        &self.document
    }

    /// The document of the endpoint for containers, for the one place that sends it. Made when it is asked for, which few do.
    #[must_use]
    pub fn reveal_container_document(&self, role: &Role) -> Zeroizing<String> {
        let [id, secret, token, expiration] = &self.places;
        let text = |place: &Range<usize>| self.document.get(place.clone()).unwrap_or_default();
        let mut document = Zeroizing::new(String::with_capacity(self.document.len() + role.arn().len() + 64));
        for part in [
            "{\"RoleArn\":\"",
            role.arn(),
            "\",\"AccessKeyId\":\"",
            text(id),
            "\",\"SecretAccessKey\":\"",
            text(secret),
            "\",\"Token\":\"",
            text(token),
            "\",\"Expiration\":\"",
            text(expiration),
            "\"}",
        ] {
            document.push_str(part);
        }
        document
    }

    /// When STS gave them.
    #[must_use]
    pub fn issued(&self) -> SystemTime {
        self.issued
    }

    /// When they end.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.expires
    }
}

/// `arn:PARTITION:sts::ACCOUNT:assumed-role/NAME/SESSION`: STS drops the role's path.
fn expected_arn(key: &Key) -> String {
    let home = key
        .role
        .arn()
        .split(":role/")
        .next()
        .unwrap_or_default()
        .replacen(":iam:", ":sts:", 1);
    format!("{home}:assumed-role/{}/{}", key.role.name(), key.session_name)
}

/// A time as the metadata service writes it: whole seconds, `Z`.
#[must_use]
pub(crate) fn write_time(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?.to_string())
}
