//! The control API: ledger, canaries, faults, holds, clock, reset. A fake adds routes of its own.
//! It must not be reachable by what the fake is there to test, and must not know what faults and facts mean.

use std::fmt;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use crate::clock::Clock;
use crate::fault::{Effect, Fault, Faults};
use crate::hold::Holds;
use crate::ledger::Ledger;
use crate::seed::Canaries;

/// Bytes of a control request.
const BODY_BYTES: usize = 1024 * 1024;

/// What the control API steers. Clones share everything.
#[derive(Clone)]
pub struct ControlState {
    /// The record of requests.
    pub ledger: Arc<Ledger>,
    /// The planted faults.
    pub faults: Arc<Faults>,
    /// The barriers.
    pub holds: Arc<Holds>,
    /// The fake's time.
    pub clock: Clock,
    /// The planted canaries.
    pub canaries: Canaries,
    /// The facts that a fault may match on; another name is a mistake and refused.
    pub facts: &'static [&'static str],
    /// What else a reset puts back.
    pub on_reset: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for ControlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlState")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl ControlState {
    /// Nothing recorded, planted or held yet.
    pub fn new(clock: Clock, canaries: Canaries, facts: &'static [&'static str]) -> Self {
        Self {
            ledger: Arc::default(),
            faults: Arc::default(),
            holds: Arc::default(),
            clock,
            canaries,
            facts,
            on_reset: Arc::new(|| {}),
        }
    }
}

/// The routes that every fake has.
pub fn router(state: ControlState) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/ledger", get(read_ledger))
        .route("/canaries", get(read_canaries))
        .route("/faults", post(plant_fault).get(list_faults).delete(clear_faults))
        .route("/faults/{id}", delete(remove_fault))
        .route("/holds/{name}", get(await_hold))
        .route("/holds/{name}/release", post(release_hold))
        .route("/clock", post(move_clock))
        .route("/reset", post(reset))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(state)
}

/// A control request that cannot be met, as JSON `{"error": …}`.
pub fn refusal(status: StatusCode, error: impl fmt::Display) -> Response {
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}

#[derive(Debug, Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn read_ledger(State(state): State<ControlState>, Query(query): Query<Since>) -> Response {
    Json(state.ledger.since(query.since)).into_response()
}

async fn read_canaries(State(state): State<ControlState>) -> Response {
    Json(state.canaries.all()).into_response()
}

async fn list_faults(State(state): State<ControlState>) -> Response {
    Json(state.faults.all()).into_response()
}

async fn plant_fault(State(state): State<ControlState>, Json(fault): Json<Fault>) -> Response {
    if let Some(unknown) = fault.matches.keys().find(|name| !state.facts.contains(&name.as_str())) {
        let known = state.facts.join(", ");
        return refusal(
            StatusCode::BAD_REQUEST,
            format!("no fact is called {unknown:?}; there are: {known}"),
        );
    }
    if let Effect::Error(failure) = &fault.effect
        && !(200..=599).contains(&failure.status)
    {
        return refusal(
            StatusCode::BAD_REQUEST,
            format!("status {} is not between 200 and 599", failure.status),
        );
    }
    match state.faults.plant(fault) {
        Some(id) => Json(json!({ "id": id })).into_response(),
        None => refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "too many faults are planted; DELETE /faults first",
        ),
    }
}

async fn remove_fault(State(state): State<ControlState>, Path(id): Path<u64>) -> Response {
    if state.faults.remove(id) {
        Json(json!({ "removed": 1 })).into_response()
    } else {
        refusal(StatusCode::NOT_FOUND, format!("no fault {id} is planted"))
    }
}

async fn clear_faults(State(state): State<ControlState>) -> Response {
    Json(json!({ "removed": state.faults.clear() })).into_response()
}

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    waiting: usize,
}

async fn await_hold(
    State(state): State<ControlState>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let (waiting, reached) = state.holds.waiting(&name, wanted.waiting).await;
    let status = if reached {
        StatusCode::OK
    } else {
        StatusCode::REQUEST_TIMEOUT
    };
    (status, Json(json!({ "waiting": waiting }))).into_response()
}

async fn release_hold(State(state): State<ControlState>, Path(name): Path<String>) -> Response {
    Json(json!({ "released": state.holds.release(&name) })).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: i64,
}

async fn move_clock(State(state): State<ControlState>, Json(advance): Json<Advance>) -> Response {
    let now = state.clock.advance(advance.advance_seconds);
    Json(json!({ "now": now.to_string() })).into_response()
}

async fn reset(State(state): State<ControlState>) -> Response {
    state.faults.clear();
    state.holds.release_all();
    state.clock.reset();
    (state.on_reset)();
    state.ledger.clear();
    Json(json!({ "reset": true })).into_response()
}
