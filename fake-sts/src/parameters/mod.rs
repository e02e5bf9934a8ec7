//! The parameters of actions: reading and the constraints of the service model, with the texts that STS writes. It must not know roles or
//! callers.

pub(crate) mod check;
mod others;
mod packed;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::arn::Arn;
use crate::policy::{self, Kind, Policy};
use crate::query::Parameters;
use crate::secret::Secret;

use check::{ARN_TEXT, Check, DIGITS_TEXT, EXTERNAL_ID_TEXT, NAME_TEXT, POLICY_TEXT, SERIAL_TEXT};

pub use others::{
    AccessKeyInfo, DecodeMessage, FederationToken, RootSession, SamlIdentity, SessionToken, WebIdentity, WebToken,
    read_access_key_info, read_decode_message, read_federation_token, read_root_session, read_saml, read_session_token,
    read_web_identity, read_web_token,
};

pub use packed::packed_size;

/// Lifetime of a session when the request names none.
pub const DEFAULT_DURATION: i32 = 3_600;

/// Managed session policies of one session.
const POLICY_ARNS: usize = 10;

/// A well-formed AssumeRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// As sent.
    pub role_arn: String,
    /// As sent.
    pub session_name: String,
    /// In seconds.
    pub duration: i32,
    /// As sent.
    pub external_id: Option<String>,
    /// The session policy: its text, and what it says.
    pub policy: Option<(String, Policy)>,
    /// Managed session policies, as sent. What they say is not known here.
    pub policy_arns: Vec<String>,
    /// Session tags, keys as sent.
    pub tags: BTreeMap<String, String>,
    /// Keys of the tags that sessions made from this one inherit.
    pub transitive_tag_keys: BTreeSet<String>,
    /// As sent.
    pub source_identity: Option<String>,
    /// The second factor.
    pub mfa: Mfa,
}

/// The second factor of a request: serial number and code, as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mfa {
    /// SerialNumber.
    pub serial: Option<String>,
    /// TokenCode.
    pub code: Option<Secret>,
}

/// Why the parameters were refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// DurationSeconds is no 32-bit number. STS explains only the empty one.
    #[error("{}", if *.empty { "missing value for decimal type" } else { "" })]
    MalformedDuration {
        /// Whether the value was empty.
        empty: bool,
    },
    /// Constraints of the model.
    #[error("{}", join_violations(.violations))]
    Constraints {
        /// Each in STS's words.
        violations: Vec<String>,
    },
    /// The role ARN is long enough and yet none.
    #[error("{arn} is invalid")]
    BadArn {
        /// As sent.
        arn: String,
    },
    /// Two tag keys differ in case at most.
    #[error("Duplicate tag keys found. Please note that Tag keys are case insensitive.")]
    DuplicateTags,
    /// A transitive key without a tag.
    #[error("The specified transitive tag key must be included in the requested tags.")]
    TransitiveWithoutTag,
    /// The session policy is none.
    #[error("Syntax errors in policy.")]
    MalformedPolicy {
        /// What this fake's reader says, for the ledger.
        problem: String,
    },
    /// Session policies and tags are larger than what a session can carry.
    #[error("{}", packed_text(*.percent, *.of_tags))]
    PackedTooLarge {
        /// Of what it can.
        percent: i64,
        /// Whether the tags alone are.
        of_tags: bool,
    },
    /// A value that is none of those that exist.
    #[error("{text}")]
    BadValue {
        /// What STS says.
        text: String,
    },
    /// A parameter that this fake does not carry out; refusing is safer than pretending.
    #[error("fake-sts does not carry out {parameter}")]
    Unbuilt {
        /// Its name.
        parameter: &'static str,
    },
}

fn packed_text(percent: i64, of_tags: bool) -> String {
    if of_tags {
        format!("Packed size of session tags consumes {percent}% of allotted space.")
    } else {
        format!("Packed policy consumes {percent}% of allotted space, please use smaller policy.")
    }
}

fn join_violations(violations: &[String]) -> String {
    let count = violations.len();
    let noun = if count == 1 { "error" } else { "errors" };
    format!("{count} validation {noun} detected: {}", violations.join("; "))
}

/// Reads AssumeRole.
///
/// # Errors
/// The first kind of fault in STS's order; all violated constraints at once.
pub fn read_assume_role(parameters: &Parameters) -> Result<AssumeRole, ParameterError> {
    let duration = parameters.get("DurationSeconds").map(read_duration).transpose()?;
    let mut check = Check::default();
    let role_arn = check.text(parameters, "RoleArn", "roleArn", 20..=2_048, Some(&ARN_TEXT), true);
    let session_name = check.text(
        parameters,
        "RoleSessionName",
        "roleSessionName",
        2..=64,
        Some(&NAME_TEXT),
        true,
    );
    let policy = check.text(parameters, "Policy", "policy", 1..=2_048, Some(&POLICY_TEXT), false);
    let policy_arns = check.policy_arns(parameters);
    if let Some(seconds) = duration {
        check.range("durationSeconds", seconds, 900, 43_200);
    }
    let tags = check.tags(parameters);
    let external_id = check.text(
        parameters,
        "ExternalId",
        "externalId",
        2..=1_224,
        Some(&EXTERNAL_ID_TEXT),
        false,
    );
    let source_identity = check.text(
        parameters,
        "SourceIdentity",
        "sourceIdentity",
        2..=64,
        Some(&NAME_TEXT),
        false,
    );
    let mfa = read_mfa(&mut check, parameters);
    check.done()?;
    let (Some(role_arn), Some(session_name)) = (role_arn, session_name) else {
        // Both were reported as null above.
        return Err(ParameterError::Constraints { violations: Vec::new() });
    };
    check_arns(&role_arn, &policy_arns)?;
    if !parameters.members("ProvidedContexts").is_empty() {
        let parameter = "ProvidedContexts";
        return Err(ParameterError::Unbuilt { parameter });
    }
    if parameters.get("MinimumSessionTokenSize").is_some() {
        let parameter = "MinimumSessionTokenSize";
        return Err(ParameterError::Unbuilt { parameter });
    }
    let (tags, transitive_tag_keys) = read_tags(tags, parameters)?;
    let policy = policy.map(|text| read_policy(&text)).transpose()?;
    Ok(AssumeRole {
        role_arn,
        session_name,
        duration: duration.unwrap_or(DEFAULT_DURATION),
        external_id,
        policy,
        policy_arns,
        tags,
        transitive_tag_keys,
        source_identity,
        mfa,
    })
}

fn check_arns(role_arn: &str, policy_arns: &[String]) -> Result<(), ParameterError> {
    let mut arns = [role_arn].into_iter().chain(policy_arns.iter().map(String::as_str));
    match arns.find(|arn| Arn::parse(arn).is_none()) {
        Some(arn) => Err(ParameterError::BadArn { arn: arn.to_owned() }),
        None => Ok(()),
    }
}

fn read_mfa(check: &mut Check, parameters: &Parameters) -> Mfa {
    let serial = check.text(
        parameters,
        "SerialNumber",
        "serialNumber",
        9..=256,
        Some(&SERIAL_TEXT),
        false,
    );
    let code = check.text(parameters, "TokenCode", "tokenCode", 6..=6, Some(&DIGITS_TEXT), false);
    Mfa {
        serial,
        code: code.map(Secret::new),
    }
}

/// The managed session policies of a request, in the order of their indices.
#[must_use]
pub fn policy_arns(parameters: &Parameters) -> Vec<&str> {
    let members = parameters.members("PolicyArns").into_iter();
    members
        .filter(|(_, field, _)| *field == "arn")
        .map(|(_, _, arn)| arn)
        .collect()
}

/// Java's reading of an integer: a plus sign and leading zeros are fine.
fn read_duration(text: &str) -> Result<i32, ParameterError> {
    text.parse()
        .map_err(|_| ParameterError::MalformedDuration { empty: text.is_empty() })
}

fn read_policy(text: &str) -> Result<(String, Policy), ParameterError> {
    match policy::parse_text(text, Kind::Identity) {
        Ok(policy) => Ok((text.to_owned(), policy)),
        Err(faults) => {
            let problems: Vec<String> = faults
                .iter()
                .map(|fault| format!("{} {}", fault.at, fault.problem).trim().to_owned())
                .collect();
            Err(ParameterError::MalformedPolicy {
                problem: problems.join("; "),
            })
        }
    }
}

type Tags = (BTreeMap<String, String>, BTreeSet<String>);

fn read_tags(tags: Vec<(String, String)>, parameters: &Parameters) -> Result<Tags, ParameterError> {
    let mut seen = BTreeSet::new();
    if !tags.iter().all(|(key, _)| seen.insert(key.to_lowercase())) {
        return Err(ParameterError::DuplicateTags);
    }
    let keys: BTreeSet<String> = parameters
        .members("TransitiveTagKeys")
        .into_iter()
        .map(|(_, _, key)| key.to_owned())
        .collect();
    if !keys.iter().all(|key| seen.contains(&key.to_lowercase())) {
        return Err(ParameterError::TransitiveWithoutTag);
    }
    Ok((tags.into_iter().collect(), keys))
}
