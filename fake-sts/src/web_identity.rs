//! AssumeRoleWithWebIdentity: whether a token is believed, and which role its bearer gets. Pure; it must not know credentials, HTTP or XML.

use jiff::Timestamp;

use crate::arn::RoleArn;
use crate::context::{Origin, connection_keys};
use crate::decline::Decline;
use crate::federated::{self, Vouched, Weighed};
use crate::mint::Grant;
use crate::oidc::{Check, Issuer, Reading, Token, TokenError, session_tags};
use crate::parameters::WebIdentity;
use crate::policy::Keys;
use crate::provenance::Via;
use crate::state::{Owner, State};
use crate::world::{OidcProvider, Role, bare_issuer};

/// How far in the future a token may say that it was issued: clocks differ.
const SKEW_SECONDS: i64 = 60;

const ACTION: &str = "sts:AssumeRoleWithWebIdentity";

/// By this claim an issuer says which roles a token is for (since July 2026).
const ROLES_CLAIM: &str = "https://aws.amazon.com/roles";

/// What the answer says of the token, beside the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// `sub`.
    pub subject: String,
    /// The audience that counted.
    pub audience: String,
    /// `iss`.
    pub issuer: String,
}

/// Decides AssumeRoleWithWebIdentity.
///
/// # Errors
/// The token is not believed, or the role's trust policy does not grant.
pub fn decide(
    state: &State,
    request: &WebIdentity,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Grant, Identified), Decline> {
    let denied = |action: &'static str, denied_by: String| Decline::WebIdentityDenied { action, denied_by };
    let reading = state
        .laxity
        .read(request.token.expose())
        .map_err(|error| malformed(&error))?;
    let token = &reading.token;
    let Some(arn) = RoleArn::parse(&request.role_arn) else {
        return Err(denied(ACTION, "no role has this ARN".to_owned()));
    };
    let provider = believe(state, &arn.account, &reading, now)?;
    let Some(role) = state.world.role_by_arn(&arn) else {
        return Err(denied(ACTION, "no such role".to_owned()));
    };
    if roles_of(token, &request.role_arn) == Some(false) {
        return Err(Decline::InvalidIdentityToken {
            text: "The role is not among those that the token is for".to_owned(),
            because: format!("{ROLES_CLAIM} does not name {}", request.role_arn),
        });
    }
    let (tags, transitive_tag_keys) = session_tags(&token.claims).map_err(|error| malformed(&error))?;
    let source_identity = source_identity_of(token);
    if !state.permissive {
        for step in weigh(
            role,
            provider,
            token,
            &request.session_name,
            connection_keys(origin, now),
        ) {
            if let Some(why) = step.finding.objection("trust policy") {
                return Err(denied(step.action, why));
            }
        }
    }
    if i64::from(request.duration) > i64::from(role.max_session_seconds) {
        return Err(Decline::ExceedsRole);
    }
    let identified = Identified {
        subject: token.subject.clone().unwrap_or_default(),
        audience: effective_audiences(token).first().cloned().unwrap_or_default(),
        issuer: token.issuer.clone(),
    };
    let grant = Grant {
        owner: Owner::Role {
            arn,
            id: role.id.clone(),
            name: request.session_name.clone(),
            of_world: true,
        },
        via: Via::WebIdentity,
        requester: format!("{} {}", provider.arn, identified.subject),
        requester_key: String::new(),
        external_id: None,
        // The model's range was checked: 900 to 43200.
        duration_seconds: u32::try_from(request.duration).unwrap_or_default(),
        policy: request.policy.clone(),
        policy_arns: request.policy_arns.clone(),
        tags,
        transitive_tag_keys,
        source_identity,
        mfa: false,
        provider: Some(provider.arn.clone()),
        delivery: None,
    };
    Ok((grant, identified))
}

/// Whether a token that says which roles it is for names this one; `None` when it says nothing. A claim of another shape names none.
fn roles_of(token: &Token, role_arn: &str) -> Option<bool> {
    token.claims.get(ROLES_CLAIM).map(|stated| match stated {
        serde_json::Value::String(one) => one == role_arn,
        serde_json::Value::Array(several) => several.iter().any(|one| one.as_str() == Some(role_arn)),
        _ => false,
    })
}

fn source_identity_of(token: &Token) -> Option<String> {
    let stated = token.claims.get("https://aws.amazon.com/source_identity")?;
    stated.as_str().map(str::to_owned)
}

/// What a role's trust policy says of a token that is believed. Nobody stands behind a token but the token: no other policy takes part.
#[must_use]
pub fn weigh(role: &Role, provider: &OidcProvider, token: &Token, session_name: &str, mut keys: Keys) -> Vec<Weighed> {
    let (tags, transitive) = session_tags(&token.claims).unwrap_or_default();
    let source_identity = source_identity_of(token);
    let authorized = roles_of(token, &role.arn.to_string()) == Some(true);
    keys.set("sts:RoleAuthorizedByIdp", [authorized.to_string()]);
    claim_keys(&mut keys, provider, token);
    let vouched = Vouched {
        provider: &provider.arn,
        session_name,
        tags: &tags,
        transitive: &transitive,
        source_identity: source_identity.as_deref(),
    };
    federated::weigh(role, ACTION, vouched, keys)
}

/// Whether the account believes a token: its issuer is registered, a published key signed it, it is for a registered audience and in its
/// time.
fn believe<'a>(
    state: &'a State,
    account: &str,
    reading: &Reading,
    now: Timestamp,
) -> Result<&'a OidcProvider, Decline> {
    let refused = |text: &str, because: &str| Decline::InvalidIdentityToken {
        text: text.to_owned(),
        because: if because.is_empty() {
            text.to_owned()
        } else {
            because.to_owned()
        },
    };
    let (token, laxity) = (&reading.token, &state.laxity);
    let registered = state.world.provider_for(account, &token.issuer);
    let any = || {
        laxity
            .skips(Check::Issuer)
            .then(|| state.world.providers_of(account).next())
    };
    let Some(provider) = registered.or_else(|| any().flatten()) else {
        let text = format!("No OpenIDConnect provider found in your account for {}", token.issuer);
        return Err(refused(&text, ""));
    };
    let unreachable = |because: &str| {
        refused(
            "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
            because,
        )
    };
    let issuer = state.issuer(&token.issuer);
    let any = || laxity.skips(Check::Issuer).then(|| state.issuers.first());
    let Some(issuer) = issuer.or_else(|| any().flatten()) else {
        return Err(unreachable(
            "the world has no [[issuer]] of this URL, and the fake fetches nothing",
        ));
    };
    if issuer.unavailable {
        return Err(unreachable("the issuer is unavailable"));
    }
    let mut keys = issuer.published();
    if laxity.skips(Check::WithdrawnKey) {
        keys.extend(issuer.withdrawn());
    }
    if laxity.skips(Check::Issuer) {
        keys.extend(state.issuers.iter().flat_map(Issuer::published));
    }
    if !reading.names_one_of(&keys) {
        return Err(unreachable("the issuer publishes no key of this kid"));
    }
    if !reading.verifies(&keys) {
        return Err(refused(
            "Invalid token signature",
            "no published key made this signature",
        ));
    }
    let seconds = now.as_second();
    let Some(expires) = token.expires_at else {
        return Err(refused("Missing a required claim: exp", ""));
    };
    if expires <= seconds && !laxity.skips(Check::Expiry) {
        return Err(Decline::ExpiredIdentityToken { now: seconds, expires });
    }
    let Some(issued) = token.issued_at else {
        return Err(refused("Missing a required claim: iat", ""));
    };
    let begins = issued.max(token.not_before.unwrap_or(issued));
    if begins > seconds.saturating_add(SKEW_SECONDS) && !laxity.skips(Check::Expiry) {
        return Err(refused("Token is not yet valid", "iat or nbf lies ahead"));
    }
    if token.subject.as_deref().is_none_or(str::is_empty) {
        return Err(refused("Missing a required claim: sub", ""));
    }
    let audiences = effective_audiences(token);
    if audiences.is_empty() {
        return Err(refused("Missing a required claim: aud", ""));
    }
    let is_registered = |audience: &String| provider.client_ids.contains(audience);
    if !audiences.iter().any(is_registered) && !laxity.skips(Check::Audience) {
        let because = format!("the provider takes {}", provider.client_ids.join(", "));
        return Err(refused("Incorrect token audience", &because));
    }
    Ok(provider)
}

/// `azp` stands over `aud` where there is one.
fn effective_audiences(token: &Token) -> Vec<String> {
    match &token.authorized_party {
        Some(party) => vec![party.clone()],
        None => token.audiences.clone(),
    }
}

/// The claims that AWS makes condition keys of. GitLab's own claims are none, unless the provider of this world says so.
fn claim_keys(keys: &mut Keys, provider: &OidcProvider, token: &Token) {
    let Some(bare) = bare_issuer(&provider.url) else { return };
    if provider.custom_claims {
        keys.know_claims_of(bare);
        for (name, value) in &token.claims {
            let text = match value {
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(value.to_string()),
                serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
            };
            keys.set(&format!("{bare}:{name}"), text);
        }
    }
    keys.set(&format!("{bare}:sub"), token.subject.clone());
    keys.set(&format!("{bare}:aud"), effective_audiences(token));
    keys.set(&format!("{bare}:amr"), token.methods.clone());
    let original = token.authorized_party.is_some().then(|| token.audiences.clone());
    keys.set(&format!("{bare}:oaud"), original.unwrap_or_default());
}

fn malformed(error: &TokenError) -> Decline {
    Decline::InvalidIdentityToken {
        text: "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
            .to_owned(),
        because: error.to_string(),
    }
}
