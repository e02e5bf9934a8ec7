//! Actions of STS that only the caller's own policies decide about, and which credentials may call STS at all. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use std::collections::{BTreeMap, BTreeSet};

use crate::context::{Origin, caller_keys};
use crate::decline::Decline;
use crate::mint::Grant;
use crate::parameters::{RootSession, WebToken};
use crate::policy::{Ask, Keys, decide_identity};
use crate::provenance::Via;
use crate::state::{Caller, Owner, State};

/// The tasks that AWS has policies for.
const ROOT_TASKS: [&str; 5] = [
    "IAMAuditRootUserCredentials",
    "IAMCreateRootUserPassword",
    "IAMDeleteRootUserCredentials",
    "S3UnlockBucketPolicy",
    "SQSUnlockQueuePolicy",
];

/// Whether these credentials may call anything of STS beside GetCallerIdentity and AssumeRole.
///
/// # Errors
/// They are of GetSessionToken, of a federated user or of a root session.
fn check_kind(caller: &Caller, action: &'static str, resource: &str) -> Result<(), Decline> {
    let Caller::Session(session) = caller else {
        return Ok(());
    };
    let because = match &session.owner {
        Owner::Role { .. } => return Ok(()),
        Owner::User(_) => "credentials of GetSessionToken may call nothing of STS but AssumeRole and GetCallerIdentity",
        Owner::Federated { .. } => "credentials of a federated user may call nothing of STS but GetCallerIdentity",
        Owner::Root { .. } => "the task policy of a root session allows nothing of STS",
    };
    Err(Decline::AccessDenied {
        caller: session.arn.clone(),
        action,
        resource: resource.to_owned(),
        denied_by: because.to_owned(),
    })
}

/// Whether the caller's policies allow an action.
///
/// # Errors
/// They do not.
pub fn permit(
    state: &State,
    caller: &Caller,
    action: &'static str,
    resource: &str,
    keys: &Keys,
) -> Result<(), Decline> {
    check_kind(caller, action, resource)?;
    let attributes = caller.attributes();
    let ask = Ask {
        action,
        resource,
        caller: &attributes,
        keys,
    };
    let decision = decide_identity(&caller.standing(&state.world), &ask);
    if decision.allowed || state.permissive {
        return Ok(());
    }
    Err(Decline::AccessDenied {
        caller: attributes.arn.to_owned(),
        action,
        resource: resource.to_owned(),
        denied_by: decision.because,
    })
}

/// Decides AssumeRoot: the management account may, for a member, for one task, where root sessions are switched on.
///
/// # Errors
/// It may not.
pub fn decide_root(
    state: &State,
    caller: &Caller,
    request: &RootSession,
    origin: &Origin,
    now: Timestamp,
) -> Result<Grant, Decline> {
    let attributes = caller.attributes();
    let resource = format!("arn:{}:iam::{}:root", attributes.partition, request.account);
    let denied = |why: &str| Decline::AccessDenied {
        caller: attributes.arn.to_owned(),
        action: "sts:AssumeRoot",
        resource: request.target.clone(),
        denied_by: why.to_owned(),
    };
    let mut keys = caller_keys(caller, &state.world, origin, now);
    keys.set("sts:TaskPolicyArn", [request.task.as_str()]);
    permit(state, caller, "sts:AssumeRoot", &resource, &keys)?;
    let prefix = format!("arn:{}:iam::aws:policy/root-task/", attributes.partition);
    if !request
        .task
        .strip_prefix(&prefix)
        .is_some_and(|task| ROOT_TASKS.contains(&task))
    {
        return Err(denied("there is no such task policy"));
    }
    let Some(organization) = &state.world.organization else {
        return Err(denied("the world has no [organization]"));
    };
    if !organization.root_sessions {
        return Err(denied("root_sessions of [organization] are off"));
    }
    if organization.management != attributes.account {
        return Err(denied("the caller is not of the management account"));
    }
    if request.account == organization.management || !organization.accounts.contains(&request.account) {
        return Err(denied("the target is no member account"));
    }
    Ok(Grant {
        owner: Owner::Root {
            account: request.account.clone(),
            partition: attributes.partition.to_owned(),
            task: request.task.clone(),
        },
        via: Via::AssumeRoot,
        requester: attributes.arn.to_owned(),
        requester_key: caller.access_key_id().to_owned(),
        external_id: None,
        // The model's range was checked: 0 to 900.
        duration_seconds: u32::try_from(request.duration).unwrap_or_default(),
        policy: None,
        policy_arns: Vec::new(),
        tags: BTreeMap::new(),
        transitive_tag_keys: BTreeSet::new(),
        source_identity: match caller {
            Caller::Session(session) => session.source_identity.clone(),
            Caller::User(..) => None,
        },
        mfa: false,
        provider: None,
        delivery: None,
    })
}

/// Decides GetWebIdentityToken: the claims of the token, and when it ends.
///
/// # Errors
/// It is not switched on, the caller may not, or the token would outlive the caller's session.
pub fn decide_web_token(
    state: &State,
    caller: &Caller,
    request: &WebToken,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Value, Timestamp), Decline> {
    let attributes = caller.attributes();
    let mut keys = caller_keys(caller, &state.world, origin, now);
    keys.set("sts:IdentityTokenAudience", request.audiences.iter().cloned());
    keys.set("sts:SigningAlgorithm", [request.algorithm.name()]);
    keys.set("sts:DurationSeconds", [request.duration.to_string()]);
    keys.set("aws:TagKeys", request.tags.keys().cloned());
    for (name, value) in &request.tags {
        keys.set(&format!("aws:RequestTag/{name}"), [value.as_str()]);
    }
    permit(state, caller, "sts:GetWebIdentityToken", "*", &keys)?;
    if !request.tags.is_empty() {
        permit(state, caller, "sts:TagGetWebIdentityToken", "*", &keys)?;
    }
    let account = attributes.account;
    let disabled = || Decline::OutboundDisabled {
        account: account.to_owned(),
    };
    if account != state.world.account.id {
        return Err(disabled());
    }
    let issuer = state.outbound.as_ref().ok_or_else(disabled)?;
    let issued = now.as_second();
    let expires = issued.saturating_add(i64::from(request.duration));
    let ends = match caller {
        Caller::Session(session) => Some(session.expiration.as_second()),
        Caller::User(..) => None,
    };
    if ends.is_some_and(|ends| ends < expires) {
        return Err(Decline::DurationEscalation);
    }
    let principal_tags: BTreeMap<&String, &String> = match caller {
        Caller::Session(session) => session.tags.iter().collect(),
        Caller::User(user, _) => user.holder.tags.iter().collect(),
    };
    let mut own = json!({
        "aws_account": account,
        "source_region": origin.region,
        "principal_id": attributes.principal_arn,
        "principal_tags": principal_tags,
        "request_tags": request.tags,
    });
    if let (Some(table), Some(ends)) = (own.as_object_mut(), ends) {
        let at = Timestamp::from_second(ends)
            .map(|at| at.to_string())
            .unwrap_or_default();
        table.insert("original_session_exp".to_owned(), json!(at));
    }
    if let (Some(table), Some(organization)) = (own.as_object_mut(), &state.world.organization) {
        table.insert("org_id".to_owned(), json!(organization.id));
    }
    let audience = match request.audiences.as_slice() {
        [one] => json!(one),
        several => json!(several),
    };
    let claims = json!({
        "iss": issuer.url(),
        "sub": attributes.principal_arn,
        "aud": audience,
        "iat": issued,
        "exp": expires,
        "https://sts.amazonaws.com/": own,
    });
    Ok((claims, Timestamp::from_second(expires).unwrap_or(now)))
}
