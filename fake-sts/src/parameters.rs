//! The parameters of AssumeRole: reading and the constraints of the service model, with the texts that STS writes. It must not know
//! roles or callers.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::arn::Arn;
use crate::policy::{self, Kind, Policy};
use crate::query::Parameters;

/// Lifetime of a session when the request names none.
pub const DEFAULT_DURATION: i32 = 3_600;

/// Plain text of a session policy, its ARNs included (service model).
const PACKED_LIMIT: usize = 2_048;

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
    /// A parameter that this fake does not carry out; refusing is safer than pretending.
    #[error("fake-sts does not carry out {parameter}")]
    Unbuilt {
        /// Its name.
        parameter: &'static str,
    },
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
    let mut check = Check { violations: Vec::new() };
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
    if !check.violations.is_empty() {
        return Err(ParameterError::Constraints {
            violations: check.violations,
        });
    }
    let (Some(role_arn), Some(session_name)) = (role_arn, session_name) else {
        // Both were reported as null above.
        return Err(ParameterError::Constraints { violations: Vec::new() });
    };
    if let Some(arn) = [&role_arn]
        .into_iter()
        .chain(&policy_arns)
        .find(|arn| Arn::parse(arn).is_none())
    {
        return Err(ParameterError::BadArn { arn: arn.clone() });
    }
    if !parameters.members("ProvidedContexts").is_empty() {
        let parameter = "ProvidedContexts";
        return Err(ParameterError::Unbuilt { parameter });
    }
    for parameter in ["SerialNumber", "TokenCode"] {
        if parameters.get(parameter).is_some() {
            return Err(ParameterError::Unbuilt { parameter });
        }
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
    })
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

/// How much of its limit the session policies and tags take, in percent; `None` when neither was given.
#[must_use]
pub fn packed_size(request: &AssumeRole) -> Option<i64> {
    if request.policy.is_none() && request.policy_arns.is_empty() && request.tags.is_empty() {
        return None;
    }
    let policy = request.policy.as_ref().map_or(0, |(text, _)| text.len());
    let tags: usize = request.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    let arns: usize = request.policy_arns.iter().map(String::len).sum();
    i64::try_from(((policy + arns + tags) * 100).div_ceil(PACKED_LIMIT)).ok()
}

/// Which characters a member takes, and how STS writes it.
struct Pattern {
    text: &'static str,
    takes: fn(char) -> bool,
    /// `*` patterns take an empty text, `+` patterns do not.
    empty: bool,
}

const NAME_TEXT: Pattern = Pattern {
    text: r"[\w+=,.@-]*",
    takes: |character| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character),
    empty: true,
};

const EXTERNAL_ID_TEXT: Pattern = Pattern {
    text: r"[\w+=,.@:\/-]*",
    takes: |character| character.is_ascii_alphanumeric() || "_+=,.@:/-".contains(character),
    empty: true,
};

/// Java reads `\u10000` as U+1000 and a zero, so nothing beyond the basic plane fits.
const ARN_TEXT: Pattern = Pattern {
    text: r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+",
    takes: |character| matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}'),
    empty: false,
};

const POLICY_TEXT: Pattern = Pattern {
    text: r"[\u0009\u000A\u000D\u0020-\u00FF]+",
    takes: |character| matches!(character, '\t' | '\n' | '\r' | ' '..='\u{ff}'),
    empty: false,
};

struct Check {
    violations: Vec<String>,
}

impl Check {
    fn violation(&mut self, value: Option<&str>, member: &str, rule: &str) {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("'{value}'"));
        self.violations.push(format!(
            "Value {value} at '{member}' failed to satisfy constraint: Member must {rule}"
        ));
    }

    fn text(
        &mut self,
        parameters: &Parameters,
        name: &str,
        member: &str,
        length: std::ops::RangeInclusive<usize>,
        pattern: Option<&Pattern>,
        required: bool,
    ) -> Option<String> {
        let Some(value) = parameters.get(name) else {
            if required {
                self.violation(None, member, "not be null");
            }
            return None;
        };
        // STS names the pattern before the length.
        if let Some(pattern) = pattern
            && !((pattern.empty || !value.is_empty()) && value.chars().all(pattern.takes))
        {
            self.violation(
                Some(value),
                member,
                &format!("satisfy regular expression pattern: {}", pattern.text),
            );
        }
        let count = value.chars().count();
        if count < *length.start() {
            let rule = format!("have length greater than or equal to {}", length.start());
            self.violation(Some(value), member, &rule);
        }
        if count > *length.end() {
            let rule = format!("have length less than or equal to {}", length.end());
            self.violation(Some(value), member, &rule);
        }
        Some(value.to_owned())
    }

    fn range(&mut self, member: &str, value: i32, least: i32, most: i32) {
        if value < least {
            let rule = format!("have value greater than or equal to {least}");
            self.violation(Some(&value.to_string()), member, &rule);
        }
        if value > most {
            let rule = format!("have value less than or equal to {most}");
            self.violation(Some(&value.to_string()), member, &rule);
        }
    }

    fn policy_arns(&mut self, parameters: &Parameters) -> Vec<String> {
        let arns: Vec<String> = policy_arns(parameters).into_iter().map(str::to_owned).collect();
        if arns.len() > POLICY_ARNS {
            let rule = format!("have length less than or equal to {POLICY_ARNS}");
            self.violation(Some("policyArns"), "policyArns", &rule);
        }
        for (index, arn) in arns.iter().enumerate() {
            let member = format!("policyArns.{}.member.arn", index + 1);
            let length = arn.chars().count();
            if length < 20 {
                self.violation(Some(arn), &member, "have length greater than or equal to 20");
            } else if length > 2_048 {
                self.violation(Some(arn), &member, "have length less than or equal to 2048");
            }
        }
        arns
    }

    fn tags(&mut self, parameters: &Parameters) -> Vec<(String, String)> {
        let mut tags: BTreeMap<u32, (Option<String>, Option<String>)> = BTreeMap::new();
        for (index, field, value) in parameters.members("Tags") {
            let tag = tags.entry(index).or_default();
            match field {
                "Key" => tag.0.get_or_insert_with(|| value.to_owned()),
                "Value" => tag.1.get_or_insert_with(|| value.to_owned()),
                _ => continue,
            };
        }
        if tags.len() > 50 {
            self.violation(Some("tags"), "tags", "have length less than or equal to 50");
        }
        let mut whole = Vec::with_capacity(tags.len());
        for (index, (key, value)) in tags {
            let (key_member, value_member) = (format!("tags.{index}.member.key"), format!("tags.{index}.member.value"));
            match &key {
                None => self.violation(None, &key_member, "not be null"),
                Some(key) if key.is_empty() => {
                    self.violation(Some(key), &key_member, "have length greater than or equal to 1");
                }
                Some(key) if key.chars().count() > 128 => {
                    self.violation(Some(key), &key_member, "have length less than or equal to 128");
                }
                Some(_) => {}
            }
            match &value {
                None => self.violation(None, &value_member, "not be null"),
                Some(value) if value.chars().count() > 256 => {
                    self.violation(Some(value), &value_member, "have length less than or equal to 256");
                }
                Some(_) => {}
            }
            if let (Some(key), Some(value)) = (key, value) {
                whole.push((key, value));
            }
        }
        whole
    }
}
