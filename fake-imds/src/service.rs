//! The shell around the pure answer: time, faults, credentials, the socket's hop limit, the ledger. It must not decide what is
//! answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use fake_kit::control::{ControlState, refusal};
use fake_kit::fault::Strike;
use fake_kit::ledger::Entry;
use fake_kit::serve::{Malformed, Reply, Request, Service};
use http::StatusCode;
use jiff::Timestamp;

use crate::answer::{self, Answer, Ask, Content, Imds};
use crate::canonical::Profile;
use crate::credentials::{Issued, object};
use crate::options::{Change, MetadataOptions};
use crate::purse::Purse;
use crate::rewrite;
use crate::wire::{self, Frame, Layout};

/// What the ledger calls this fake.
const NAME: &str = "imds";

/// The running metadata service of one instance.
#[derive(Debug)]
pub struct Endpoint {
    imds: Imds,
    profile: Profile,
    keep_alive: bool,
    first_options: MetadataOptions,
    options: Mutex<MetadataOptions>,
    purse: Purse,
    control: ControlState,
    requests: AtomicU64,
}

struct Finished {
    response: http::Response<Bytes>,
    reason: String,
}

impl Endpoint {
    /// The service, with nothing asked yet.
    pub fn new(
        imds: Imds,
        profile: Profile,
        keep_alive: bool,
        options: MetadataOptions,
        purse: Purse,
        control: ControlState,
    ) -> Self {
        Self {
            imds,
            profile,
            keep_alive,
            first_options: options,
            options: Mutex::new(options),
            purse,
            control,
            requests: AtomicU64::new(0),
        }
    }

    /// The metadata options in force.
    pub fn options(&self) -> MetadataOptions {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The options of the world again, and no credentials issued yet.
    pub fn reset(&self) {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner) = self.first_options;
        self.purse.clear();
    }

    fn change(&self, change: Change) -> Option<MetadataOptions> {
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        *options = options.with(change)?;
        Some(*options)
    }

    async fn finish(&self, answer: Answer, strike: &Strike) -> Finished {
        let now = self.control.clock.now();
        let mut story = strike.story.clone();
        let mut token_seconds = answer.token_seconds;
        let mut status = answer.status;
        let mut allow = answer.allow;
        let content = match &strike.error {
            Some(failure) => {
                (status, token_seconds, allow) = (failure.status, None, None);
                if failure.message.is_empty() {
                    answer::error(self.profile, status, "").content
                } else {
                    Content::Page(failure.message.clone().into())
                }
            }
            None => {
                story.push(answer.why.to_owned());
                answer.content
            }
        };
        let (layout, body) = match content {
            Content::Empty | Content::Silence => (Layout::Empty, Bytes::new()),
            Content::Token(token) => (Layout::Token, token.into()),
            Content::Text(text, changed) => (Layout::Data(changed), text),
            Content::UserData(data, changed) => (Layout::UserData(changed), data),
            Content::Page(page) => (Layout::Page, page),
            Content::Credentials(kind) => match self.purse.current(kind, now, strike.lifetime_seconds).await {
                Ok(issued) => {
                    if let Issued::Refused { said, .. } = &issued {
                        story.push(format!("the fake STS refused: {said}"));
                    }
                    (
                        Layout::Data(issued.changed()),
                        document(&issued.fields(), &strike.rewrite),
                    )
                }
                Err(error) => {
                    tracing::warn!(%error, "no credentials");
                    story.push(error.to_string());
                    (status, token_seconds) = (500, None);
                    (Layout::Empty, Bytes::new())
                }
            },
        };
        let frame = Frame {
            status,
            layout,
            token_seconds,
            allow,
            keep_alive: self.keep_alive,
            now,
        };
        let mut response = wire::lay_out(&frame, rewrite::body(&strike.rewrite, body));
        for unknown in rewrite::response(&strike.rewrite, &mut response) {
            story.push(format!("a rewrite was not understood: {unknown}"));
        }
        Finished {
            response,
            reason: story.join("; "),
        }
    }
}

fn document(fields: &[(String, String)], rewritten: &BTreeMap<String, String>) -> Bytes {
    let mut fields = fields.to_vec();
    rewrite::fields(rewritten, &mut fields);
    object(
        fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().into())),
    )
    .into()
}

impl Service for Endpoint {
    async fn answer(&self, request: Request) -> Reply {
        let now: Timestamp = self.control.clock.now();
        let ask = Ask {
            method: &request.method,
            path: request.uri.path(),
            headers: &request.headers,
            over_ipv6: request.connection.local_ip().is_some_and(|ip| ip.is_ipv6()),
            number: self.requests.fetch_add(1, Ordering::Relaxed),
        };
        let answer = answer::answer(&self.imds, &self.options(), now, &ask);
        let open = self
            .control
            .ledger
            .open(Entry::of(NAME, now, &request, answer.facts.clone()));
        let strike = self.control.faults.strike(&self.control.holds, &answer.facts).await;
        if strike.reset || answer.content == Content::Silence {
            let mut story = strike.story;
            story.push(answer.why.to_owned());
            open.answer(0, story.join("; "));
            return Reply::Reset;
        }
        let hop_limit = rewrite::hop_limit(&strike.rewrite).or(answer.hop_limit);
        let mut finished = self.finish(answer, &strike).await;
        // Before the answer is written, and never put back: a retransmit must not travel farther than the first copy.
        if let Some(hops) = hop_limit {
            match request.connection.set_hop_limit(hops) {
                Ok(()) => finished.reason = format!("{}; hop limit {hops}", finished.reason),
                Err(error) => {
                    open.answer(0, format!("the hop limit could not be set: {error}"));
                    return Reply::Reset;
                }
            }
        }
        open.answer(finished.response.status().as_u16(), finished.reason);
        Reply::Response(finished.response)
    }

    fn malformed(&self, malformed: Malformed) {
        self.control
            .ledger
            .record(Entry::malformed(NAME, self.control.clock.now(), &malformed));
    }
}

/// The control routes that only this fake has: `GET` and `PUT /metadata-options`.
pub fn routes(endpoint: Arc<Endpoint>) -> Router {
    Router::new()
        .route("/metadata-options", get(read_options).put(change_options))
        .with_state(endpoint)
}

async fn read_options(State(endpoint): State<Arc<Endpoint>>) -> Response {
    Json(endpoint.options()).into_response()
}

async fn change_options(State(endpoint): State<Arc<Endpoint>>, Json(change): Json<Change>) -> Response {
    match endpoint.change(change) {
        Some(options) => Json(options).into_response(),
        None => refusal(StatusCode::BAD_REQUEST, "hop_limit is not a whole number from 1 to 64"),
    }
}
