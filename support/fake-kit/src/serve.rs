//! Serving HTTP/1.1 on data listeners, and the control API beside them, until asked to stop. It must not know what is answered.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ambient;
use crate::connection::{Connection, Wire};
use crate::listen::{Bound, Listener};
use crate::malformed::{self, Malformed};

/// Connections that one listener serves at once; more wait in its queue.
pub const MOST_CONNECTIONS: usize = 4_096;
/// A connection is ended that for so long came no step further: no head, no body, no answer. It is looked at as often, so that it may have twice the time.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 256 * 1024;
/// How long connections may take to end once the stop is asked for.
const STOP_TIME: Duration = Duration::from_secs(1);
/// Rest after a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_REST: Duration = Duration::from_millis(20);

/// How a fake wants its wire.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Write header names as `Content-Type`, not `content-type`.
    pub title_case_headers: bool,
    /// Serve further requests on a connection. Otherwise it is closed after the first answer.
    pub keep_alive: bool,
    /// Longer bodies are answered 413.
    pub body_limit: usize,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The target as received, where that is not what was parsed.
    raw: Option<String>,
    /// The target as parsed, without a fragment.
    pub uri: Uri,
    /// The protocol version.
    pub version: Version,
    /// The headers, names in lower case.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The connection it came over.
    pub connection: Connection,
}

impl Request {
    /// The target as received, where it could be kept; otherwise as parsed.
    pub fn target(&self) -> &str {
        self.raw.as_deref().unwrap_or_else(|| parsed(&self.uri))
    }
}

/// What goes back.
#[derive(Debug)]
pub enum Reply {
    /// An answer.
    Response(Response<Bytes>),
    /// A reset of the connection instead.
    Reset,
}

/// A fake, as the server sees it.
pub trait Service: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, request: Request) -> impl Future<Output = Reply> + Send;

    /// Is told about what was no request; its answer, where it does not answer a bare status. Without a status nothing is answered.
    fn malformed(&self, malformed: Malformed) -> Option<Response<Bytes>>;
}

/// A body that never says that it is over. Of one that does, hyper writes `Content-Length: 0` last, whatever place the answer gave it.
struct Whole(Full<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The answer is a reset.
#[derive(Debug)]
struct ResetAsked;

impl fmt::Display for ResetAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset asked for")
    }
}

impl std::error::Error for ResetAsked {}

/// Serves until `stop` completes, then ends the connections within a second. Says on `out` where it listens: the data listeners in
/// their order, then the control listener.
///
/// # Errors
/// `out` cannot be written, or the kernel refuses to name a listener.
pub async fn run<S: Service>(
    data: Vec<Bound>,
    control: Bound,
    router: axum::Router,
    service: Arc<S>,
    options: Options,
    out: &mut (dyn Write + Send),
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    ambient::take_descriptors();
    for bound in data.iter().chain([&control]) {
        writeln!(out, "{}", bound.announcement()?)?;
    }
    out.flush()?;
    let serving = start(data, Some((control, router)), service, options);
    stop.await;
    serving.stop().await;
    Ok(())
}

/// What is served; it goes on until this is dropped or asked to stop.
#[derive(Debug)]
pub struct Serving {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Serving {
    /// Ends the connections within a second.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tracker.close();
        if tokio::time::timeout(STOP_TIME, self.tracker.wait()).await.is_err() {
            tracing::info!(
                connections = self.tracker.len(),
                "closing connections that did not end in time"
            );
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// Begins to serve on the data listeners, and the control API where there is one, in the runtime that runs.
pub fn start<S: Service>(
    data: Vec<Bound>,
    control: Option<(Bound, axum::Router)>,
    service: Arc<S>,
    options: Options,
) -> Serving {
    let tracker = TaskTracker::new();
    let stopping = CancellationToken::new();
    for bound in data {
        tracker.spawn(accept(
            bound,
            Arc::clone(&service),
            options,
            tracker.clone(),
            stopping.clone(),
        ));
    }
    if let Some((bound, router)) = control {
        tracker.spawn(serve_control(bound, router, stopping.clone()));
    }
    Serving { tracker, stopping }
}

async fn accept<S: Service>(
    bound: Bound,
    service: Arc<S>,
    options: Options,
    tracker: TaskTracker,
    stopping: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, bound.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(place), Ok(connection)) => {
                // Of its own: a token that all share is a lock that all wait for.
                let (service, stopping) = (Arc::clone(&service), stopping.child_token());
                tracker.spawn(async move {
                    serve_connection(connection, service, options, stopping).await;
                    drop(place);
                });
            }
            (Ok(_), Err(error)) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_REST).await;
            }
            (Err(_), _) => return,
        }
    }
}

async fn serve_connection<S: Service>(
    connection: Connection,
    service: Arc<S>,
    options: Options,
    stopping: CancellationToken,
) {
    let answers = service_fn(|request: http::Request<Incoming>| {
        let (service, connection) = (Arc::clone(&service), connection.clone());
        async move { answer(request, connection, &*service, options).await }
    });
    let mut builder = http1::Builder::new();
    builder
        .title_case_headers(options.title_case_headers)
        .keep_alive(options.keep_alive)
        .auto_date_header(false)
        .half_close(true)
        .max_buf_size(HEAD_BYTES);
    let served = builder.serve_connection(TokioIo::new(Wire(connection.clone())), answers);
    let mut served = std::pin::pin!(served);
    let mut idle = std::pin::pin!(idle(&connection));
    let reason = tokio::select! {
        biased;
        ended = served.as_mut() => match ended {
            Ok(()) => return,
            Err(error) if error.is_parse() || error.is_incomplete_message() => error.to_string(),
            Err(_) => return,
        },
        () = stopping.cancelled() => {
            served.as_mut().graceful_shutdown();
            // Whoever is not done by then is cut off.
            let _late = tokio::time::timeout(STOP_TIME, served).await;
            return;
        }
        () = idle.as_mut() => "its head did not come in time".to_owned(),
    };
    let (received, status) = (connection.take_tap(), connection.refused());
    if status == 0 && received.is_empty() {
        return;
    }
    let answer = service.malformed(Malformed {
        connection: connection.clone(),
        received,
        reason,
        status,
    });
    if status > 0 {
        let answer = answer.unwrap_or_else(|| malformed::bare(status));
        let bytes = malformed::written(&answer, options.title_case_headers);
        // A client that does not read it has gone, or will be.
        let _sent = tokio::time::timeout(STOP_TIME, connection.send_last(&bytes)).await;
    }
}

/// Completes when nothing happens on a connection any more.
async fn idle(connection: &Connection) {
    let mut before = connection.steps();
    loop {
        tokio::time::sleep(PATIENCE).await;
        let now = connection.steps();
        if now == before && !now.1 {
            return;
        }
        before = now;
    }
}

async fn answer<S: Service>(
    request: http::Request<Incoming>,
    connection: Connection,
    service: &S,
    options: Options,
) -> Result<Response<Whole>, ResetAsked> {
    connection.step(false);
    let (head, body) = request.into_parts();
    let raw = connection.drain_tap(|received| raw_target(received, &head));
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        match Limited::new(body, options.body_limit).collect().await {
            Ok(body) => {
                // Whatever else was read meanwhile is no beginning of a head that never came.
                connection.drain_tap(|_| ());
                body.to_bytes()
            }
            Err(error) => return Ok(refuse_body(&*error, raw, &head, connection, service)),
        }
    };
    connection.step(true);
    let request = Request {
        raw,
        method: head.method,
        uri: head.uri,
        version: head.version,
        headers: head.headers,
        body,
        connection: connection.clone(),
    };
    let reply = service.answer(request).await;
    connection.step(false);
    match reply {
        Reply::Response(response) => Ok(response.map(|body| Whole(Full::new(body)))),
        Reply::Reset => {
            if let Err(error) = connection.reset_on_close() {
                tracing::warn!(%error, "the connection will be closed, not reset");
            }
            Err(ResetAsked)
        }
    }
}

fn refuse_body<S: Service>(
    error: &(dyn std::error::Error + 'static),
    raw: Option<String>,
    head: &http::request::Parts,
    connection: Connection,
    service: &S,
) -> Response<Whole> {
    let too_long = error.is::<http_body_util::LengthLimitError>();
    let status = if too_long { 413 } else { 400 };
    let target = raw.unwrap_or_else(|| head.uri.to_string());
    let answer = service.malformed(Malformed {
        connection,
        received: format!("{} {target} {:?}", head.method, head.version).into_bytes(),
        reason: format!("body: {error}"),
        status,
    });
    let mut response = answer.unwrap_or_else(|| malformed::bare(status));
    response
        .headers_mut()
        .insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    response.map(|body| Whole(Full::new(body)))
}

/// The target as parsed, if it is of the usual form.
fn parsed(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", |target| target.as_str())
}

/// The target between method and version of the first line received, unless that is what was parsed. A parsed target lacks its fragment, and the ledger
/// must show what was sent.
fn raw_target(received: &[u8], head: &http::request::Parts) -> Option<String> {
    let usual = head.uri.authority().is_none() && head.uri.scheme().is_none();
    let unknown = || (!usual).then(|| head.uri.to_string());
    let own = received
        .trim_ascii_start()
        .strip_prefix(head.method.as_str().as_bytes());
    let Some(rest) = own.and_then(|rest| rest.strip_prefix(b" ")) else {
        return unknown();
    };
    let parsed = parsed(&head.uri).as_bytes();
    if usual
        && rest
            .strip_prefix(parsed)
            .is_some_and(|rest| rest.starts_with(b" HTTP/"))
    {
        return None;
    }
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(target) = line
        .iter()
        .rposition(|byte| *byte == b' ')
        .and_then(|end| line.get(..end))
    else {
        return unknown();
    };
    // What was read may begin with another request's line.
    let same = parsed.len() <= 1 || target.windows(parsed.len()).any(|part| part == parsed);
    if same {
        Some(String::from_utf8_lossy(target).into_owned())
    } else {
        unknown()
    }
}

async fn serve_control(control: Bound, router: axum::Router, stopping: CancellationToken) {
    // Long polls outlive the wish to stop; the caller bounds the wait.
    let served = match control.0 {
        Listener::Tcp(listener) => {
            axum::serve(listener, router)
                .with_graceful_shutdown(stopping.cancelled_owned())
                .await
        }
        Listener::Unix(listener, _file) => {
            axum::serve(listener, router)
                .with_graceful_shutdown(stopping.cancelled_owned())
                .await
        }
    };
    if let Err(error) = served {
        tracing::error!(%error, "the control API ended");
    }
}
