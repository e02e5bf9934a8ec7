//! The control API: ledger, canaries, faults, holds, clock, reset. A fake adds routes of its own.
//! It must not be reachable by what the fake is there to test, and must not know what faults and facts mean.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::{Clock, MOST_SPEED};
use crate::fault::{Fault, Faults};
use crate::glob::Glob;
use crate::hold::Holds;
use crate::ledger::Ledger;
use crate::paging::Paging;
use crate::question::{Assertion, NAMES, Question, Unmet};
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
            faults: Arc::new(Faults::new(canaries.seed().clone(), clock.clone())),
            holds: Arc::default(),
            clock,
            canaries,
            facts,
            on_reset: Arc::new(|| {}),
        }
    }

    /// As at the start: no fault and no hold, the clock as it began, what else the fake puts back, an empty ledger. Canaries are what they were.
    pub fn reset(&self) {
        self.faults.clear();
        self.clock.reset();
        (self.on_reset)();
        self.holds.release_all();
        self.ledger.clear();
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
        .route("/assertions", post(check_assertions))
        .route("/clock", get(read_clock).post(move_clock))
        .route("/reset", post(reset))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(state)
}

/// A control request that cannot be met, as JSON `{"error": …}`.
pub fn refusal(status: StatusCode, error: impl fmt::Display) -> Response {
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}

/// `since` and the names of facts: `?since=7&path=*/x&status=401`.
async fn read_ledger(State(state): State<ControlState>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let mut question = Question::default();
    for (name, value) in query {
        if name == "since" {
            match value.parse() {
                Ok(since) => question.since = since,
                Err(_) => return refusal(StatusCode::BAD_REQUEST, "since is not a whole number"),
            }
        } else if let Err(unknown) = known(&state, &name) {
            return unknown.into();
        } else {
            question.matches.insert(name, Glob::new(value));
        }
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    match Paging::new(state.ledger, question).whole() {
        Ok(page) => (kind, page).into_response(),
        Err(pieces) => (kind, Body::new(pieces)).into_response(),
    }
}

struct Unknown(String);

impl From<Unknown> for Response {
    fn from(unknown: Unknown) -> Self {
        refusal(StatusCode::BAD_REQUEST, unknown.0)
    }
}

fn known(state: &ControlState, name: &str) -> Result<(), Unknown> {
    if state.facts.contains(&name) || NAMES.contains(&name) || name.starts_with("header:") {
        return Ok(());
    }
    let names = [state.facts, NAMES].concat().join(", ");
    Err(Unknown(format!(
        "entries have no {name:?}; there are: {names}, header:NAME"
    )))
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Claims {
    One(Box<Assertion>),
    Several(Vec<Assertion>),
}

#[derive(Serialize)]
struct Judged {
    held: bool,
    unmet: Vec<Unmet>,
}

async fn check_assertions(State(state): State<ControlState>, Json(claims): Json<Claims>) -> Response {
    let assertions = match claims {
        Claims::One(assertion) => vec![*assertion],
        Claims::Several(assertions) => assertions,
    };
    let names = assertions.iter().flat_map(Assertion::names);
    if let Some(unknown) = names.filter_map(|name| known(&state, name).err()).next() {
        return unknown.into();
    }
    let unmet: Vec<_> = assertions
        .iter()
        .filter_map(|assertion| state.ledger.check(assertion).err().map(|unmet| *unmet))
        .collect();
    let status = if unmet.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    let judged = Judged {
        held: unmet.is_empty(),
        unmet,
    };
    (status, Json(judged)).into_response()
}

async fn read_canaries(State(state): State<ControlState>) -> Response {
    Json(state.canaries.all()).into_response()
}

async fn list_faults(State(state): State<ControlState>) -> Response {
    Json(state.faults.all()).into_response()
}

async fn plant_fault(State(state): State<ControlState>, Json(fault): Json<Fault>) -> Response {
    if let Err(mistake) = fault.check(state.facts) {
        return refusal(StatusCode::BAD_REQUEST, mistake);
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

/// How the clock is to change; `set` before `advance_seconds`, that before the rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Course {
    advance_seconds: Option<i64>,
    set: Option<Timestamp>,
    freeze: Option<bool>,
    speed: Option<f64>,
}

/// Speeds are told in thousandths, as they are kept.
#[derive(Serialize)]
struct Shown {
    now: String,
    frozen: bool,
    speed: f64,
}

async fn read_clock(State(state): State<ControlState>) -> Response {
    let (frozen, pace) = state.clock.course_of_time();
    let shown = Shown {
        now: state.clock.now().to_string(),
        frozen,
        speed: f64::from(u32::try_from(pace).unwrap_or(u32::MAX)) / 1000.0,
    };
    Json(shown).into_response()
}

async fn move_clock(State(state): State<ControlState>, Json(course): Json<Course>) -> Response {
    let pace = match course.speed {
        None => None,
        Some(speed) if (0.0..=f64::from(MOST_SPEED)).contains(&speed) => format!("{:.0}", speed * 1000.0).parse().ok(),
        Some(_) => return refusal(StatusCode::BAD_REQUEST, format!("speed is not from 0 to {MOST_SPEED}")),
    };
    if let Some(to) = course.set {
        state.clock.set(to);
    }
    if let Some(seconds) = course.advance_seconds {
        state.clock.advance(seconds);
    }
    match course.freeze {
        Some(true) => state.clock.freeze(),
        Some(false) => state.clock.resume(),
        None => state.clock.now(),
    };
    if let Some(pace) = pace {
        state.clock.pace(pace);
    }
    Json(json!({ "now": state.clock.now().to_string() })).into_response()
}

async fn reset(State(state): State<ControlState>) -> Response {
    state.reset();
    Json(json!({ "reset": true })).into_response()
}
