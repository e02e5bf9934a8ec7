//! The control routes that only this fake has: credentials of an instance, and roles. It must not be reachable by jobs.

mod federation;
mod saml;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use fake_kit::control::{self, refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

pub use federation::{TokenRefused, WantedToken, issue_token};
pub use saml::{AssertionRefused, Made, make_assertion};

use crate::arn::RoleArn;
use crate::mint::Grant;
use crate::policy::{Ask, Attributes, Keys, Kind, evaluate, read_document};
use crate::provenance::{Delivery, Via};
use crate::service::Sts;
use crate::state::{Owner, Session, State};
use crate::world;

/// EC2 hands out credentials of an instance under this name.
const EC2: &str = "ec2.amazonaws.com";

/// The id of the instance identity role, which IAM does not list.
const IDENTITY_ROLE_ID: &str = "AROAEC2INSTANCEROLE22";

/// `POST /credentials`: an instance asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The role's ARN.
    pub role_arn: String,
    /// The instance id.
    pub session_name: String,
    /// `instance-profile` or `instance-identity`.
    pub via: Via,
    /// Lifetime.
    pub duration_seconds: u32,
    /// The name of the canary to plant.
    pub canary: String,
    /// `1.0` if version 1 of the metadata service hands them out, else `2.0`.
    #[serde(default)]
    pub delivery: Delivery,
}

/// What it gets. No `Debug`: it is all secrets.
#[derive(Clone, Serialize)]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

impl From<&Session> for Credentials {
    fn from(session: &Session) -> Self {
        Self {
            access_key_id: session.access_key_id.clone(),
            secret_access_key: session.secret.expose().to_owned(),
            session_token: session.token.expose().to_owned(),
            expiration: session.expiration.to_string(),
        }
    }
}

/// Why an instance gets no credentials.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WantedError {
    /// Not a role's ARN.
    #[error("{role_arn} is no role ARN")]
    BadArn {
        /// As sent.
        role_arn: String,
    },
    /// AssumeRole is what signed requests are for.
    #[error("via must be instance-profile or instance-identity")]
    BadVia,
    /// The world has no such role.
    #[error("the world has no role {role_arn}: add [[role]], or PUT /roles/NAME")]
    NoSuchRole {
        /// As sent.
        role_arn: String,
    },
    /// The role does not trust EC2.
    #[error(
        "AssumeRoleUnauthorizedAccess: the trust policy of {role_arn} does not let ec2.amazonaws.com assume it ({why})"
    )]
    Untrusted {
        /// As sent.
        role_arn: String,
        /// From the evaluation.
        why: String,
    },
}

/// Decides whether an instance gets credentials of a role. The instance identity role stands in no world and needs no trust.
///
/// # Errors
/// When the role is not one, does not exist, or does not trust EC2.
pub fn decide(state: &State, wanted: &Wanted) -> Result<Grant, WantedError> {
    let role_arn = wanted.role_arn.clone();
    let arn = RoleArn::parse(&role_arn).ok_or_else(|| WantedError::BadArn {
        role_arn: role_arn.clone(),
    })?;
    let role = state.world.role_by_arn(&arn);
    match (wanted.via, role) {
        (
            Via::AssumeRole | Via::WebIdentity | Via::Saml | Via::SessionToken | Via::FederationToken | Via::AssumeRoot,
            _,
        ) => {
            return Err(WantedError::BadVia);
        }
        (Via::InstanceIdentity, _) => {}
        (Via::InstanceProfile, _) if state.permissive => {}
        (Via::InstanceProfile, None) => return Err(WantedError::NoSuchRole { role_arn }),
        (Via::InstanceProfile, Some(role)) => {
            let caller = Attributes {
                arn: "",
                principal_arn: "",
                unique_id: "",
                account: &arn.account,
                partition: &arn.partition,
                service: Some(EC2),
                federated: None,
            };
            let mut keys = Keys::default();
            keys.set("aws:PrincipalServiceName", [EC2]);
            keys.set("aws:PrincipalIsAWSService", ["true"]);
            keys.set("aws:SourceAccount", [arn.account.as_str()]);
            keys.set("sts:RoleSessionName", [wanted.session_name.as_str()]);
            let ask = Ask {
                action: "sts:AssumeRole",
                resource: &role_arn,
                caller: &caller,
                keys: &keys,
            };
            if let Some(objection) = evaluate(role.trust.policy(), &ask).objection("") {
                let why = objection.trim_start_matches(": ").to_owned();
                return Err(WantedError::Untrusted { role_arn, why });
            }
        }
    }
    Ok(Grant {
        owner: Owner::Role {
            id: role.map_or_else(|| IDENTITY_ROLE_ID.to_owned(), |role| role.id.clone()),
            of_world: role.is_some(),
            arn,
            name: wanted.session_name.clone(),
        },
        via: wanted.via,
        requester: EC2.to_owned(),
        requester_key: String::new(),
        external_id: None,
        duration_seconds: wanted.duration_seconds,
        policy: None,
        policy_arns: Vec::new(),
        tags: BTreeMap::new(),
        transitive_tag_keys: BTreeSet::new(),
        source_identity: None,
        mfa: false,
        provider: None,
        delivery: Some(wanted.delivery),
    })
}

/// The control API: what every fake has, and the routes of this one.
pub fn router(sts: Arc<Sts>) -> Router {
    let own = Router::new()
        .route("/credentials", post(issue))
        .route("/roles/{name}", put(put_role).delete(delete_role))
        .route("/roles/{name}/revoke", post(revoke))
        .merge(federation::routes())
        .merge(saml::routes())
        .with_state(Arc::clone(&sts));
    control::router(sts.control().clone()).merge(own)
}

async fn issue(Shared(sts): Shared<Arc<Sts>>, Json(wanted): Json<Wanted>) -> Response {
    let decided = decide(&sts.state(), &wanted);
    match decided {
        Ok(grant) => Json(Credentials::from(&sts.issue(grant, &wanted.canary))).into_response(),
        Err(error) => {
            let status = match &error {
                WantedError::BadArn { .. } | WantedError::BadVia => StatusCode::BAD_REQUEST,
                WantedError::NoSuchRole { .. } => StatusCode::NOT_FOUND,
                WantedError::Untrusted { .. } => StatusCode::FORBIDDEN,
            };
            refusal(status, error)
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct InAccount {
    account: Option<String>,
}

async fn put_role(Shared(sts): Shared<Arc<Sts>>, Path(name): Path<String>, Json(mut role): Json<Value>) -> Response {
    if let Some(table) = role.as_object_mut() {
        let stated = table.entry("name").or_insert_with(|| Value::from(name.as_str()));
        if stated.as_str() != Some(name.as_str()) {
            return refusal(StatusCode::BAD_REQUEST, "name differs from the one in the path");
        }
    }
    let mut state = sts.state_mut();
    match world::read_role(&role, &state.world.account) {
        Ok(role) => {
            sts.control().canaries.plant(&format!("role:{name}"));
            let role = state.world.put_role(role, sts.seed());
            Json(json!({ "arn": role.arn.to_string(), "id": role.id })).into_response()
        }
        Err(faults) => refusal(StatusCode::BAD_REQUEST, faults),
    }
}

async fn delete_role(
    Shared(sts): Shared<Arc<Sts>>,
    Path(name): Path<String>,
    Query(place): Query<InAccount>,
) -> Response {
    let mut state = sts.state_mut();
    let account = place.account.unwrap_or_else(|| state.world.account.id.clone());
    match state.world.delete_role(&account, &name) {
        Some(role) => Json(json!({ "deleted": role.arn.to_string() })).into_response(),
        None => refusal(StatusCode::NOT_FOUND, format!("account {account} has no role {name}")),
    }
}

/// What the console puts into a role whose sessions are revoked.
const REVOCATION: &str = "AWSRevokeOlderSessions";

/// Ends what the sessions of a role may do, as the console does: by a policy that denies everything to older ones.
async fn revoke(Shared(sts): Shared<Arc<Sts>>, Path(name): Path<String>, Query(place): Query<InAccount>) -> Response {
    let now = sts.control().clock.now();
    let mut state = sts.state_mut();
    let account = place.account.unwrap_or_else(|| state.world.account.id.clone());
    let text = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Deny",
            "Action": ["*"],
            "Resource": ["*"],
            "Condition": { "DateLessThan": { "aws:TokenIssueTime": now.to_string() } },
        }],
    });
    let key = (account, name);
    match (
        state.world.role_mut(&key),
        read_document(&text.to_string(), Kind::Identity),
    ) {
        (Some(role), Ok(document)) => {
            role.holder.inline.insert(REVOCATION.to_owned(), Arc::new(document));
            Json(json!({ "revoked_before": now.to_string() })).into_response()
        }
        _ => refusal(
            StatusCode::NOT_FOUND,
            format!("account {} has no role {}", key.0, key.1),
        ),
    }
}
