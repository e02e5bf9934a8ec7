//! Control routes around identity providers: tokens, keys, and messages to decode.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fake_kit::control::refusal;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::message;
use crate::oidc::{
    Algorithm, Extras, Issuer, IssuerError, Job, ServiceAccount, gitlab_claims, kubernetes_claims, overlay,
};
use crate::service::Sts;
use crate::state::State;

pub(super) fn routes() -> Router<Arc<Sts>> {
    Router::new()
        .route("/tokens", post(make_token))
        .route("/issuers", get(list_issuers))
        .route("/issuers/rotate", post(rotate))
        .route("/issuers/availability", post(set_availability))
        .route("/authorization-messages", post(encode_message))
}

/// `POST /tokens`: what a job, a pod or anybody else presents.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedToken {
    /// The issuer's URL; needed where the world has several.
    #[serde(default)]
    pub issuer: Option<String>,
    /// By which algorithm; the issuer's first when none is named.
    #[serde(default)]
    pub algorithm: Option<String>,
    /// A job of GitLab.
    #[serde(default)]
    pub job: Option<Job>,
    /// A service account of a cluster.
    #[serde(default)]
    pub service_account: Option<ServiceAccount>,
    /// Claims that stand over all others; null takes one away.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// Parameters that stand over those of the header; null takes one away.
    #[serde(default)]
    pub header: Map<String, Value>,
    /// The payload, exactly so, whatever the claims are: what no JSON library writes, such as a claim that stands twice.
    #[serde(default)]
    pub payload: Option<String>,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenRefused {
    /// No such issuer, or no issuer at all.
    #[error("the world has no issuer {url}: add [[issuer]] with its url")]
    NoIssuer {
        /// As asked.
        url: String,
    },
    /// Which of several?
    #[error("the world has {count} issuers: say which with issuer")]
    Several {
        /// How many.
        count: usize,
    },
    /// No such algorithm.
    #[error("{name} is none of RS256, RS384, RS512, ES256, ES384, ES512")]
    Algorithm {
        /// As asked.
        name: String,
    },
    /// GitLab knows two types of ref.
    #[error("ref_type is branch or tag; GitLab writes no other")]
    RefType,
    /// The issuer cannot.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
}

/// Makes a token.
///
/// # Errors
/// Nobody in the world issues it.
pub fn issue_token(
    state: &mut State,
    wanted: &WantedToken,
    serial: u64,
    now: Timestamp,
) -> Result<(String, Value), TokenRefused> {
    let algorithm = match &wanted.algorithm {
        None => None,
        Some(name) => {
            let known = Algorithm::parse(name).ok_or_else(|| TokenRefused::Algorithm { name: name.clone() })?;
            Some(known)
        }
    };
    if wanted
        .job
        .as_ref()
        .is_some_and(|job| !matches!(job.ref_type.as_str(), "branch" | "tag"))
    {
        return Err(TokenRefused::RefType);
    }
    let seed = state.seed.clone();
    let issuer = find(state, wanted.issuer.as_deref())?;
    issuer.equip()?;
    let mut claims = match (&wanted.job, &wanted.service_account) {
        (Some(job), _) => gitlab_claims(issuer, job, &seed, serial, now),
        (None, Some(account)) => kubernetes_claims(issuer, account, &seed, serial, now),
        (None, None) => json!({
            "iss": issuer.url(),
            "iat": now.as_second(),
            "exp": now.as_second() + 3_600,
        }),
    };
    if let Some(table) = claims.as_object_mut() {
        overlay(table, &wanted.claims);
    }
    let extras = Extras {
        header: wanted.header.clone(),
        payload: wanted.payload.clone(),
    };
    let token = issuer.sign_with(&claims, algorithm, &extras)?;
    Ok((token, claims))
}

fn find<'a>(state: &'a mut State, url: Option<&str>) -> Result<&'a mut Issuer, TokenRefused> {
    let count = state.issuers.len();
    let wanted = match url {
        None if count > 1 => return Err(TokenRefused::Several { count }),
        None => state.issuers.first_mut(),
        Some(url) => {
            let bare = |text: &str| text.trim_end_matches('/').to_owned();
            state.issuers.iter_mut().find(|issuer| bare(issuer.url()) == bare(url))
        }
    };
    wanted.ok_or_else(|| TokenRefused::NoIssuer {
        url: url.unwrap_or_default().to_owned(),
    })
}

fn refused(error: &TokenRefused) -> Response {
    let status = match error {
        TokenRefused::NoIssuer { .. } => StatusCode::NOT_FOUND,
        TokenRefused::Several { .. } | TokenRefused::Algorithm { .. } | TokenRefused::RefType => {
            StatusCode::BAD_REQUEST
        }
        TokenRefused::Issuer(IssuerError::Generation) => StatusCode::INTERNAL_SERVER_ERROR,
        TokenRefused::Issuer(IssuerError::Foreign { .. } | IssuerError::NoKey { .. }) => StatusCode::CONFLICT,
    };
    refusal(status, error)
}

async fn make_token(Shared(sts): Shared<Arc<Sts>>, Json(wanted): Json<WantedToken>) -> Response {
    let (serial, now) = (sts.next_serial(), sts.control().clock.now());
    let made = issue_token(&mut sts.state_mut(), &wanted, serial, now);
    match made {
        Ok((token, claims)) => Json(json!({ "token": token, "claims": claims })).into_response(),
        Err(error) => refused(&error),
    }
}

async fn list_issuers(Shared(sts): Shared<Arc<Sts>>) -> Response {
    let mut state = sts.state_mut();
    let mut issuers = Vec::new();
    for issuer in state.all_issuers_mut() {
        if let Err(error) = issuer.equip() {
            return refused(&error.into());
        }
        issuers.push(json!({
            "url": issuer.url(),
            "unavailable": issuer.unavailable,
            "discovery": issuer.discovery(),
            "jwks": issuer.jwks(),
        }));
    }
    Json(json!({ "issuers": issuers })).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default)]
    issuer: Option<String>,
    /// Whether the old keys vanish at once.
    #[serde(default)]
    withdraw: bool,
}

async fn rotate(Shared(sts): Shared<Arc<Sts>>, Json(rotation): Json<Rotation>) -> Response {
    let mut state = sts.state_mut();
    let done = find(&mut state, rotation.issuer.as_deref()).and_then(|issuer| {
        issuer.rotate(rotation.withdraw)?;
        Ok(issuer.jwks())
    });
    match done {
        Ok(jwks) => Json(json!({ "jwks": jwks })).into_response(),
        Err(error) => refused(&error),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Availability {
    #[serde(default)]
    issuer: Option<String>,
    unavailable: bool,
}

async fn set_availability(Shared(sts): Shared<Arc<Sts>>, Json(wanted): Json<Availability>) -> Response {
    let mut state = sts.state_mut();
    match find(&mut state, wanted.issuer.as_deref()) {
        Ok(issuer) => {
            issuer.unavailable = wanted.unavailable;
            Json(json!({ "unavailable": issuer.unavailable })).into_response()
        }
        Err(error) => refused(&error),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToEncode {
    #[serde(default)]
    account: Option<String>,
    /// What the service would say if it could: usually JSON.
    text: String,
}

async fn encode_message(Shared(sts): Shared<Arc<Sts>>, Json(wanted): Json<ToEncode>) -> Response {
    let state = sts.state();
    let account = wanted.account.unwrap_or_else(|| state.world.account.id.clone());
    let encoded = message::encode(&state.seed, &account, &wanted.text);
    Json(json!({ "encoded": encoded })).into_response()
}
