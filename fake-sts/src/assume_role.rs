//! AssumeRole: who may, and for how long. Pure; it must not know credentials, HTTP or XML.

use jiff::Timestamp;
use thiserror::Error;

use crate::arn::RoleArn;
use crate::mint::Grant;
use crate::parameters::AssumeRole;
use crate::policy::{Ask, Finding, Keys, Match, Policy, evaluate};
use crate::provenance::Via;
use crate::state::{Caller, State};
use crate::world::Role;

/// Longest session when a role's session assumes a role.
const CHAINED_SECONDS: i32 = 3_600;

/// Why a well-formed AssumeRole was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AssumeRoleError {
    /// One text for every reason, a role that does not exist included.
    #[error("User: {caller} is not authorized to perform: {action} on resource: {role_arn}")]
    AccessDenied {
        /// ARN of the caller.
        caller: String,
        /// The action that was refused.
        action: &'static str,
        /// As sent.
        role_arn: String,
        /// The true reason, for the ledger alone.
        denied_by: String,
    },
    /// Longer than the role allows.
    #[error("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")]
    ExceedsRole,
    /// Longer than a chained session may be.
    #[error("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")]
    ExceedsChaining,
    /// A session keeps its source identity.
    #[error("The source identity is already set for this assume role session")]
    SourceIdentityFixed,
    /// An inherited tag may not be set anew.
    #[error(
        "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session."
    )]
    TransitiveTagConflict,
}

/// What the connection says of a request, for condition keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Peer address.
    pub source_ip: Option<std::net::IpAddr>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Region of the credential scope.
    pub region: String,
}

/// Decides AssumeRole.
///
/// # Errors
/// The first refusal in STS's order: authorization, then contextual limits.
pub fn decide(
    state: &State,
    caller: &Caller,
    request: &AssumeRole,
    origin: &Origin,
    now: Timestamp,
) -> Result<Grant, AssumeRoleError> {
    let attributes = caller.attributes();
    let denied = |action: &'static str, denied_by: String| AssumeRoleError::AccessDenied {
        caller: attributes.arn.to_owned(),
        action,
        role_arn: request.role_arn.clone(),
        denied_by,
    };
    let inherited = Inherited::of(caller);
    if let (Some(own), Some(asked)) = (&inherited.source_identity, &request.source_identity)
        && own != asked
    {
        return Err(AssumeRoleError::SourceIdentityFixed);
    }
    if request
        .tags
        .keys()
        .any(|key| inherited.tags.iter().any(|(own, _)| own.eq_ignore_ascii_case(key)))
    {
        return Err(AssumeRoleError::TransitiveTagConflict);
    }
    let arn = RoleArn::parse(&request.role_arn);
    let role = arn.as_ref().and_then(|arn| state.world.role_by_arn(arn));
    let Some(arn) = arn else {
        return Err(denied(ACTION, "no role has this ARN".to_owned()));
    };
    if !state.permissive {
        let Some(role) = role else {
            return Err(denied(ACTION, "no such role".to_owned()));
        };
        let keys = condition_keys(caller, request, &inherited, origin, now);
        for action in required_actions(request, &inherited) {
            let ask = Ask {
                action,
                resource: &request.role_arn,
                caller: &attributes,
                keys: &keys,
            };
            authorize(state, caller, role, &ask).map_err(|why| denied(action, why))?;
        }
    }
    if role.is_some_and(|role| i64::from(request.duration) > i64::from(role.max_session_seconds)) {
        return Err(AssumeRoleError::ExceedsRole);
    }
    if matches!(caller, Caller::Session(_)) && request.duration > CHAINED_SECONDS {
        return Err(AssumeRoleError::ExceedsChaining);
    }
    let mut tags = request.tags.clone();
    let mut transitive_tag_keys = request.transitive_tag_keys.clone();
    for (key, value) in inherited.tags {
        transitive_tag_keys.insert(key.clone());
        tags.insert(key, value);
    }
    Ok(Grant {
        role_id: role.map_or_else(|| UNLISTED_ROLE_ID.to_owned(), |role| role.id.clone()),
        of_world: role.is_some(),
        role_arn: arn,
        session_name: request.session_name.clone(),
        via: Via::AssumeRole,
        requester: attributes.arn.to_owned(),
        requester_key: caller.access_key_id().to_owned(),
        external_id: request.external_id.clone(),
        // The model's range was checked: 900 to 43200.
        duration_seconds: u32::try_from(request.duration).unwrap_or_default(),
        policy: request.policy.clone(),
        policy_arns: request.policy_arns.clone(),
        tags,
        transitive_tag_keys,
        source_identity: request.source_identity.clone().or(inherited.source_identity),
    })
}

const ACTION: &str = "sts:AssumeRole";

/// The id of every role that `--permissive` accepted without knowing it.
const UNLISTED_ROLE_ID: &str = "AROAUNLISTEDROLE77777";

/// What a chained session takes over from the session that asks.
struct Inherited {
    tags: Vec<(String, String)>,
    source_identity: Option<String>,
}

impl Inherited {
    fn of(caller: &Caller) -> Self {
        match caller {
            Caller::User(_) => Self {
                tags: Vec::new(),
                source_identity: None,
            },
            Caller::Session(session) => Self {
                tags: session
                    .tags
                    .iter()
                    .filter(|(key, _)| {
                        session
                            .transitive_tag_keys
                            .iter()
                            .any(|own| own.eq_ignore_ascii_case(key))
                    })
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
                source_identity: session.source_identity.clone(),
            },
        }
    }
}

fn required_actions(request: &AssumeRole, inherited: &Inherited) -> Vec<&'static str> {
    let mut actions = vec![ACTION];
    if !request.tags.is_empty() || !inherited.tags.is_empty() {
        actions.push("sts:TagSession");
    }
    if request.source_identity.is_some() || inherited.source_identity.is_some() {
        actions.push("sts:SetSourceIdentity");
    }
    actions
}

/// Trust policy and identity policies, each with its Deny; the identity policies are not asked when the trust policy of a role in the
/// caller's own account names the caller itself. A session policy must always allow.
fn authorize(state: &State, caller: &Caller, role: &Role, ask: &Ask<'_>) -> Result<(), String> {
    let trusted = match evaluate(&role.trust, ask) {
        Finding::Denied(by) => return Err(format!("trust policy: explicit deny in {by}")),
        Finding::Silent(why) => return Err(silent("trust policy", &why)),
        Finding::Allowed(found) => found,
    };
    let (policies, session_policy): (&[Policy], Option<&Policy>) = match caller {
        Caller::User(user) => (&user.policies, None),
        Caller::Session(session) => {
            let own = state
                .world
                .role_by_arn(&session.role_arn)
                .map(|role| role.policies.as_slice());
            (own.unwrap_or_default(), session.policy.as_ref())
        }
    };
    let mut allowed = trusted == Match::Direct && ask.caller.account == role.arn.account;
    let mut reasons = Vec::new();
    for policy in policies {
        match evaluate(policy, ask) {
            Finding::Denied(by) => return Err(format!("identity policy: explicit deny in {by}")),
            Finding::Allowed(_) => allowed = true,
            Finding::Silent(why) => reasons.extend(why),
        }
    }
    if let Some(policy) = session_policy {
        match evaluate(policy, ask) {
            Finding::Denied(by) => return Err(format!("session policy: explicit deny in {by}")),
            Finding::Silent(why) => return Err(silent("session policy", &why)),
            Finding::Allowed(_) => {}
        }
    }
    if let Caller::Session(session) = caller
        && let Some(arn) = session.policy_arns.first()
    {
        // What it says decides what the session may do, so whoever does not know it must not allow anything.
        return Err(format!("session policy: this fake does not know what {arn} says"));
    }
    if allowed {
        Ok(())
    } else {
        Err(silent("identity policy", &reasons))
    }
}

fn silent(which: &str, reasons: &[String]) -> String {
    if reasons.is_empty() {
        format!("{which}: no statement allows the action")
    } else {
        format!("{which}: no statement allows; {}", reasons.join("; "))
    }
}

fn condition_keys(
    caller: &Caller,
    request: &AssumeRole,
    inherited: &Inherited,
    origin: &Origin,
    now: Timestamp,
) -> Keys {
    let mut keys = Keys::default();
    let attributes = caller.attributes();
    keys.set("aws:PrincipalArn", [attributes.principal_arn]);
    keys.set("aws:PrincipalAccount", [attributes.account]);
    keys.set("aws:userid", [caller.user_id()]);
    match caller {
        Caller::User(user) => {
            keys.set("aws:PrincipalType", ["User"]);
            keys.set("aws:username", [user.name.as_str()]);
        }
        Caller::Session(session) => {
            keys.set("aws:PrincipalType", ["AssumedRole"]);
            keys.set("aws:TokenIssueTime", [session.issued_at.to_string()]);
            // Temporary credentials always carry the key; this fake knows no MFA.
            keys.set("aws:MultiFactorAuthPresent", ["false"]);
            for (key, value) in &session.tags {
                keys.set(&format!("aws:PrincipalTag/{key}"), [value.as_str()]);
            }
        }
    }
    keys.set("aws:CurrentTime", [now.to_string()]);
    keys.set("aws:EpochTime", [now.as_second().to_string()]);
    keys.set("aws:PrincipalIsAWSService", ["false"]);
    keys.set("aws:ViaAWSService", ["false"]);
    // The real service speaks TLS only, so its policies see nothing else.
    keys.set("aws:SecureTransport", ["true"]);
    keys.set("aws:RequestedRegion", [origin.region.as_str()]);
    keys.set("aws:SourceIp", origin.source_ip.map(|ip| ip.to_string()));
    keys.set("aws:UserAgent", origin.user_agent.clone());
    keys.set("sts:RoleSessionName", [request.session_name.as_str()]);
    keys.set("sts:ExternalId", request.external_id.clone());
    keys.set("aws:SourceIdentity", inherited.source_identity.clone());
    let source_identity = request
        .source_identity
        .clone()
        .or_else(|| inherited.source_identity.clone());
    keys.set("sts:SourceIdentity", source_identity);
    keys.set("aws:TagKeys", request.tags.keys().cloned());
    keys.set("sts:TransitiveTagKeys", request.transitive_tag_keys.iter().cloned());
    for (key, value) in &request.tags {
        keys.set(&format!("aws:RequestTag/{key}"), [value.as_str()]);
    }
    keys
}
