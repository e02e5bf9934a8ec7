//! What a session token of the fake says of itself: who asked for which role, and when. Written by `mint`, read by whoever checks where
//! a credential came from. It must not know how a token is verified: the fake
//! trusts this text only where `seal` finds it unchanged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How tokens of recent years begin ("IQoJb3JpZ2luX2Vj"), so that a client that looks at the beginning sees nothing odd.
pub const PREFIX: &str = "IQoJb3JpZ2luX2Vj";

/// Characters of a canary.
const CANARY_LENGTH: usize = 16;

/// Tokens longer than this are not read. Usual ones stay under 1,000 characters; a session policy and tags of the longest make 40,000.
const MAX_TOKEN_LENGTH: usize = 65_536;

/// The way in which credentials were handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// A signed AssumeRole request.
    AssumeRole,
    /// The role of the instance profile.
    InstanceProfile,
    /// The instance identity role.
    InstanceIdentity,
    /// AssumeRoleWithWebIdentity.
    WebIdentity,
    /// AssumeRoleWithSAML.
    Saml,
    /// GetSessionToken.
    SessionToken,
    /// GetFederationToken.
    FederationToken,
    /// AssumeRoot.
    AssumeRoot,
}

impl Via {
    /// The word as it stands in the token and in the control API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AssumeRole => "assume-role",
            Self::InstanceProfile => "instance-profile",
            Self::InstanceIdentity => "instance-identity",
            Self::WebIdentity => "web-identity",
            Self::Saml => "saml",
            Self::SessionToken => "session-token",
            Self::FederationToken => "federation-token",
            Self::AssumeRoot => "assume-root",
        }
    }
}

/// The version of the metadata service by which an instance got its credentials: `ec2:RoleDelivery`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// Version 1: a plain request.
    #[serde(rename = "1.0")]
    V1,
    /// Version 2: a request with a session token.
    #[default]
    #[serde(rename = "2.0")]
    V2,
}

impl Delivery {
    /// The value of the condition key.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

/// Where one set of temporary credentials came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The role's ARN, with its path; for sessions of no role the ARN of the user or root user.
    pub role_arn: String,
    /// RoleSessionName.
    pub session_name: String,
    /// ExternalId, if the request had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// ARN of the principal that asked.
    pub requester: String,
    /// Access key id that signed the request; empty where no signature was needed.
    pub requester_key: String,
    /// Unique for this issue.
    pub nonce: String,
    /// When, on the fake's clock.
    pub issued_at: Timestamp,
    /// How.
    pub via: Via,
    /// Lifetime as answered.
    pub duration_seconds: u32,
    /// SHA-256 of the session policy, in hex, if the request had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_sha256: Option<String>,
    /// Managed session policies, as the request had them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_arns: Vec<String>,
    /// SourceIdentity of the session, given or inherited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
}

/// Why a text is no session token of this fake.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProvenanceError {
    /// It begins otherwise, or is too short or too long.
    #[error("not a session token of the fake")]
    Foreign,
    /// What follows the canary is not base64.
    #[error("provenance is not base64")]
    Encoding,
    /// What follows the canary is not the expected JSON.
    #[error("provenance is not the expected JSON: {problem}")]
    Content {
        /// The JSON reader's words.
        problem: String,
    },
}

/// The parts of a session token: prefix, canary, and in base64 the provenance as JSON with what only its issuer can read behind it. Prefix
/// and canary have multiples of four characters, so the whole is valid base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The marker.
    pub(crate) canary: String,
    /// The provenance.
    pub(crate) open: Vec<u8>,
    /// What only its issuer can read.
    pub(crate) sealed: Vec<u8>,
}

impl Sealed {
    pub(crate) fn encode(&self) -> String {
        let bytes = [self.open.as_slice(), self.sealed.as_slice()].concat();
        format!("{PREFIX}{}{}", self.canary, STANDARD.encode(bytes))
    }

    pub(crate) fn decode(token: &str) -> Result<Self, ProvenanceError> {
        let (canary, rest) = split(token)?;
        let mut open = STANDARD.decode(rest).map_err(|_| ProvenanceError::Encoding)?;
        let mut values = serde_json::Deserializer::from_slice(&open).into_iter::<IgnoredAny>();
        let content = |problem: String| ProvenanceError::Content { problem };
        match values.next() {
            Some(Ok(IgnoredAny)) => {}
            Some(Err(error)) => return Err(content(error.to_string())),
            None => return Err(content("it is empty".to_owned())),
        }
        let end = values.byte_offset();
        let sealed = open.split_off(end);
        Ok(Self {
            canary: canary.to_owned(),
            open,
            sealed,
        })
    }
}

/// Writes a session token that has only a provenance, and nothing by which its issuer would know it.
#[must_use]
pub fn encode(canary: &str, provenance: &Provenance) -> String {
    // A struct of strings and numbers always serialises; an empty text would be refused by `decode`.
    let token = Sealed {
        canary: canary.to_owned(),
        open: serde_json::to_vec(provenance).unwrap_or_default(),
        sealed: Vec::new(),
    };
    token.encode()
}

/// Reads the provenance of a session token.
///
/// # Errors
/// When the token is not one of this fake's.
pub fn decode(token: &str) -> Result<Provenance, ProvenanceError> {
    serde_json::from_slice(&Sealed::decode(token)?.open).map_err(|error| ProvenanceError::Content {
        problem: error.to_string(),
    })
}

/// The canary inside a session token.
///
/// # Errors
/// When the token is not one of this fake's.
pub fn canary(token: &str) -> Result<&str, ProvenanceError> {
    split(token).map(|(canary, _)| canary)
}

fn split(token: &str) -> Result<(&str, &str), ProvenanceError> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(ProvenanceError::Foreign);
    }
    let rest = token.strip_prefix(PREFIX).ok_or(ProvenanceError::Foreign)?;
    rest.split_at_checked(CANARY_LENGTH).ok_or(ProvenanceError::Foreign)
}

#[cfg(test)]
mod tests {
    use super::{PREFIX, Provenance, ProvenanceError, Via, canary, decode, encode};
    use base64::Engine as _;
    use jiff::Timestamp;
    use proptest::prelude::*;

    prop_compose! {
        fn any_provenance()(
            texts in proptest::collection::vec(".{0,40}", 5),
            policy_arns in proptest::collection::vec(".{0,20}", 0..3),
            optional in proptest::collection::vec(proptest::option::of(".{0,20}"), 3),
            seconds in 0_i64..4_000_000_000,
            duration_seconds: u32,
            via in prop_oneof![Just(Via::AssumeRole), Just(Via::InstanceProfile), Just(Via::InstanceIdentity)],
        ) -> Provenance {
            Provenance {
                role_arn: texts[0].clone(),
                session_name: texts[1].clone(),
                external_id: optional[0].clone(),
                requester: texts[2].clone(),
                requester_key: texts[3].clone(),
                nonce: texts[4].clone(),
                issued_at: Timestamp::from_second(seconds).unwrap(),
                via,
                duration_seconds,
                policy_sha256: optional[1].clone(),
                policy_arns,
                source_identity: optional[2].clone(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_token_tells_what_was_written_into_it(provenance in any_provenance(), marker in "[A-Z2-7]{16}") {
            let token = encode(&marker, &provenance);
            prop_assert_eq!(decode(&token), Ok(provenance));
            prop_assert_eq!(canary(&token), Ok(marker.as_str()));
            prop_assert!(base64::engine::general_purpose::STANDARD.decode(&token).is_ok());
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            let _ = decode(&text);
            let _ = decode(&format!("{PREFIX}{text}"));
        }
    }

    #[test]
    fn a_foreign_token_is_refused() {
        assert_eq!(decode("FwoGZXIvYXdzE"), Err(ProvenanceError::Foreign));
        assert_eq!(decode(PREFIX), Err(ProvenanceError::Foreign));
        assert_eq!(
            decode(&format!("{PREFIX}AAAAAAAAAAAAAAAA***")),
            Err(ProvenanceError::Encoding)
        );
    }
}
