//! GetSessionToken and GetFederationToken: temporary credentials that a user makes of its own. Pure; it must not know credentials or HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::assume_role::check_mfa;
use crate::context::{Origin, caller_keys};
use crate::decline::Decline;
use crate::mint::Grant;
use crate::parameters::{FederationToken, SessionToken};
use crate::policy::{Ask, Policy, decide_identity};
use crate::provenance::Via;
use crate::state::{Caller, Owner, State};
use crate::world::User;

/// Decides GetSessionToken. Users need no permission for it.
///
/// # Errors
/// The caller is no user with a long-lived key, or its second factor is wrong.
pub fn decide_session(caller: &Caller, request: &SessionToken) -> Result<Grant, Decline> {
    let Caller::User(user, key) = caller else {
        return Err(Decline::Forbidden {
            text: "Cannot call GetSessionToken with session credentials",
        });
    };
    let mfa = check_mfa(caller, &request.mfa)?;
    let owner = Owner::User(Arc::clone(user));
    Ok(Grant {
        mfa,
        ..grant(owner, Via::SessionToken, user, key, request.duration)
    })
}

/// Decides GetFederationToken: the user's own policies must allow it.
///
/// # Errors
/// The caller is no user with a long-lived key, or may not.
pub fn decide_federation(
    state: &State,
    caller: &Caller,
    request: &FederationToken,
    origin: &Origin,
    now: Timestamp,
) -> Result<Grant, Decline> {
    let Caller::User(user, key) = caller else {
        return Err(Decline::Forbidden {
            text: "Cannot call GetFederationToken with session credentials",
        });
    };
    let owner = Owner::Federated {
        user: Arc::clone(user),
        name: request.name.clone(),
    };
    let mut keys = caller_keys(caller, &state.world, origin, now);
    keys.set("aws:TagKeys", request.tags.keys().cloned());
    for (name, value) in &request.tags {
        keys.set(&format!("aws:RequestTag/{name}"), [value.as_str()]);
    }
    let mut actions = vec!["sts:GetFederationToken"];
    actions.extend((!request.tags.is_empty()).then_some("sts:TagSession"));
    for action in actions {
        let resource = owner.arn();
        let ask = Ask {
            action,
            resource: &resource,
            caller: &caller.attributes(),
            keys: &keys,
        };
        let decision = decide_identity(&caller.standing(&state.world), &ask);
        if !state.permissive && !decision.allowed {
            return Err(Decline::AccessDenied {
                caller: user.arn.clone(),
                action,
                resource,
                denied_by: decision.because,
            });
        }
    }
    Ok(Grant {
        policy: request.policy.clone(),
        policy_arns: request.policy_arns.clone(),
        tags: request.tags.clone(),
        ..grant(owner, Via::FederationToken, user, key, request.duration)
    })
}

fn grant(owner: Owner, via: Via, user: &User, key: &str, duration: i32) -> Grant {
    let policy: Option<(String, Policy)> = None;
    Grant {
        owner,
        via,
        requester: user.arn.clone(),
        requester_key: key.to_owned(),
        external_id: None,
        // The model's range was checked: 900 to 129600.
        duration_seconds: u32::try_from(duration).unwrap_or_default(),
        policy,
        policy_arns: Vec::new(),
        tags: BTreeMap::new(),
        transitive_tag_keys: BTreeSet::new(),
        source_identity: None,
        mfa: false,
        provider: None,
        delivery: None,
    }
}
