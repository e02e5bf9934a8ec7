//! Sends what is planned: a few requests at a time, each bounded, all of them within the audit's time. The only file here that talks to the network.

use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, timeout, timeout_at};

use super::judge::{self, Got, Outcome, Plain};
use super::name::Hidden;
use super::place::{Place, Places};
use super::plan::{self, Asked, LIST, TOKEN, Yields, target_of};
use super::surroundings::Surroundings;
use super::way::{self, Way, beside};
use super::{inside, report};
use crate::probe::ask;
use crate::probe::protocol::{Failure, Http, HttpAnswer, Sdk};
use crate::verdict::Verdict;

/// The longest that an audit takes, but for `identify`.
const WHOLE: Duration = Duration::from_secs(20);
/// The longest that an SDK takes to find credentials and to ask STS.
const IDENTIFYING: Duration = Duration::from_secs(15);
/// How many ways are tried at once. The service allows a thousand packets a second for the whole instance.
const AT_ONCE: usize = 6;
/// How long a connection may take, in milliseconds: the endpoint is one hop away.
const CONNECT_MS: u64 = 1_000;
/// How long a plain answer may take: a proxy may have to ask STS first.
const PLAIN_MS: u64 = 3_000;
/// How long any other may take.
const READ_MS: u64 = 1_500;
/// How long the session tokens live that are asked for, in seconds.
const TOKEN_SECONDS: &str = "60";

/// What an audit looks at and talks to.
#[derive(Debug)]
pub struct Audit<'a> {
    /// Where addresses are to be found.
    pub places: &'a Places,
    /// What surrounds the job.
    pub around: &'a Surroundings,
    /// The role that this job is sanctioned for.
    pub expected: report::Expected,
    /// Ask STS whose credentials an SDK finds.
    pub identify: bool,
    /// The time.
    pub now: Timestamp,
}

/// The plain requests of one address family.
struct Baseline {
    v1: Outcome,
    v2: Outcome,
    token: Option<Hidden>,
    /// The token's answer says that it is the endpoint's.
    of_endpoint: bool,
}

/// Tries every way and tells what each brought; `progress` hears how many have been tried, and of how many.
pub async fn run(audit: &Audit<'_>, progress: impl Fn(usize, usize)) -> report::Report {
    let began = Instant::now();
    let deadline = began + WHOLE;
    let all = plan::every_way().len();
    let (v4, v6) = tokio::join!(
        baseline(audit, Place::Endpoint, deadline),
        baseline(audit, Place::EndpointV6, deadline)
    );
    let plain = Plain::of([&v4.v1, &v4.v2]);
    let mut outcomes = vec![(
        way::HOP_LIMIT,
        judge::hop_limit(&v4.v1, &v4.v2, v4.of_endpoint, audit.expected.role()),
    )];
    let known = plain.role().or(audit.expected.role());
    let (mut asked, others) = (plan::of_endpoint(audit.around, known), plan::of_others(audit.around));
    // Who takes no connection, or never answers, does not read paths either.
    if !v4.v1.is_answered() && !v4.v2.is_answered() {
        outcomes.extend(asked.drain(..).map(|one| (one.way, unasked(&v4.v1))));
    }
    asked.extend(others);
    let token = v4.token.as_ref();
    let mut tried = futures_util::stream::iter(asked)
        .map(|one| {
            let plain = &plain;
            async move {
                let way = one.way;
                let outcome = within(deadline, bring(audit, &one, token, plain)).await;
                (way, outcome)
            }
        })
        .buffer_unordered(AT_ONCE);
    while let Some(one) = tried.next().await {
        outcomes.push(one);
        progress(outcomes.len(), all);
    }
    drop(tried);
    outcomes.extend([
        (way::V1, v4.v1),
        (way::V2, v4.v2),
        (way::V1_V6, v6.v1),
        (way::V2_V6, v6.v2),
    ]);
    outcomes.extend(inside::weigh(audit.around));
    if audit.identify {
        outcomes.push((beside::SDK, identify().await));
    }
    report::Report::of(audit, in_order(outcomes), began.elapsed())
}

/// In the order of the ways, whichever was the first to be answered.
fn in_order(outcomes: Vec<(Way, Outcome)>) -> Vec<(Way, Outcome)> {
    let mut outcomes = outcomes;
    let order = plan::every_way();
    outcomes.sort_by_key(|(way, _)| order.iter().position(|one| one == way));
    outcomes
}

fn unasked(plain: &Outcome) -> Outcome {
    Outcome {
        note: "as imds-v1".to_owned(),
        ..plain.clone()
    }
}

/// What it brings by then; what is late has taught nothing.
async fn within(deadline: Instant, asking: impl Future<Output = Outcome>) -> Outcome {
    let late = || Outcome::word(Verdict::Void, "out of time");
    timeout_at(deadline, asking).await.unwrap_or_else(|_| late())
}

async fn baseline(audit: &Audit<'_>, place: Place, deadline: Instant) -> Baseline {
    let asked = |way| Asked {
        way,
        place: place.clone(),
        target: LIST.to_owned(),
        headers: Vec::new(),
        yields: Yields::Roles,
    };
    let without = asked(way::V1);
    let nothing = Plain::default();
    let first = within(deadline, bring_in(audit, &without, None, &nothing, PLAIN_MS));
    let put = timeout_at(deadline, put_token(audit, &place));
    let (v1, put) = tokio::join!(first, put);
    let (token, of_endpoint) = match put {
        Ok((token, of_endpoint)) => (token, of_endpoint),
        Err(_) => (Err(Outcome::word(Verdict::Void, "out of time")), false),
    };
    match token {
        Ok(token) => {
            let with = asked(way::V2);
            let v2 = within(deadline, bring_in(audit, &with, Some(&token), &nothing, PLAIN_MS)).await;
            Baseline {
                v1,
                v2,
                token: Some(token),
                of_endpoint,
            }
        }
        Err(v2) => Baseline {
            v1,
            v2,
            token: None,
            of_endpoint,
        },
    }
}

/// A token, or what asking for one amounts to; and whether who answered says that it is the endpoint.
async fn put_token(audit: &Audit<'_>, place: &Place) -> (Result<Hidden, Outcome>, bool) {
    let lifetime = (
        "X-aws-ec2-metadata-token-ttl-seconds".to_owned(),
        TOKEN_SECONDS.to_owned(),
    );
    let http = Http {
        method: "PUT".to_owned(),
        ..request(audit, place, TOKEN, vec![lifetime], PLAIN_MS)
    };
    match ask::http(&http).await {
        Ok(answer) => {
            let of_endpoint = answer
                .headers
                .iter()
                .any(|(name, value)| name.eq_ignore_ascii_case("server") && value == "EC2ws");
            (judge::token(&answer), of_endpoint)
        }
        Err(failure) => (Err(unreachable(&failure)), false),
    }
}

fn request(audit: &Audit<'_>, place: &Place, target: &str, headers: Vec<(String, String)>, read_ms: u64) -> Http {
    let mut headers = headers;
    if !headers.iter().any(|(name, _)| name == "Host") {
        headers.insert(0, ("Host".to_owned(), place.authority()));
    }
    Http {
        method: "GET".to_owned(),
        url: format!("http://{}/", audit.places.find(place)),
        target: Some(target.to_owned()),
        headers,
        body: None,
        connect_ms: Some(CONNECT_MS),
        read_ms: Some(read_ms),
    }
}

/// A name that means nothing here cannot be connected to.
fn unreachable(_: &Failure) -> Outcome {
    Outcome::word(Verdict::Blocked, "no such name here")
}

async fn bring(audit: &Audit<'_>, asked: &Asked, token: Option<&Hidden>, plain: &Plain) -> Outcome {
    if asked.place != Place::Endpoint {
        // Who stands beside the endpoint has no use for its token, and is a way of its own.
        return bring_in(audit, asked, None, plain, READ_MS).await;
    }
    let outcome = bring_in(audit, asked, token, plain, READ_MS).await;
    // A proxy that passes this on passes its own token on too, which the host's service refuses: without one the hole shows.
    let outcome = if token.is_some() && outcome.got == Got::Word(Verdict::Deny) {
        outcome.or_further(bring_in(audit, asked, None, plain, READ_MS).await)
    } else {
        outcome
    };
    plain.compare(outcome)
}

/// Sends it, and for credentials once more.
async fn bring_in(audit: &Audit<'_>, asked: &Asked, token: Option<&Hidden>, plain: &Plain, read_ms: u64) -> Outcome {
    let send = async |target: &str| -> Result<HttpAnswer, Outcome> {
        let mut headers = asked.headers.clone();
        headers.extend(token.map(|token| ("X-aws-ec2-metadata-token".to_owned(), token.reveal().to_owned())));
        let http = request(audit, &asked.place, target, headers, read_ms);
        ask::http(&http).await.map_err(|failure| unreachable(&failure))
    };
    let first = match send(&asked.target).await {
        Ok(answer) => answer,
        Err(outcome) => return outcome,
    };
    match &asked.yields {
        Yields::Document(word) => judge::document(&first, word, plain, audit.now),
        Yields::Credentials => judge::credentials(&first, None, audit.now),
        Yields::List => judge::roles(&first, None, audit.now),
        Yields::Roles => {
            let second = match judge::listed(&first) {
                Some(role) => send(&target_of(&asked.target, &role)).await.ok(),
                None => None,
            };
            judge::roles(&first, second.as_ref(), audit.now)
        }
    }
}

/// What an unmodified SDK makes of all this. Its errors may quote what it was answered: only that there was one is told.
async fn identify() -> Outcome {
    match timeout(IDENTIFYING, ask::sdk(&Sdk { assume: None })).await {
        Ok(Ok(answer)) => judge::identity(&answer.identity.arn, &answer.credentials.access_key_id),
        Ok(Err(failure)) => Outcome::nothing(&format!("no {}", failure.kind)),
        Err(_) => Outcome::word(Verdict::Void, "out of time"),
    }
}
