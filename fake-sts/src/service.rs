//! The shell around the pure core: state behind a lock, serial numbers, faults, ledger, and the HTTP answer. It must not decide what STS
//! answers.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fake_kit::control::ControlState;
use fake_kit::fault::Strike;
use fake_kit::ledger::Open;
use fake_kit::malformed::Malformed;
use fake_kit::seed::Seed;
use fake_kit::serve::{self, Reply};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::answer::{self, Outcome, answer, canary_name};
use crate::arn::RoleArn;
use crate::envelope::{self, Element};
use crate::front::{self, Front, Received};
use crate::iam;
use crate::mint::{Grant, mint};
use crate::oidc::{Algorithm, IssuerError, uuid};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::rewrite;
use crate::secret::Secret;
use crate::state::{Beginning, Owner, Session, State};

/// The name of this fake in ledgers.
const SERVICE: &str = "sts";

/// A running fake STS.
pub struct Sts {
    beginning: Beginning,
    state: RwLock<State>,
    seed: Seed,
    control: ControlState,
    requests: AtomicU64,
    issued: AtomicU64,
}

impl std::fmt::Debug for Sts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sts")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// What goes into the HTTP answer.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    reason: String,
}

impl Sts {
    /// A fake that has answered nothing yet.
    #[must_use]
    pub fn new(state: State, seed: Seed, control: ControlState) -> Self {
        for role in state.world.roles() {
            control.canaries.plant(&format!("role:{}", role.arn.name));
        }
        Self {
            beginning: state.beginning(),
            state: RwLock::new(state),
            seed,
            control,
            requests: AtomicU64::new(0),
            issued: AtomicU64::new(0),
        }
    }

    /// The state, to look at.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to change.
    pub fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world and the issuers as at the start. Serial numbers go on, so that no session and no request id is given twice.
    pub fn restore(&self) {
        *self.state_mut() = self.beginning.state();
    }

    /// What ids are derived from.
    #[must_use]
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// What the control API steers.
    #[must_use]
    pub fn control(&self) -> &ControlState {
        &self.control
    }

    /// A number that nothing else was made from.
    pub fn next_serial(&self) -> u64 {
        self.issued.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes credentials. Nothing of them is kept: their token carries them.
    pub fn issue(&self, grant: Grant, canary: &str) -> Session {
        let canary = self.control.canaries.plant(canary);
        let serial = self.issued.fetch_add(1, Ordering::Relaxed);
        mint(grant, &self.state().sealer, serial, &canary, self.control.clock.now())
    }

    fn carry_out(
        &self,
        request: &Request,
        received: &Received,
        strike: &Strike,
        request_id: &str,
        entry: &Open,
    ) -> Answer {
        let mut notes = strike.story.clone();
        let outcome = match &strike.error {
            Some(failure) => Outcome::Refused {
                refusal: Refusal::planted(failure.status, &failure.code, &failure.message),
                caller: None,
            },
            None => self.decide(request, received),
        };
        let namespace = match received.front {
            Front::Iam(_) => envelope::IAM_NAMESPACE,
            Front::Plain(_) | Front::Refused(_) | Front::Action(_) => envelope::NAMESPACE,
        };
        let (action, mut elements, caller) = match outcome {
            Outcome::Plain(plain) => {
                let reason = join_notes(plain.reason, &notes);
                entry.fact("result", plain.status.to_string());
                return Answer {
                    status: plain.status,
                    headers: plain.headers,
                    body: plain.body.into(),
                    reason,
                };
            }
            Outcome::Refused { refusal, caller } => {
                return refuse(&refusal, caller, received, namespace, request_id, &notes, entry);
            }
            Outcome::Result {
                action,
                elements,
                caller,
            } => (action, elements, caller),
            Outcome::Granted { grant, form, caller } => {
                let grant = self.bend(*grant, strike, &mut notes);
                let canary = canary_name(&grant.owner);
                let session = self.issue(grant, &canary);
                let (action, elements) = answer::granted(&session, &form);
                (action, Some(elements), caller)
            }
            Outcome::Token {
                claims,
                algorithm,
                expires,
                caller,
            } => match self.sign_outbound(claims, algorithm) {
                Ok(token) => {
                    let token = Element::Secret("WebIdentityToken", Secret::new(token));
                    let elements = vec![token, Element::Time("Expiration", expires)];
                    ("GetWebIdentityToken", Some(elements), caller)
                }
                Err(error) => {
                    let refusal = Refusal::planted(500, "InternalFailure", &error.to_string());
                    return refuse(&refusal, Some(caller), received, namespace, request_id, &notes, entry);
                }
            },
        };
        if let Some(elements) = &mut elements {
            notes.extend(rewrite::elements(&strike.rewrite, elements));
        }
        entry.fact("caller", caller);
        entry.fact("result", "ok");
        Answer {
            status: 200,
            headers: vec![("content-type", received.format.content_type().to_owned())],
            body: envelope::success(action, elements.as_deref(), request_id, namespace, received.format).into(),
            reason: join_notes(action, &notes),
        }
    }

    /// The documents of an issuer that this fake plays, told by the host name that a client asks.
    fn issuer_document(&self, request: &Request) -> Option<Answer> {
        let host = request.header("host").filter(|_| request.method == "GET")?;
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let asked = format!("{host}{}", request.path);
        // Asked without the right to change first: nearly no request is for an issuer.
        if !self.state().all_issuers().any(|issuer| issuer.owns(&asked)) {
            return None;
        }
        let mut state = self.state_mut();
        let issuer = state.all_issuers_mut().find(|issuer| issuer.owns(&asked))?;
        let (status, body, reason) = match issuer.document(&asked) {
            _ if issuer.unavailable => (503, String::new(), "the issuer is unavailable"),
            Ok(Some(document)) => (200, document.to_string(), "a document of an issuer"),
            Ok(None) => (404, String::new(), "no such document of the issuer"),
            Err(_) => (500, String::new(), "no key could be made"),
        };
        Some(Answer {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.into(),
            reason: reason.to_owned(),
        })
    }

    /// IAM changes what is known, STS only looks at it.
    fn decide(&self, request: &Request, received: &Received) -> Outcome {
        let now = self.control.clock.now();
        match &received.front {
            Front::Iam(action) => iam::answer(&mut self.state_mut(), now, action, request, received),
            Front::Plain(_) | Front::Refused(_) | Front::Action(_) => answer(&self.state(), now, request, received),
        }
    }

    /// Signs a token of GetWebIdentityToken.
    fn sign_outbound(&self, mut claims: serde_json::Value, algorithm: Algorithm) -> Result<String, IssuerError> {
        let serial = self.issued.fetch_add(1, Ordering::Relaxed);
        if let Some(table) = claims.as_object_mut() {
            table.insert("jti".to_owned(), uuid(&self.seed, "web identity token", serial).into());
        }
        let mut state = self.state_mut();
        let issuer = state.outbound.as_mut().ok_or(IssuerError::Generation)?;
        issuer.equip()?;
        issuer.sign(&claims, Some(algorithm))
    }

    /// Changes a grant as a fault asks: another lifetime, another role.
    fn bend(&self, mut grant: Grant, strike: &Strike, notes: &mut Vec<String>) -> Grant {
        if let Some(seconds) = strike.lifetime_seconds {
            grant.duration_seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        }
        if let Some(text) = rewrite::role_arn(&strike.rewrite) {
            match RoleArn::parse(text) {
                Some(arn) => {
                    let state = self.state();
                    let role = state.world.role_by_arn(&arn);
                    grant.owner = Owner::Role {
                        id: role.map_or_else(|| grant.owner.unique_id().to_owned(), |role| role.id.clone()),
                        name: grant.owner.session_name().to_owned(),
                        of_world: role.is_some(),
                        arn,
                    };
                }
                None => notes.push(format!("rewrite ignored: {text} is no role ARN")),
            }
        }
        grant
    }
}

fn refuse(
    refusal: &Refusal,
    caller: Option<String>,
    received: &Received,
    namespace: &'static str,
    request_id: &str,
    notes: &[String],
    entry: &Open,
) -> Answer {
    entry.fact("result", &refusal.code);
    if let Some(caller) = caller {
        entry.fact("caller", caller);
    }
    let why = refusal.denied_by.clone().unwrap_or_else(|| refusal.code.clone());
    entry.fact("denied_by", &why);
    Answer {
        status: refusal.status,
        headers: vec![("content-type", received.format.content_type().to_owned())],
        body: refusal.body(request_id, namespace, received.format).into(),
        reason: join_notes(&format!("{}: {why}", refusal.code), notes),
    }
}

fn join_notes(reason: &str, notes: &[String]) -> String {
    let mut text = reason.to_owned();
    for note in notes {
        // Writing to a String cannot fail.
        let _ = write!(text, "; {note}");
    }
    text
}

fn convert(request: &serve::Request) -> Request {
    let headers = request
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    Request {
        method: request.method.as_str().to_owned(),
        path: request.uri.path().to_owned(),
        query: request.uri.query().map(str::to_owned),
        headers,
        body: request.body.clone(),
        source: request
            .connection
            .source()
            .parse::<SocketAddr>()
            .ok()
            .map(|address| address.ip()),
    }
}

/// The answer as it goes out, with what a fault changes of it; the ledger is told the status that is sent.
fn send(mut answer: Answer, strike: &Strike, entry: Open, lay_out: impl FnOnce(Answer) -> Response<Bytes>) -> Reply {
    answer.body = fake_kit::rewrite::body(&strike.rewrite, answer.body);
    let reason = std::mem::take(&mut answer.reason);
    let mut response = lay_out(answer);
    let notes = rewrite::response(&strike.rewrite, &mut response);
    entry.answer(response.status().as_u16(), join_notes(&reason, &notes));
    Reply::Response(response)
}

/// The header lines in the order in which STS writes them: ids, what the answer is, its length, and the date last.
fn respond(answer: Answer, request_id: &str, now: Timestamp, region: &str) -> Response<Bytes> {
    let length = answer.body.len().to_string();
    let mut response = Response::new(answer.body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Captured ids end in eight letters and digits of their own.
    let own: String = request_id.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let extended = STANDARD.encode(format!("1:{region}:S:{}:R:{own}", now.as_millisecond()));
    let date = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&now)
        .unwrap_or_default();
    let ids = [
        ("x-amzn-requestid", request_id.to_owned()),
        ("x-amz-sts-extended-request-id", extended),
    ];
    let ends = [("content-length", length), ("date", date)];
    for (name, value) in ids.into_iter().chain(answer.headers).chain(ends) {
        // A Location echoes the query string, which hyper has checked to be printable.
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// An answer that is not STS's, without its ids.
fn plain(answer: Answer) -> Response<Bytes> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

impl serve::Service for Sts {
    async fn answer(&self, arrived: serve::Request) -> Reply {
        let request = convert(&arrived);
        let received = front::receive(&request);
        let (facts, region) = {
            let state = self.state();
            (
                answer::facts(&state, &request, &received),
                state.world.account.region.clone(),
            )
        };
        // The ledger names a caller only once its signature was verified; faults may match on the claimed one.
        let mut stated = facts.clone();
        stated.remove("caller");
        let entry = self
            .control
            .ledger
            .open(SERVICE, self.control.clock.now(), &arrived, &stated);
        let strike = self.control.faults.strike(&self.control.holds, &facts).await;
        if strike.reset {
            entry.fact("result", "reset");
            entry.answer(0, strike.story.join("; "));
            return Reply::Reset;
        }
        if let Some(answer) = self.issuer_document(&request).filter(|_| strike.error.is_none()) {
            entry.fact("result", answer.status.to_string());
            return send(answer, &strike, entry, plain);
        }
        let request_id = uuid(&self.seed, "request", self.requests.fetch_add(1, Ordering::Relaxed));
        let answer = self.carry_out(&request, &received, &strike, &request_id, &entry);
        send(answer, &strike, entry, |answer| {
            respond(answer, &request_id, self.control.clock.now(), &region)
        })
    }

    fn malformed(&self, malformed: Malformed) -> Option<Response<Bytes>> {
        self.control
            .ledger
            .record_malformed(SERVICE, self.control.clock.now(), &malformed);
        None
    }
}
