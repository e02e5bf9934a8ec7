//! The parameters of the actions beside AssumeRole.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{ARN_TEXT, Check, NAME_TEXT, POLICY_TEXT, WORD_TEXT};
use super::{DEFAULT_DURATION, Mfa, ParameterError, check_arns, read_duration, read_mfa, read_policy, read_tags};
use crate::arn::{Arn, is_account};
use crate::oidc::Algorithm;
use crate::policy::Policy;
use crate::query::Parameters;
use crate::secret::Secret;

/// Lifetime of GetSessionToken and GetFederationToken when the request names none.
const HALF_A_DAY: i32 = 43_200;

/// A well-formed AssumeRoleWithWebIdentity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// As sent.
    pub role_arn: String,
    /// As sent.
    pub session_name: String,
    /// In seconds.
    pub duration: i32,
    /// The token.
    pub token: Secret,
    /// The session policy: its text, and what it says.
    pub policy: Option<(String, Policy)>,
    /// Managed session policies, as sent.
    pub policy_arns: Vec<String>,
}

/// A well-formed AssumeRoleWithSAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamlIdentity {
    /// As sent.
    pub role_arn: String,
    /// The SAML provider, as sent.
    pub principal_arn: String,
    /// The response, in base64.
    pub assertion: Secret,
    /// In seconds, if the request names it.
    pub duration: Option<i32>,
    /// The session policy: its text, and what it says.
    pub policy: Option<(String, Policy)>,
    /// Managed session policies, as sent.
    pub policy_arns: Vec<String>,
}

/// A well-formed GetSessionToken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionToken {
    /// In seconds.
    pub duration: i32,
    /// The second factor.
    pub mfa: Mfa,
}

/// A well-formed GetFederationToken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FederationToken {
    /// Name of the federated user.
    pub name: String,
    /// In seconds.
    pub duration: i32,
    /// The session policy: its text, and what it says.
    pub policy: Option<(String, Policy)>,
    /// Managed session policies, as sent.
    pub policy_arns: Vec<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
}

/// A well-formed GetAccessKeyInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeyInfo {
    /// As sent.
    pub access_key_id: String,
}

/// A well-formed DecodeAuthorizationMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeMessage {
    /// As sent.
    pub encoded: String,
}

/// A well-formed AssumeRoot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSession {
    /// The member account.
    pub account: String,
    /// As sent.
    pub target: String,
    /// ARN of the task policy.
    pub task: String,
    /// In seconds.
    pub duration: i32,
}

/// A well-formed GetWebIdentityToken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebToken {
    /// For whom the token is.
    pub audiences: Vec<String>,
    /// In seconds.
    pub duration: i32,
    /// RS256 or ES384.
    pub algorithm: Algorithm,
    /// Tags that the token carries.
    pub tags: BTreeMap<String, String>,
}

fn duration_of(parameters: &Parameters) -> Result<Option<i32>, ParameterError> {
    parameters.get("DurationSeconds").map(read_duration).transpose()
}

fn range(check: &mut Check, duration: Option<i32>, least: i32, most: i32) {
    if let Some(seconds) = duration {
        check.range("durationSeconds", seconds, least, most);
    }
}

/// Reads AssumeRoleWithWebIdentity.
///
/// # Errors
/// As [`super::read_assume_role`].
pub fn read_web_identity(parameters: &Parameters) -> Result<WebIdentity, ParameterError> {
    let duration = duration_of(parameters)?;
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
    let token = check.secret(parameters, "WebIdentityToken", "webIdentityToken", 4..=20_000);
    let provider = check.text(parameters, "ProviderId", "providerId", 4..=2_048, None, false);
    let policy_arns = check.policy_arns(parameters);
    let policy = check.text(parameters, "Policy", "policy", 1..=2_048, Some(&POLICY_TEXT), false);
    range(&mut check, duration, 900, 43_200);
    check.done()?;
    let (Some(role_arn), Some(session_name), Some(token)) = (role_arn, session_name, token) else {
        return Err(ParameterError::Constraints { violations: Vec::new() });
    };
    check_arns(&role_arn, &policy_arns)?;
    if provider.is_some() {
        // It names providers of before OpenID Connect, whose tokens are opaque.
        let parameter = "ProviderId";
        return Err(ParameterError::Unbuilt { parameter });
    }
    Ok(WebIdentity {
        role_arn,
        session_name,
        duration: duration.unwrap_or(DEFAULT_DURATION),
        token: Secret::new(token),
        policy: policy.map(|text| read_policy(&text)).transpose()?,
        policy_arns,
    })
}

/// Reads AssumeRoleWithSAML.
///
/// # Errors
/// As [`super::read_assume_role`].
pub fn read_saml(parameters: &Parameters) -> Result<SamlIdentity, ParameterError> {
    let duration = duration_of(parameters)?;
    let mut check = Check::default();
    let arn = |check: &mut Check, name: &str, member: &str| {
        check.text(parameters, name, member, 20..=2_048, Some(&ARN_TEXT), true)
    };
    let role_arn = arn(&mut check, "RoleArn", "roleArn");
    let principal_arn = arn(&mut check, "PrincipalArn", "principalArn");
    let assertion = check.secret(parameters, "SAMLAssertion", "sAMLAssertion", 4..=100_000);
    let policy_arns = check.policy_arns(parameters);
    let policy = check.text(parameters, "Policy", "policy", 1..=2_048, Some(&POLICY_TEXT), false);
    range(&mut check, duration, 900, 43_200);
    check.done()?;
    let (Some(role_arn), Some(principal_arn), Some(assertion)) = (role_arn, principal_arn, assertion) else {
        return Err(ParameterError::Constraints { violations: Vec::new() });
    };
    check_arns(&role_arn, &policy_arns)?;
    if Arn::parse(&principal_arn).is_none() {
        return Err(ParameterError::BadArn { arn: principal_arn });
    }
    Ok(SamlIdentity {
        role_arn,
        principal_arn,
        assertion: Secret::new(assertion),
        duration,
        policy: policy.map(|text| read_policy(&text)).transpose()?,
        policy_arns,
    })
}

/// Reads GetSessionToken.
///
/// # Errors
/// As [`super::read_assume_role`].
pub fn read_session_token(parameters: &Parameters) -> Result<SessionToken, ParameterError> {
    let duration = duration_of(parameters)?;
    let mut check = Check::default();
    range(&mut check, duration, 900, 129_600);
    let mfa = read_mfa(&mut check, parameters);
    check.done()?;
    Ok(SessionToken {
        duration: duration.unwrap_or(HALF_A_DAY),
        mfa,
    })
}

/// Reads GetFederationToken.
///
/// # Errors
/// As [`super::read_assume_role`].
pub fn read_federation_token(parameters: &Parameters) -> Result<FederationToken, ParameterError> {
    let duration = duration_of(parameters)?;
    let mut check = Check::default();
    let name = check.text(parameters, "Name", "name", 2..=32, Some(&NAME_TEXT), true);
    let policy = check.text(parameters, "Policy", "policy", 1..=2_048, Some(&POLICY_TEXT), false);
    let policy_arns = check.policy_arns(parameters);
    range(&mut check, duration, 900, 129_600);
    let tags = check.tags(parameters);
    check.done()?;
    let Some(name) = name else {
        return Err(ParameterError::Constraints { violations: Vec::new() });
    };
    if let Some(arn) = policy_arns.iter().find(|arn| Arn::parse(arn).is_none()) {
        return Err(ParameterError::BadArn { arn: arn.clone() });
    }
    let (tags, _) = read_tags(tags, &Parameters::default())?;
    Ok(FederationToken {
        name,
        duration: duration.unwrap_or(HALF_A_DAY),
        policy: policy.map(|text| read_policy(&text)).transpose()?,
        policy_arns,
        tags,
    })
}

/// Reads GetAccessKeyInfo.
///
/// # Errors
/// As [`super::read_assume_role`].
pub fn read_access_key_info(parameters: &Parameters) -> Result<AccessKeyInfo, ParameterError> {
    let mut check = Check::default();
    let id = check.text(
        parameters,
        "AccessKeyId",
        "accessKeyId",
        16..=128,
        Some(&WORD_TEXT),
        true,
    );
    check.done()?;
    Ok(AccessKeyInfo {
        access_key_id: id.unwrap_or_default(),
    })
}

/// Reads DecodeAuthorizationMessage.
///
/// # Errors
/// As [`super::read_assume_role`].
pub fn read_decode_message(parameters: &Parameters) -> Result<DecodeMessage, ParameterError> {
    let mut check = Check::default();
    let encoded = check.text(parameters, "EncodedMessage", "encodedMessage", 1..=10_240, None, true);
    check.done()?;
    Ok(DecodeMessage {
        encoded: encoded.unwrap_or_default(),
    })
}

/// Reads AssumeRoot.
///
/// # Errors
/// As [`super::read_assume_role`].
pub fn read_root_session(parameters: &Parameters) -> Result<RootSession, ParameterError> {
    let duration = duration_of(parameters)?;
    let mut check = Check::default();
    let target = check.text(
        parameters,
        "TargetPrincipal",
        "targetPrincipal",
        12..=2_048,
        Some(&ARN_TEXT),
        true,
    );
    let task = parameters.get("TaskPolicyArn.arn").map(str::to_owned);
    if task.is_none() {
        check.violation(None, "taskPolicyArn", "not be null");
    }
    range(&mut check, duration, 0, 900);
    check.done()?;
    let (target, task) = (target.unwrap_or_default(), task.unwrap_or_default());
    let account = match Arn::parse(&target) {
        Some(arn) if arn.service == "iam" && arn.resource == "root" => arn.account.to_owned(),
        Some(_) | None => target.clone(),
    };
    if !is_account(&account) {
        return Err(ParameterError::BadArn { arn: target });
    }
    Ok(RootSession {
        account,
        target,
        task,
        duration: duration.unwrap_or(900),
    })
}

/// Reads GetWebIdentityToken.
///
/// # Errors
/// As [`super::read_assume_role`].
pub fn read_web_token(parameters: &Parameters) -> Result<WebToken, ParameterError> {
    let duration = duration_of(parameters)?;
    let mut check = Check::default();
    let members = parameters.members("Audience");
    let audiences: Vec<String> = members.into_iter().map(|(_, _, text)| text.to_owned()).collect();
    if audiences.is_empty() {
        check.violation(None, "audience", "not be null");
    }
    if audiences.len() > 10 {
        check.violation(Some("audience"), "audience", "have length less than or equal to 10");
    }
    range(&mut check, duration, 60, 3_600);
    let algorithm = check.text(parameters, "SigningAlgorithm", "signingAlgorithm", 5..=5, None, true);
    let tags = check.tags(parameters);
    check.done()?;
    let known = algorithm.as_deref().and_then(Algorithm::parse);
    let Some(algorithm @ (Algorithm::Rs256 | Algorithm::Es384)) = known else {
        return Err(ParameterError::BadValue {
            text: format!(
                "1 validation error detected: Value '{}' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [RS256, ES384]",
                algorithm.unwrap_or_default()
            ),
        });
    };
    let distinct: BTreeSet<&String> = audiences.iter().collect();
    if distinct.len() != audiences.len() {
        return Err(ParameterError::BadValue {
            text: "Audiences must be unique.".to_owned(),
        });
    }
    let (tags, _) = read_tags(tags, &Parameters::default())?;
    Ok(WebToken {
        audiences,
        duration: duration.unwrap_or(300),
        algorithm,
        tags,
    })
}
