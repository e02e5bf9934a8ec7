//! The control routes that only this fake has: metadata options, timeline, tokens, instances. It must not know what an order does.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fake_kit::control::refusal;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::options::{Change, MetadataOptions};
use crate::service::Endpoint;
use crate::timeline;
use crate::world::{Moment, is_name_or_none};

/// The routes.
pub fn routes(endpoint: Arc<Endpoint>) -> Router {
    Router::new()
        .route("/instances", get(list_instances))
        .route("/metadata-options", get(read_options).put(change_options))
        .route("/timeline", get(read_timeline).post(order))
        .route("/tokens/revoke", post(revoke))
        .with_state(endpoint)
}

/// Which instance an order is for; without one, for all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whom {
    instance: Option<String>,
}

/// The instances that are meant, at least one.
fn meant<'e>(endpoint: &'e Endpoint, whom: &Whom) -> Result<Vec<&'e Machine>, Absent> {
    let machines = endpoint.machines().iter();
    let Some(id) = &whom.instance else {
        return Ok(machines.collect());
    };
    let meant: Vec<&Machine> = machines.filter(|machine| machine.id() == *id).collect();
    if meant.is_empty() {
        let ids: Vec<String> = endpoint.machines().iter().map(Machine::id).collect();
        return Err(Absent(format!(
            "there is no instance {id:?}; there are: {}",
            ids.join(", ")
        )));
    }
    Ok(meant)
}

struct Absent(String);

impl IntoResponse for Absent {
    fn into_response(self) -> Response {
        refusal(StatusCode::NOT_FOUND, self.0)
    }
}

#[derive(Serialize)]
struct Shown {
    id: String,
    account: String,
    region: String,
    options: MetadataOptions,
}

async fn list_instances(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let now = endpoint.control().clock.now();
    let shown: Vec<Shown> = endpoint
        .machines()
        .iter()
        .map(|machine| {
            let imds = machine.imds();
            let account = &imds.world().account;
            Shown {
                id: machine.id(),
                account: account.id.clone(),
                region: account.region.clone(),
                options: machine.options(now),
            }
        })
        .collect();
    Json(shown).into_response()
}

async fn read_options(State(endpoint): State<Arc<Endpoint>>, Query(whom): Query<Whom>) -> Response {
    match meant(&endpoint, &whom) {
        Ok(machines) => {
            let now = endpoint.control().clock.now();
            Json(machines.first().map(|machine| machine.options(now))).into_response()
        }
        Err(absent) => absent.into_response(),
    }
}

async fn change_options(
    State(endpoint): State<Arc<Endpoint>>,
    Query(whom): Query<Whom>,
    Json(change): Json<Change>,
) -> Response {
    let machines = match meant(&endpoint, &whom) {
        Ok(machines) => machines,
        Err(absent) => return absent.into_response(),
    };
    let now = endpoint.control().clock.now();
    let changed: Option<Vec<MetadataOptions>> = machines.iter().map(|machine| machine.change(now, change)).collect();
    match changed {
        Some(options) => Json(options.first()).into_response(),
        None => refusal(StatusCode::BAD_REQUEST, "hop_limit is not a whole number from 1 to 64"),
    }
}

#[derive(Serialize)]
struct Planned {
    instance: String,
    time: Timestamp,
    moment: Moment,
}

async fn read_timeline(State(endpoint): State<Arc<Endpoint>>, Query(whom): Query<Whom>) -> Response {
    let machines = match meant(&endpoint, &whom) {
        Ok(machines) => machines,
        Err(absent) => return absent.into_response(),
    };
    let planned: Vec<Planned> = machines
        .iter()
        .flat_map(|machine| {
            let moments = machine.imds().moments();
            moments.into_iter().map(|(time, moment)| Planned {
                instance: machine.id(),
                time,
                moment,
            })
        })
        .collect();
    Json(planned).into_response()
}

#[derive(Serialize)]
struct Ordered {
    time: Timestamp,
}

async fn order(
    State(endpoint): State<Arc<Endpoint>>,
    Query(whom): Query<Whom>,
    Json(moment): Json<Moment>,
) -> Response {
    let machines = match meant(&endpoint, &whom) {
        Ok(machines) => machines,
        Err(absent) => return absent.into_response(),
    };
    match order_at(&machines, endpoint.control().clock.now(), &moment) {
        Ok(time) => Json(Ordered { time }).into_response(),
        Err(refused) => refusal(StatusCode::BAD_REQUEST, refused),
    }
}

/// Orders it of all of them; when it comes.
pub(crate) fn order_at(machines: &[&Machine], now: Timestamp, moment: &Moment) -> Result<Timestamp, OrderError> {
    if moment.after.is_some() && moment.at.is_some() {
        return Err(OrderError::Twice);
    }
    if !moment.change().is_possible() {
        return Err(OrderError::HopLimit);
    }
    let named = [&moment.profile, &moment.role].into_iter().flatten();
    if let Some(name) = named.into_iter().find(|name| !is_name_or_none(name)) {
        return Err(OrderError::Name { name: name.clone() });
    }
    for machine in machines {
        let imds = machine.imds();
        let named = [&moment.complete, &moment.cancel];
        if let Some(unknown) = named.into_iter().flatten().find(|id| !imds.announces(id)) {
            return Err(OrderError::NoEvent { id: unknown.clone() });
        }
    }
    let time = timeline::time_of(moment, now);
    for machine in machines {
        machine.order(time, moment.clone())?;
    }
    Ok(time)
}

/// Why nothing was ordered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Two times.
    #[error("say when with after or with at, not both; now without")]
    Twice,
    /// The event to end was never announced.
    #[error("there is no event {id:?}")]
    NoEvent {
        /// The id.
        id: String,
    },
    /// A hop limit that EC2 does not accept.
    #[error("hop_limit is not a whole number from 1 to 64")]
    HopLimit,
    /// No profile and no role is called that.
    #[error("no profile or role can be called {name:?}; give up to 64 letters, digits or +=,.@_-, or \"\" for none")]
    Name {
        /// The name.
        name: String,
    },
    /// Too much was ordered already.
    #[error(transparent)]
    TooMany(#[from] crate::imds::TooMany),
}

/// Which token; without one, all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    token: Option<String>,
}

#[derive(Serialize)]
struct Revoked {
    revoked: bool,
}

async fn revoke(State(endpoint): State<Arc<Endpoint>>, Query(whom): Query<Whom>, Json(which): Json<Which>) -> Response {
    match meant(&endpoint, &whom) {
        Ok(machines) => {
            for machine in machines {
                machine.revoke(which.token.as_deref());
            }
            Json(Revoked { revoked: true }).into_response()
        }
        Err(absent) => absent.into_response(),
    }
}
