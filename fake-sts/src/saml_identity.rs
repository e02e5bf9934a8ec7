//! AssumeRoleWithSAML: whether an assertion is believed, and which role its bearer gets. Pure; it must not know credentials, HTTP or XML.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use sha1::{Digest as _, Sha1};

use crate::arn::RoleArn;
use crate::context::{Origin, connection_keys};
use crate::decline::Decline;
use crate::federated::{self, Vouched, Weighed};
use crate::mint::Grant;
use crate::parameters::SamlIdentity;
use crate::policy::Keys;
use crate::provenance::Via;
use crate::saml::{ATTRIBUTES, Assertion, Confirmation, SIGN_IN, SamlError, read_response};
use crate::state::{Owner, State};
use crate::world::{Role, SamlProvider};

const ACTION: &str = "sts:AssumeRoleWithSAML";

/// An assertion must be presented this soon after it was issued.
const REDEEMABLE: SignedDuration = SignedDuration::from_mins(5);

/// How far ahead an identity provider's clock may be.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// The audience that AWS takes beside its own URL.
const OTHER_AUDIENCE: &str = "urn:amazon:webservices";

const DEFAULT_DURATION: i32 = 3_600;

/// What the answer says of the assertion, beside the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asserted {
    /// `NameID`.
    pub subject: String,
    /// `persistent`, `transient`, or the format's whole URI.
    pub subject_type: String,
    /// Who vouches.
    pub issuer: String,
    /// Where the assertion was to be presented: the `Recipient`.
    pub audience: String,
    /// A hash that is the same for one provider.
    pub name_qualifier: String,
}

/// Decides AssumeRoleWithSAML.
///
/// # Errors
/// The assertion is not believed, or the role's trust policy does not grant.
pub fn decide(
    state: &State,
    request: &SamlIdentity,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Grant, Asserted), Decline> {
    let xml = STANDARD
        .decode(request.assertion.expose())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| invalid("Invalid base64 SAMLResponse", SamlError::Encoding.to_string()))?;
    let provider = state.world.saml_provider(&request.principal_arn).ok_or_else(|| {
        invalid(
            "Specified provider doesn't exist",
            "the world has no such SAML provider",
        )
    })?;
    let metadata = state
        .saml_metadata(provider)
        .ok_or_else(|| invalid("Response signature invalid", "the provider's key was never used"))?;
    let assertion = read_response(&xml, &metadata).map_err(unbelieved)?;
    let confirmation = confirm(&assertion, now)?;
    let pair = [request.role_arn.as_str(), request.principal_arn.as_str()];
    let roles = attribute(&assertion, "Role").iter();
    if !roles.clone().any(|stated| is_pair(stated, pair)) {
        return Err(invalid(
            "SAML Assertion doesn't contain the requested Role and Metadata in the attributes",
            "no value of the Role attribute is this pair of role and provider",
        ));
    }
    let bearer = Bearer::read(&assertion, confirmation, provider)?;
    let denied = |action: &'static str, denied_by: String| Decline::WebIdentityDenied { action, denied_by };
    let arn = RoleArn::parse(&request.role_arn).ok_or_else(|| denied(ACTION, "no role has this ARN".to_owned()))?;
    let role = state.world.role_by_arn(&arn);
    let role = role.ok_or_else(|| denied(ACTION, "no such role".to_owned()))?;
    if !state.permissive {
        for step in bearer.weigh(role, provider, connection_keys(origin, now)) {
            if let Some(why) = step.finding.objection("trust policy") {
                return Err(denied(step.action, why));
            }
        }
    }
    let Bearer { asserted, session } = bearer;
    let seconds = request.duration.or(session.duration).unwrap_or(DEFAULT_DURATION);
    if i64::from(seconds) > i64::from(role.max_session_seconds) {
        return Err(Decline::ExceedsRole);
    }
    // The identity provider may end the session sooner.
    let left = assertion
        .session_ends
        .map(|ends| ends.as_second().saturating_sub(now.as_second()).max(0));
    let seconds = i64::from(seconds).min(left.unwrap_or(i64::MAX));
    let grant = Grant {
        owner: Owner::Role {
            arn,
            id: role.id.clone(),
            name: session.name,
            of_world: true,
        },
        via: Via::Saml,
        requester: format!("{} {}", provider.arn, asserted.subject),
        requester_key: String::new(),
        external_id: None,
        duration_seconds: u32::try_from(seconds).unwrap_or_default(),
        policy: request.policy.clone(),
        policy_arns: request.policy_arns.clone(),
        tags: session.tags,
        transitive_tag_keys: session.transitive,
        source_identity: session.source_identity,
        mfa: false,
        provider: Some(provider.arn.clone()),
        delivery: None,
    };
    Ok((grant, asserted))
}

/// Who bears an assertion that is believed, and the session that it makes.
struct Bearer {
    asserted: Asserted,
    session: Session,
}

impl Bearer {
    fn read(assertion: &Assertion, confirmation: &Confirmation, provider: &SamlProvider) -> Result<Self, Decline> {
        let session = read_session(assertion)?;
        let asserted = Asserted {
            subject: assertion.subject.clone(),
            subject_type: subject_type(assertion.format.as_deref()),
            issuer: assertion.issuer.clone(),
            audience: confirmation.recipient.clone(),
            name_qualifier: name_qualifier(&assertion.issuer, provider),
        };
        Ok(Self { asserted, session })
    }

    fn weigh(&self, role: &Role, provider: &SamlProvider, keys: Keys) -> Vec<Weighed> {
        let vouched = Vouched {
            provider: &provider.arn,
            session_name: &self.session.name,
            tags: &self.session.tags,
            transitive: &self.session.transitive,
            source_identity: self.session.source_identity.as_deref(),
        };
        let keys = keys_of(&self.asserted, provider, keys);
        federated::weigh(role, ACTION, vouched, keys)
    }
}

/// What a role's trust policy says of an assertion whose signature needs no proof: of one that somebody might bring.
///
/// # Errors
/// Nobody would believe it, whoever signed it.
pub fn weigh(
    role: &Role,
    provider: &SamlProvider,
    assertion: &Assertion,
    keys: Keys,
    now: Timestamp,
) -> Result<Vec<Weighed>, Decline> {
    let confirmation = confirm(assertion, now)?;
    Ok(Bearer::read(assertion, confirmation, provider)?.weigh(role, provider, keys))
}

fn invalid(text: &str, because: impl Into<String>) -> Decline {
    Decline::InvalidIdentityToken {
        text: text.to_owned(),
        because: because.into(),
    }
}

fn unbelieved(error: SamlError) -> Decline {
    let because = error.to_string();
    match error {
        SamlError::Encoding => invalid("Invalid base64 SAMLResponse", because),
        SamlError::Xml(_) | SamlError::Shape(_) => invalid("Invalid SAML response", because),
        SamlError::Signature(_) => invalid("Response signature invalid", because),
        SamlError::Issuer { .. } => invalid("Issuer not present in specified provider", because),
        SamlError::Rejected { .. } => Decline::RejectedClaim { because },
    }
}

/// Whether the assertion is for AWS, and in its time.
fn confirm(assertion: &Assertion, now: Timestamp) -> Result<&Confirmation, Decline> {
    let confirmation = assertion
        .confirmations
        .iter()
        .find(|one| is_sign_in(&one.recipient))
        .ok_or_else(|| {
            let text = "Invalid SAML response";
            invalid(text, format!("no bearer's Recipient is {SIGN_IN}, or that of a region"))
        })?;
    let late = |ends: Timestamp| ends <= now;
    let redeemable = assertion.issued_at.saturating_add(REDEEMABLE).unwrap_or(now);
    let ends = [
        Some(confirmation.not_on_or_after),
        assertion.not_on_or_after,
        Some(redeemable),
    ];
    if ends.into_iter().flatten().any(late) {
        return Err(Decline::ExpiredAssertion);
    }
    let ahead = now.saturating_add(SKEW).unwrap_or(now);
    let begins = [Some(assertion.issued_at), confirmation.not_before, assertion.not_before];
    if begins.into_iter().flatten().any(|begins| begins > ahead) {
        return Err(invalid("Invalid SAML response", "the assertion is not yet valid"));
    }
    let own = |audience: &String| is_sign_in(audience) || audience == OTHER_AUDIENCE;
    let met = |named: &Vec<String>| named.iter().any(own);
    if assertion.audiences.is_empty() || !assertion.audiences.iter().all(met) {
        let because = format!("not every AudienceRestriction names {SIGN_IN}");
        return Err(invalid("Response does not contain the required audience.", because));
    }
    Ok(confirmation)
}

/// AWS's sign-in endpoint, or that of one region.
pub(crate) fn is_sign_in(url: &str) -> bool {
    let region = |host: &str| {
        let region = host.strip_suffix(".signin.aws.amazon.com/saml");
        region.is_some_and(|region| {
            !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    url == SIGN_IN || url.strip_prefix("https://").is_some_and(region)
}

fn attribute<'a>(assertion: &'a Assertion, name: &str) -> &'a [String] {
    let values = assertion.attributes.get(&format!("{ATTRIBUTES}{name}"));
    values.map(Vec::as_slice).unwrap_or_default()
}

/// Role and provider, in either order, with white space around them.
fn is_pair(stated: &str, pair: [&str; 2]) -> bool {
    let parts: Vec<&str> = stated.split(',').map(str::trim).collect();
    parts == pair || parts.iter().rev().copied().eq(pair)
}

/// What the assertion's attributes say of the session.
struct Session {
    name: String,
    duration: Option<i32>,
    tags: BTreeMap<String, String>,
    transitive: BTreeSet<String>,
    source_identity: Option<String>,
}

fn is_name(text: &str) -> bool {
    (2..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}

fn read_session(assertion: &Assertion) -> Result<Session, Decline> {
    let [name] = attribute(assertion, "RoleSessionName") else {
        return Err(invalid(
            "RoleSessionName is required in AuthnResponse",
            "the attribute is absent, or has not one value",
        ));
    };
    if !is_name(name) {
        return Err(invalid(
            "RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}",
            format!("it is {name}"),
        ));
    }
    let duration = match attribute(assertion, "SessionDuration") {
        [] => None,
        [one] => Some(
            one.parse()
                .ok()
                .filter(|seconds| (900..=43_200).contains(seconds))
                .ok_or_else(|| {
                    let because = format!("SessionDuration is {one}, not 900 to 43200");
                    invalid(
                        "SessionDuration in AuthnResponse must be between 900 and 43200",
                        because,
                    )
                })?,
        ),
        _ => return Err(invalid("Invalid SAML response", "SessionDuration has not one value")),
    };
    let source_identity = match attribute(assertion, "SourceIdentity") {
        [] => None,
        [one] => Some(one.clone()),
        _ => return Err(invalid("Invalid SAML response", "SourceIdentity has not one value")),
    };
    if source_identity
        .as_ref()
        .is_some_and(|one| !is_name(one) || one.starts_with("aws:"))
    {
        return Err(invalid(
            "Source Identity must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with \"aws:\"",
            "the SourceIdentity attribute does not",
        ));
    }
    let prefix = format!("{ATTRIBUTES}PrincipalTag:");
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for (name, values) in &assertion.attributes {
        let Some(key) = name.strip_prefix(&prefix) else {
            continue;
        };
        let [value] = values.as_slice() else {
            return Err(invalid("Invalid SAML response", format!("{name} has not one value")));
        };
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(invalid("Invalid SAML response", format!("{name} is no tag")));
        }
        if tags.keys().any(|own| own.eq_ignore_ascii_case(key)) {
            return Err(invalid(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
                format!("{key} stands twice"),
            ));
        }
        tags.insert(key.to_owned(), value.clone());
    }
    let transitive: BTreeSet<String> = attribute(assertion, "TransitiveTagKeys").iter().cloned().collect();
    if let Some(key) = transitive.iter().find(|key| !tags.contains_key(*key)) {
        return Err(invalid(
            "The specified transitive tag key must be included in the requested tags.",
            format!("there is no PrincipalTag:{key}"),
        ));
    }
    Ok(Session {
        name: name.clone(),
        duration,
        tags,
        transitive,
        source_identity,
    })
}

/// `persistent` and `transient` have names of their own.
fn subject_type(format: Option<&str>) -> String {
    let format = format.unwrap_or("urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified");
    let short = format.strip_prefix("urn:oasis:names:tc:SAML:2.0:nameid-format:");
    match short {
        Some(short @ ("persistent" | "transient")) => short.to_owned(),
        _ => format.to_owned(),
    }
}

/// By the friendly name of the provider: Base64 of SHA-1 of issuer, account and `/NAME` (API reference).
fn name_qualifier(issuer: &str, provider: &SamlProvider) -> String {
    STANDARD.encode(Sha1::digest(format!("{issuer}{}/{}", provider.account, provider.name)))
}

fn keys_of(asserted: &Asserted, provider: &SamlProvider, mut keys: Keys) -> Keys {
    keys.set("saml:aud", [asserted.audience.as_str()]);
    keys.set("saml:iss", [asserted.issuer.as_str()]);
    keys.set("saml:sub", [asserted.subject.as_str()]);
    keys.set("saml:sub_type", [asserted.subject_type.as_str()]);
    keys.set("saml:namequalifier", [asserted.name_qualifier.as_str()]);
    keys.set("saml:doc", [format!("{}/{}", provider.account, provider.name)]);
    keys
}
