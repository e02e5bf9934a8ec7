//! AssumeRole: who may, and for how long. Pure; it must not know credentials, HTTP or XML.

use jiff::Timestamp;

use crate::arn::RoleArn;
use crate::context::{Origin, caller_keys};
use crate::decline::Decline;
use crate::mint::Grant;
use crate::parameters::{AssumeRole, Mfa};
use crate::policy::{Ask, Decision, Keys, decide_trust};
use crate::provenance::Via;
use crate::state::{Caller, Owner, State};
use crate::world::Role;

/// Longest session when a role's session assumes a role.
const CHAINED_SECONDS: i32 = 3_600;

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
) -> Result<Grant, Decline> {
    let attributes = caller.attributes();
    let denied = |action: &'static str, denied_by: String| Decline::AccessDenied {
        caller: attributes.arn.to_owned(),
        action,
        resource: request.role_arn.clone(),
        denied_by,
    };
    check_session(caller, request)?;
    let mfa = check_mfa(caller, &request.mfa)?;
    let arn = RoleArn::parse(&request.role_arn);
    let role = arn.as_ref().and_then(|arn| state.world.role_by_arn(arn));
    let Some(arn) = arn else {
        return Err(denied(ACTION, "no role has this ARN".to_owned()));
    };
    if !state.permissive {
        let Some(role) = role else {
            return Err(denied(ACTION, "no such role".to_owned()));
        };
        for (action, decision) in judge(state, caller, role, request, origin, mfa, now)? {
            if !decision.allowed {
                return Err(denied(action, decision.because));
            }
        }
    }
    let inherited = Inherited::of(caller);
    if role.is_some_and(|role| i64::from(request.duration) > i64::from(role.max_session_seconds)) {
        return Err(Decline::ExceedsRole);
    }
    let chained = matches!(caller, Caller::Session(session) if matches!(session.owner, Owner::Role { .. }));
    if chained && request.duration > CHAINED_SECONDS {
        return Err(Decline::ExceedsChaining);
    }
    let mut tags = request.tags.clone();
    let mut transitive_tag_keys = request.transitive_tag_keys.clone();
    for (key, value) in inherited.tags {
        transitive_tag_keys.insert(key.clone());
        tags.insert(key, value);
    }
    Ok(Grant {
        owner: Owner::Role {
            id: role.map_or_else(|| UNLISTED_ROLE_ID.to_owned(), |role| role.id.clone()),
            of_world: role.is_some(),
            arn,
            name: request.session_name.clone(),
        },
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
        mfa: false,
        provider: None,
        delivery: None,
    })
}

const ACTION: &str = "sts:AssumeRole";

/// The id of every role that `--permissive` accepted without knowing it.
const UNLISTED_ROLE_ID: &str = "AROAUNLISTEDROLE77777";

/// What the policies say of each action that a request needs, in the order in which they are asked.
///
/// # Errors
/// The caller's session may not ask at all, or not for this.
pub fn judge(
    state: &State,
    caller: &Caller,
    role: &Role,
    request: &AssumeRole,
    origin: &Origin,
    mfa: bool,
    now: Timestamp,
) -> Result<Vec<(&'static str, Decision)>, Decline> {
    check_session(caller, request)?;
    let inherited = Inherited::of(caller);
    let mut keys = caller_keys(caller, &state.world, origin, now);
    add_request(&mut keys, request, &inherited);
    if mfa {
        keys.set("aws:MultiFactorAuthPresent", ["true"]);
        keys.set("aws:MultiFactorAuthAge", ["0"]);
    }
    let attributes = caller.attributes();
    let decisions = required_actions(request, &inherited).into_iter().map(|action| {
        let ask = Ask {
            action,
            resource: &request.role_arn,
            caller: &attributes,
            keys: &keys,
        };
        (action, authorize(state, caller, role, &ask))
    });
    Ok(decisions.collect())
}

/// What a session may not ask for, whatever any policy says.
fn check_session(caller: &Caller, request: &AssumeRole) -> Result<(), Decline> {
    let Caller::Session(session) = caller else {
        return Ok(());
    };
    match session.owner {
        Owner::Root { .. } => {
            return Err(Decline::Forbidden {
                text: "Roles may not be assumed by root accounts.",
            });
        }
        Owner::Federated { .. } => {
            return Err(Decline::AccessDenied {
                caller: session.arn.clone(),
                action: ACTION,
                resource: request.role_arn.clone(),
                denied_by: "credentials of a federated user may call nothing of STS but GetCallerIdentity".to_owned(),
            });
        }
        Owner::Role { .. } | Owner::User(_) => {}
    }
    let inherited = Inherited::of(caller);
    if let (Some(own), Some(asked)) = (&inherited.source_identity, &request.source_identity)
        && own != asked
    {
        return Err(Decline::SourceIdentityFixed);
    }
    let inherits = |key: &String| inherited.tags.iter().any(|(own, _)| own.eq_ignore_ascii_case(key));
    if request.tags.keys().any(inherits) {
        return Err(Decline::TransitiveTagConflict);
    }
    Ok(())
}

/// What a chained session takes over from the session that asks.
struct Inherited {
    tags: Vec<(String, String)>,
    source_identity: Option<String>,
}

impl Inherited {
    fn of(caller: &Caller) -> Self {
        match caller {
            Caller::User(..) => Self {
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

/// Trust policy, identity policies, permissions boundary and session policies together.
#[must_use]
pub fn authorize(state: &State, caller: &Caller, role: &Role, ask: &Ask<'_>) -> Decision {
    let same_account = ask.caller.account == role.arn.account && ask.caller.partition == role.arn.partition;
    decide_trust(role.trust.policy(), same_account, &caller.standing(&state.world), ask)
}

/// Whether a second factor was shown. The code that a world file gives is always the right one.
///
/// # Errors
/// Half of it, or a wrong one.
pub fn check_mfa(caller: &Caller, shown: &Mfa) -> Result<bool, Decline> {
    let (serial, code) = match (&shown.serial, &shown.code) {
        (None, None) => return Ok(false),
        (Some(serial), Some(code)) => (serial, code),
        (Some(_), None) | (None, Some(_)) => {
            return Err(Decline::Forbidden {
                text: "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.",
            });
        }
    };
    let own = match caller {
        Caller::User(user, _) => user.mfa.as_ref(),
        Caller::Session(_) => None,
    };
    match own {
        Some((wanted, right)) if wanted == serial && right == code => Ok(true),
        Some((wanted, _)) if wanted == serial => Err(Decline::Forbidden {
            text: "MultiFactorAuthentication failed with invalid MFA one time pass code. ",
        }),
        Some(_) | None => Err(Decline::Forbidden {
            text: "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.",
        }),
    }
}

fn add_request(keys: &mut Keys, request: &AssumeRole, inherited: &Inherited) {
    keys.set("sts:RoleSessionName", [request.session_name.as_str()]);
    keys.set("sts:ExternalId", request.external_id.clone());
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
}
