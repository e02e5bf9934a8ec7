//! One connection from its first byte to its last: who is it, what does it ask, may it, answer. Every wait here is bounded.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::judge::{Step, judge};
use super::listener::Wire;
use super::verification;
use super::{Caller, Service};
use super::{container, record};
use crate::answer::{Answer, Body, Manner, render};
use crate::caller::{Attestor, Connection, Facts, Unattested};
use crate::credentials::{AssumeRole, Issued, Key};
use crate::gitlab::Unverified;
use crate::instance::Leaf;
use crate::refusal::Refusal;
use crate::request::{self, Malformed, Method, Named, Request};
use crate::routes::route;
use crate::spans;

/// Until the first byte of a request, and from there until its last.
const IDLE: Duration = Duration::from_secs(5);
const HEAD: Duration = Duration::from_secs(5);
/// For an answer to be taken by the kernel.
const WRITE: Duration = Duration::from_secs(5);
/// For attestation: the engine may have to be asked.
const ATTEST: Duration = Duration::from_secs(5);
/// After the last answer, until the client closes too.
const LINGER: Duration = Duration::from_secs(2);
/// What is read and thrown away meanwhile, so that the answer is not lost to a reset.
const LINGER_BYTES: usize = 256 * 1024;
/// What is read at once. Most requests fit; the buffer grows for those that do not.
const PIECE: usize = 512;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In order.
    Closed,
    /// Cut off: what is unsent must not arrive.
    Reset,
}

/// Serves one connection. Ten thousand of them may be idle, so that all but the wait for the next request has its place elsewhere: each wait that
/// stands in these functions as it is takes room in every connection.
pub(super) async fn serve<A: Attestor, S: AssumeRole, W: Wire>(
    service: Arc<Service<A, S>>,
    mut wire: W,
    connection: Connection,
    stop: CancellationToken,
) -> End {
    let end = attend(&service, &mut wire, &connection, &stop).await;
    if end == End::Reset {
        wire.arm_reset();
        service.metrics.reset_connection();
    }
    end
}

async fn attend<A: Attestor, S: AssumeRole, W: Wire>(
    service: &Service<A, S>,
    wire: &mut W,
    connection: &Connection,
    stop: &CancellationToken,
) -> End {
    // Boxed, so that what attestation needs is given back before the connection idles.
    let attested = Box::pin(attest(service, connection)).await;
    let (service_asked, facts, pin) = match attested {
        Ok(attested) => attested,
        Err(unattested) => {
            let refusal = Refusal::Unattested(unattested);
            return Box::pin(turn_away(service, wire, connection, refusal)).await;
        }
    };
    let Some(_place) = service.containers.take(facts.run.container_id.clone()) else {
        return Box::pin(turn_away(service, wire, connection, Refusal::Crowded)).await;
    };
    let mut caller = Caller {
        client: connection.client,
        service: service_asked,
        standing: service.standings.of(&facts, &service.policy),
    };
    tokio::select! {
        biased;
        () = service.attestor.ended(&pin) => End::Reset,
        end = converse(service, wire, &mut caller, &pin, stop) => end,
    }
}

async fn attest<A: Attestor, S: AssumeRole>(
    service: &Service<A, S>,
    connection: &Connection,
) -> Result<(Named, Arc<Facts>, A::Pin), Unattested> {
    let Some(asked) = container::service_at(connection.original_destination, &service.terms) else {
        return Err(Unattested::DirectConnection);
    };
    let attested = timeout(ATTEST, service.attestor.attest(connection)).await;
    let (facts, pin) = attested.unwrap_or(Err(Unattested::EngineUnavailable))?;
    Ok((asked, facts, pin))
}

/// Answers whoever gets nothing, the same whatever is asked, and closes.
async fn turn_away<A: Attestor, S: AssumeRole, W: Wire>(
    service: &Service<A, S>,
    wire: &mut W,
    connection: &Connection,
    refusal: Refusal,
) -> End {
    let mut buffer = Vec::new();
    // The request is read first: a client that is answered before it has asked may take that for a fault of the connection.
    let without_body = match read_head(wire, &mut buffer, &CancellationToken::new()).await {
        Read::Head(length) => match request::parse(buffer.get(..length).unwrap_or_default()) {
            Ok(request) => {
                if let Refusal::Unattested(reason) = refusal {
                    // Told, and answered like everybody else.
                    let _is_never_its_own = service.canary.meet(request.path, Err(reason));
                }
                request.method == Method::Head
            }
            Err(_) => false,
        },
        Read::Refused(_) => false,
        Read::Gone => return End::Closed,
    };
    service.record_stranger(connection, refusal);
    let answer = Answer::Refusal(refusal);
    let manner = Manner {
        without_body,
        close: true,
        service: container::service_at(connection.original_destination, &service.terms).unwrap_or(Named::Metadata),
        now: service.clock.now(),
    };
    finish(wire, render(&answer, manner).as_bytes()).await
}

/// Takes request after request of one attested caller.
async fn converse<A: Attestor, S: AssumeRole, W: Wire>(
    service: &Service<A, S>,
    wire: &mut W,
    caller: &mut Caller,
    pin: &A::Pin,
    stop: &CancellationToken,
) -> End {
    let mut buffer = Vec::new();
    loop {
        let head = match read_head(wire, &mut buffer, stop).await {
            Read::Head(length) => Ok(length),
            Read::Refused(refusal) => Err(refusal),
            Read::Gone => return End::Closed,
        };
        let head = head.map(|length| buffer.get(..length).unwrap_or_default());
        // Boxed: between two requests nothing of it is needed.
        if let Some(end) = Box::pin(respond(service, wire, caller, pin, head)).await {
            return end;
        }
        buffer.drain(..head.map_or(0, <[u8]>::len));
        if buffer.is_empty() {
            // An idle connection holds nothing.
            buffer = Vec::new();
        }
    }
}

/// Answers one request, of which the head is there, or why it never will be; the connection's end if that was the last.
async fn respond<A: Attestor, S: AssumeRole, W: Wire>(
    service: &Service<A, S>,
    wire: &mut W,
    caller: &mut Caller,
    pin: &A::Pin,
    head: Result<&[u8], Refusal>,
) -> Option<End> {
    let asked = caller.service;
    let manner = |without_body, close| Manner {
        without_body,
        close,
        service: asked,
        now: service.clock.now(),
    };
    let head = match head {
        Ok(head) => head,
        Err(refusal) => {
            service.record(caller, None, Err(refusal));
            let bytes = render(&Answer::Refusal(refusal), manner(false, true));
            return Some(finish(wire, bytes.as_bytes()).await);
        }
    };
    let span = spans::request(&caller.standing.facts);
    let (mut answer, class, mut manner) = match request::parse(head) {
        Ok(request) => {
            let is_canary = service
                .canary
                .meet(request.path, Ok(&caller.standing.facts.run.container_id));
            let answer = if is_canary {
                met(service)
            } else {
                answer_in_force(service, caller, pin, &request)
                    .instrument(span.clone())
                    .await
            };
            let close = request.close || matches!(answer, Answer::Refusal(refusal) if refusal.closes());
            let class = match asked {
                _ if is_canary => record::SELF_TEST,
                Named::Metadata => route(request.path).as_str(),
                Named::Container => container::CLASS,
            };
            (answer, Some(class), manner(request.method == Method::Head, close))
        }
        Err(malformed) => (
            Answer::Refusal(Refusal::Malformed(malformed)),
            None,
            manner(false, true),
        ),
    };
    // Once for every request, and immediately before anything is written: still the same socket, of the same running container
    // (rules A3, A4)? Nothing waits between here and the write. A confirmation before judging would say nothing that this one does
    // not: judging is pure, and where STS has to be asked first, `answer` has confirmed before that as well.
    if let Err(unattested) = service.attestor.confirm(pin) {
        answer = Answer::Refusal(Refusal::Unattested(unattested));
        manner.close = true;
    }
    let content = match &answer {
        Answer::Content { body, .. } => Ok(body),
        Answer::Refusal(refusal) => Err(*refusal),
    };
    spans::tell_answer(&span, class, content.map(|_| ()));
    service.record(caller, class, content);
    let bytes = render(&answer, manner);
    if manner.close {
        return Some(finish(wire, bytes.as_bytes()).await);
    }
    match timeout(WRITE, wire.write_all(bytes.as_bytes())).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) | Err(_) => Some(End::Reset),
    }
}

/// What the canary is told that has come as itself: nothing that anybody could use.
fn met<A: Attestor, S: AssumeRole>(service: &Service<A, S>) -> Answer {
    Answer::Content {
        body: Body::Text(String::new()),
        ttl: None,
        modified: service.terms.started,
    }
}

/// Answers by the policy that is in force when the answer is there: it may have been replaced while STS was asked. Only the operator can
/// bring about another round; and once GitLab's word, if it has lapsed meanwhile.
async fn answer_in_force<A: Attestor, S: AssumeRole>(
    service: &Service<A, S>,
    caller: &mut Caller,
    pin: &A::Pin,
    request: &Request<'_>,
) -> Answer {
    let mut has_lapsed = false;
    loop {
        if !service.policy.holds(caller.standing.turn) {
            caller.standing = service.standings.of(&caller.standing.facts, &service.policy);
        }
        let answer = answer(service, caller, pin, request).await;
        if !service.policy.holds(caller.standing.turn) {
            continue;
        }
        if !verification::gives(&answer) || verification::holds(service, caller) {
            return answer;
        }
        if has_lapsed {
            return Answer::Refusal(Refusal::Unverified(Unverified::TimedOut));
        }
        has_lapsed = true;
    }
}

async fn answer<A: Attestor, S: AssumeRole>(
    service: &Service<A, S>,
    caller: &Caller,
    pin: &A::Pin,
    request: &Request<'_>,
) -> Answer {
    let now = service.clock.now();
    if request.host != caller.service {
        return Answer::Refusal(Refusal::Malformed(Malformed::Host));
    }
    let (terms, standing) = (&service.terms, &*caller.standing);
    let (run, decision) = (&standing.facts.run, &standing.decision);
    let step = match caller.service {
        Named::Metadata => judge(terms, run, decision, request, now, || (service.nonce)()),
        Named::Container => container::judge(terms, run, decision, request, now),
    };
    if verification::leads_there(&step)
        && let Err(refusal) = verification::verify(service, caller, pin).await
    {
        return Answer::Refusal(refusal);
    }
    match (step, &standing.key) {
        (Step::Answer(answer), _) => answer,
        (Step::Leaf { leaf, ttl }, _) => match read_leaf(service, leaf, pin).await {
            Ok(text) => Answer::Content {
                body: Body::Text(text.to_owned()),
                ttl,
                modified: service.terms.started,
            },
            Err(refusal) => Answer::Refusal(refusal),
        },
        (Step::Credentials { ttl }, Some(key)) => match obtain(service, key, pin).await {
            Ok(issued) => {
                let modified = issued.issued();
                Answer::Content {
                    body: Body::Credentials(issued),
                    ttl,
                    modified,
                }
            }
            Err(refusal) => Answer::Refusal(refusal),
        },
        (Step::ContainerCredentials, Some(key)) => match obtain(service, key, pin).await {
            Ok(issued) => Answer::Content {
                modified: issued.issued(),
                body: Body::ContainerCredentials(issued, key.role.clone()),
                ttl: None,
            },
            Err(refusal) => Answer::Refusal(refusal),
        },
        // No grant, no key; `judge` has refused before.
        (Step::Credentials { .. } | Step::ContainerCredentials, None) => Answer::Refusal(Refusal::UnknownPath),
    }
}

/// Gets the credentials of a key. Nobody who is not confirmed at that moment causes a call of STS.
async fn obtain<A: Attestor, S: AssumeRole>(
    service: &Service<A, S>,
    key: &Arc<Key>,
    pin: &A::Pin,
) -> Result<Arc<Issued>, Refusal> {
    if let Some(ready) = service.credentials.ready(key) {
        return ready.map_err(Refusal::Credentials);
    }
    service.attestor.confirm(pin).map_err(Refusal::Unattested)?;
    let asked = Box::pin(service.credentials.get(key));
    asked.await.map_err(Refusal::Credentials)
}

/// Gets a value of the instance. As with credentials, nobody who is not confirmed makes the proxy ask anybody.
async fn read_leaf<'s, A: Attestor, S: AssumeRole>(
    service: &'s Service<A, S>,
    leaf: Leaf,
    pin: &A::Pin,
) -> Result<&'s str, Refusal> {
    if let Some(known) = service.instance.known(leaf) {
        return Ok(known);
    }
    service.attestor.confirm(pin).map_err(Refusal::Unattested)?;
    let asked = Box::pin(service.instance.read(leaf));
    asked.await.map_err(Refusal::Instance)
}

enum Read {
    /// A whole head stands at the front of the buffer.
    Head(usize),
    /// What came cannot become a request.
    Refused(Refusal),
    /// The client closed or idled, or the proxy stops.
    Gone,
}

async fn read_head<W: Wire>(wire: &mut W, buffer: &mut Vec<u8>, stop: &CancellationToken) -> Read {
    if buffer.is_empty() {
        let first = tokio::select! {
            biased;
            first = timeout(IDLE, read_some(wire, buffer)) => first,
            () = stop.cancelled() => return Read::Gone,
        };
        match first {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return Read::Gone,
        }
    }
    match request::find_end(buffer) {
        Ok(Some(length)) => return Read::Head(length),
        Ok(None) => {}
        Err(malformed) => return Read::Refused(Refusal::Malformed(malformed)),
    }
    // Boxed: nearly every head comes in one piece.
    let rest = Box::pin(timeout(HEAD, read_rest(wire, buffer)));
    rest.await.unwrap_or(Read::Refused(Refusal::TooSlow))
}

/// Adds to the buffer what has come, once something has: who waits for it holds no room for it.
async fn read_some<W: Wire>(wire: &mut W, buffer: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        let mut room = [MaybeUninit::uninit(); PIECE];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *wire).poll_read(context, &mut read))?;
        buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}

async fn read_rest<W: Wire>(wire: &mut W, buffer: &mut Vec<u8>) -> Read {
    loop {
        // `find_end` refuses what is longer than a head may be, so that the buffer is bounded.
        match read_some(wire, buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Read::Gone,
        }
        match request::find_end(buffer) {
            Ok(Some(length)) => return Read::Head(length),
            Ok(None) => {}
            Err(malformed) => return Read::Refused(Refusal::Malformed(malformed)),
        }
    }
}

/// Writes the last answer, says that nothing follows, and waits a little for the client to close: closing at once, with bytes unread, would
/// reset the connection and could take the answer with it.
async fn finish<W: Wire>(wire: &mut W, bytes: &[u8]) -> End {
    match timeout(WRITE, wire.write_all(bytes)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => return End::Reset,
    }
    let drained = timeout(LINGER, async {
        wire.shutdown().await?;
        let mut bin = [0; 512];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match wire.read(&mut bin).await? {
                0 => return Ok(()),
                read => left = left.saturating_sub(read),
            }
        }
        Err(io::Error::from(io::ErrorKind::QuotaExceeded))
    });
    match drained.await {
        Ok(Ok(())) => End::Closed,
        // The client keeps its side open; the answer may still be on its way to somebody who is gone (rule A4).
        Ok(Err(_)) | Err(_) => End::Reset,
    }
}
