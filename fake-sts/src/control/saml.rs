//! The control route around SAML: responses of the identity providers that the fake plays.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fake_kit::control::refusal;
use jiff::Timestamp;
use serde_json::json;
use thiserror::Error;

use crate::saml::Claim;
use crate::service::Sts;
use crate::state::State;
use crate::world::{SamlProvider, SamlSource};

pub(super) fn routes() -> Router<Arc<Sts>> {
    Router::new().route("/saml-responses", post(make))
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AssertionRefused {
    /// No such provider, or none that is played.
    #[error(
        "the world has no SAML provider {wanted} that is played: add [[saml_provider]] with its name and an entity_id"
    )]
    NoProvider {
        /// As asked.
        wanted: String,
    },
    /// Which of several?
    #[error("the world has {count} SAML providers that are played: say which with provider")]
    Several {
        /// How many.
        count: usize,
    },
    /// The machine gives no randomness.
    #[error("no key could be made")]
    Generation,
}

/// A response, and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The SAML provider that believes it.
    pub provider_arn: String,
    /// The response, as XML.
    pub xml: String,
    /// The metadata of the identity provider.
    pub metadata: String,
}

impl Made {
    /// As AssumeRoleWithSAML takes it.
    #[must_use]
    pub fn encoded(&self) -> String {
        STANDARD.encode(&self.xml)
    }
}

/// Makes a response.
///
/// # Errors
/// Nobody in the world is played.
pub fn make_assertion(
    state: &mut State,
    mut claim: Claim,
    serial: u64,
    now: Timestamp,
) -> Result<Made, AssertionRefused> {
    let entity = |provider: &SamlProvider| match &provider.source {
        SamlSource::Played { entity_id } => Some((provider.arn.clone(), entity_id.clone())),
        SamlSource::Foreign { .. } => None,
    };
    let meant = |provider: &&SamlProvider| {
        let wanted = claim.provider.as_ref();
        wanted.is_none_or(|wanted| *wanted == provider.name || *wanted == provider.arn)
    };
    let found: Vec<_> = state.world.saml_providers().filter(meant).filter_map(entity).collect();
    let (arn, entity_id) = match found.as_slice() {
        [one] => one.clone(),
        [] => {
            let wanted = claim.provider.unwrap_or_default();
            return Err(AssertionRefused::NoProvider { wanted });
        }
        several => return Err(AssertionRefused::Several { count: several.len() }),
    };
    for role in claim.roles.iter_mut().filter(|role| !role.contains(',')) {
        *role = format!("{role},{arn}");
    }
    let identity = state
        .identity_provider_mut(&entity_id)
        .ok_or(AssertionRefused::Generation)?;
    identity.equip();
    match (identity.respond(&claim, serial, now), identity.metadata()) {
        (Some(xml), Some(metadata)) => Ok(Made {
            provider_arn: arn,
            xml,
            metadata,
        }),
        _ => Err(AssertionRefused::Generation),
    }
}

async fn make(Shared(sts): Shared<Arc<Sts>>, Json(claim): Json<Claim>) -> Response {
    let (serial, now) = (sts.next_serial(), sts.control().clock.now());
    let made = make_assertion(&mut sts.state_mut(), claim, serial, now);
    match made {
        Ok(made) => Json(json!({
            "assertion": made.encoded(),
            "provider": made.provider_arn,
            "xml": made.xml,
            "metadata": made.metadata,
        }))
        .into_response(),
        Err(error) => {
            let status = match &error {
                AssertionRefused::NoProvider { .. } => StatusCode::NOT_FOUND,
                AssertionRefused::Several { .. } => StatusCode::BAD_REQUEST,
                AssertionRefused::Generation => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refusal(status, error)
        }
    }
}
