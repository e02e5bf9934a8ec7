//! The connection loop over an in-memory stream, with an attestor that obeys.

mod audit;
mod canary;
mod confirmation;
mod container;
mod framing;
mod instance;
mod observe;
mod prefetch;
mod pulse;
mod reload;
mod revoke;
mod sdk;
mod transcripts;
mod verification;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::connection::{End, serve};
use super::{Counts, InForce, Service, Standings, Terms, Wire};
use crate::audit::AuditLog;
use crate::caller::{Connection, Run, Unattested};
use crate::control::Register;
use crate::credentials::{Cache, Failure};
use crate::firewall::ENDPOINTS;
use crate::fixture::gitlab::ScriptedGitlab;
use crate::fixture::{FakeAttestor, PausedClock, RULE, ScriptedInstance, ScriptedSts, config, facts, label};
use crate::gitlab::{Ask, Verdicts};
use crate::instance::Instance;
use crate::metrics::Metrics;
use crate::policy::{Edition, Policy, Revocations};
use crate::selftest::Canary;
use crate::token::Tokens;

#[derive(Debug)]
struct TestWire {
    stream: DuplexStream,
    reset: Arc<AtomicBool>,
}

impl Wire for TestWire {
    fn arm_reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }
}

impl AsyncRead for TestWire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TestWire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A proxy with everything but sockets.
struct World {
    attestor: Arc<FakeAttestor>,
    sts: Arc<ScriptedSts>,
    instance: Arc<ScriptedInstance>,
    gitlab: Arc<ScriptedGitlab>,
    service: Arc<Service<Arc<FakeAttestor>, Arc<ScriptedSts>>>,
    stop: CancellationToken,
    records: Records,
    recording: std::thread::JoinHandle<()>,
}

/// Where the audit log goes.
#[derive(Debug, Clone, Default)]
struct Records(Arc<Mutex<Vec<u8>>>);

impl io::Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection to it, from the client's side.
struct Client {
    stream: DuplexStream,
    reset: Arc<AtomicBool>,
    served: tokio::task::JoinHandle<End>,
}

fn world() -> World {
    world_of(RULE)
}

/// A rule whose containers need no token.
fn without_token() -> String {
    format!("{RULE}require_token = false\n")
}

fn world_of(rules: &str) -> World {
    let gitlab = ScriptedGitlab::new();
    world_with(rules, Arc::clone(&gitlab), gitlab)
}

/// A world in which GitLab is asked so.
fn world_with(rules: &str, gitlab: Arc<ScriptedGitlab>, asker: impl Ask) -> World {
    let config = config(rules);
    let clock = PausedClock::start();
    let attestor = Arc::new(FakeAttestor::default());
    *attestor.facts.lock().unwrap() = Some(Arc::new(facts()));
    let sts = ScriptedSts::new(clock.clone());
    let instance = ScriptedInstance::new();
    let metrics = Metrics::new();
    let records = Records::default();
    let (audit, recording) = AuditLog::start(Box::new(records.clone()), || {}).unwrap();
    let service = Service {
        attestor: Arc::clone(&attestor),
        policy: InForce::new(Policy::new(&config), Revocations::default()),
        terms: Terms {
            tokens: Tokens::new([7; 32]),
            region: config.aws.region.to_string(),
            attestation: config.attestation.level,
            container_endpoint: true,
            started: clock.now(),
        },
        verdicts: Verdicts::new(&config.gitlab, asker, Arc::<Metrics>::clone(&metrics)),
        credentials: Cache::new(
            Arc::clone(&sts),
            clock.clone(),
            1,
            config.credentials.rates,
            Arc::new((metrics.clone(), Arc::new(audit.clone()))),
        ),
        instance: Instance::new(Arc::clone(&instance)),
        clock,
        nonce: Box::new(|| [5; 8]),
        audit,
        metrics,
        containers: Counts::new(4),
        standings: Standings::default(),
        canary: Canary::default(),
        register: Register::new(None),
    };
    World {
        attestor,
        sts,
        instance,
        gitlab,
        service: Arc::new(service),
        stop: CancellationToken::new(),
        records,
        recording,
    }
}

impl World {
    /// A session token of the run, minted at the start.
    fn token(&self, run: &Run, ttl: u32) -> String {
        let tokens = &self.service.terms.tokens;
        tokens.mint(run, Edition::FIRST, ttl, 1_800_000_000, [0; 8])
    }

    fn connect(&self) -> Client {
        self.connect_to(Connection {
            client: "172.17.0.2:40000".parse().unwrap(),
            original_destination: ENDPOINTS[0],
        })
    }

    fn connect_to(&self, connection: Connection) -> Client {
        let (near, far) = tokio::io::duplex(1 << 20);
        let reset = Arc::new(AtomicBool::new(false));
        let wire = TestWire {
            stream: far,
            reset: Arc::clone(&reset),
        };
        let served = tokio::spawn(serve(Arc::clone(&self.service), wire, connection, self.stop.clone()));
        Client {
            stream: near,
            reset,
            served,
        }
    }

    /// Ends, and gives what was recorded.
    fn records(self) -> String {
        drop(self.service);
        self.recording.join().unwrap();
        String::from_utf8(self.records.0.lock().unwrap().clone()).unwrap()
    }

    /// One request on a connection of its own; the whole answer.
    async fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        client.send(request).await;
        client.stream.shutdown().await.unwrap();
        client.rest().await
    }
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn rest(&mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Reads one answer of a connection that stays open.
    async fn answer(&mut self) -> (u16, String) {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(self.stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(bytes).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .unwrap()
            .parse()
            .unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        (status(&head), String::from_utf8(body).unwrap())
    }
}

fn status(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap()
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n")
}

const PUT: &str =
    "PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";
const LIST: &str = "/latest/meta-data/iam/security-credentials/";
const ROLE: &str = "/latest/meta-data/iam/security-credentials/deploy";

#[tokio::test(start_paused = true)]
async fn the_usual_flow_works_on_one_connection() {
    let world = world();
    let mut client = world.connect();
    client.send(PUT).await;
    let (status, token) = client.answer().await;
    assert_eq!((status, token.len()), (200, 56));
    client.send(&get(LIST, &token)).await;
    assert_eq!(client.answer().await, (200, "deploy".to_owned()));
    client.send(&get(ROLE, &token)).await;
    let (status, document) = client.answer().await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(document, @r#"
    {
      "Code" : "Success",
      "LastUpdated" : "2027-01-15T08:00:00Z",
      "Type" : "AWS-HMAC",
      "AccessKeyId" : "ASIA0",
      "SecretAccessKey" : "secret0ofdeploy",
      "Token" : "IQoJ0",
      "Expiration" : "2027-01-15T09:00:00Z"
    }
    "#);
    client.send(&get("/latest/meta-data/placement/region", &token)).await;
    assert_eq!(client.answer().await, (200, "eu-central-1".to_owned()));
    client.send(&get("/latest/meta-data/iam/info", &token)).await;
    let info = client.answer().await.1;
    assert!(
        info.contains("arn:aws:iam::123456789012:instance-profile/deploy"),
        "{info}"
    );
    // The hour, whenever it is asked.
    assert!(info.contains("\"LastUpdated\" : \"2027-01-15T08:00:00Z\""), "{info}");
    assert_eq!(world.sts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_takes_little_room() {
    let world = world();
    let (_, far) = tokio::io::duplex(1);
    let wire = TestWire {
        stream: far,
        reset: Arc::default(),
    };
    let connection = Connection {
        client: "172.17.0.2:40000".parse().unwrap(),
        original_destination: ENDPOINTS[0],
    };
    let served = serve(Arc::clone(&world.service), wire, connection, world.stop.clone());
    // 10,000 of them are 10 MiB, of the 40 that are the budget.
    let size = size_of_val(&served);
    assert!(size <= 1024, "{size}");
}

#[tokio::test(start_paused = true)]
async fn requests_sent_together_are_judged_one_by_one() {
    let world = world();
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    let admin = "/latest/meta-data/iam/security-credentials/admin";
    client
        .send(&format!(
            "{}{}{}",
            get(ROLE, &token),
            get(admin, &token),
            get(LIST, &token)
        ))
        .await;
    assert_eq!(client.answer().await.0, 200);
    assert_eq!(client.answer().await.0, 404);
    assert_eq!(client.answer().await, (200, "deploy".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_head_request_is_answered_without_a_body() {
    let world = world_of(&without_token());
    let answer = world
        .ask(&format!(
            "HEAD {LIST} HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n"
        ))
        .await;
    assert!(
        answer.contains("Content-Length: 6\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_token_there_is_nothing_unless_the_operator_says_so() {
    let plain = format!("GET {LIST} HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&world().ask(&plain).await), 401);
    let lax = world_of(&without_token());
    let answer = lax.ask(&plain).await;
    assert_eq!(status(&answer), 200);
    assert!(!answer.contains("Ttl-Seconds"));
    // A bad token is refused all the same.
    assert_eq!(status(&lax.ask(&get(LIST, "x")).await), 401);
}

#[tokio::test(start_paused = true)]
async fn tokens_end_and_do_not_travel() {
    let world = world();
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    assert!(world.ask(&get(LIST, &token)).await.contains("Ttl-Seconds: 60\r\n"));
    let mut other = facts();
    other.run.started_at = "2027-01-15T07:59:30Z".to_owned();
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(other));
    assert_eq!(status(&world.ask(&get(LIST, &token)).await), 401);
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(facts()));
    assert_eq!(status(&world.ask(&get(LIST, &token)).await), 200);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(status(&world.ask(&get(LIST, &token)).await), 401);
}

#[tokio::test(start_paused = true)]
async fn a_token_needs_one_good_time_to_live_and_no_intermediary() {
    let world = world();
    let put = |headers: &str| format!("PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\n{headers}\r\n");
    let ttl = "x-aws-ec2-metadata-token-ttl-seconds";
    for headers in [
        String::new(),
        format!("{ttl}: 0\r\n"),
        format!("{ttl}: 21601\r\n"),
        format!("{ttl}: 60\r\n{ttl}: 60\r\n"),
    ] {
        assert_eq!(status(&world.ask(&put(&headers)).await), 400, "{headers}");
    }
    let forwarded = put(&format!("{ttl}: 60\r\nX-Forwarded-For: 10.0.0.1\r\n"));
    assert_eq!(status(&world.ask(&forwarded).await), 403);
    assert!(
        world
            .ask(&put(&format!("{ttl}: 21600\r\n")))
            .await
            .contains("Token-Ttl-Seconds: 21600\r\n")
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_attested_gets_a_constant_answer() {
    let world = world();
    let mut answers = Vec::new();
    for unattested in [Unattested::UnknownAddress, Unattested::Orphaned, Unattested::Raced] {
        *world.attestor.unattested.lock().unwrap() = Some(unattested);
        for request in [PUT, &get(ROLE, "x"), "GET / HTTP/1.0\r\n\r\n", "nonsense\r\n\r\n"] {
            answers.push(world.ask(request).await);
        }
    }
    assert_eq!(status(&answers[0]), 403);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    *world.attestor.unattested.lock().unwrap() = Some(Unattested::EngineUnavailable);
    assert_eq!(status(&world.ask(PUT).await), 503);
    assert_eq!(world.sts.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_to_the_proxy_itself_is_refused() {
    let world = world();
    for destination in [
        "10.0.0.1:8000",
        "169.254.169.254:8000",
        "169.254.169.253:80",
        "[fd00:ec2::253]:80",
    ] {
        let connection = Connection {
            client: "172.17.0.2:40000".parse().unwrap(),
            original_destination: destination.parse().unwrap(),
        };
        let mut client = world.connect_to(connection);
        client.send(PUT).await;
        client.stream.shutdown().await.unwrap();
        assert_eq!(status(&client.rest().await), 403, "{destination}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_policy_refuses_gets_nothing_anywhere() {
    let world = world();
    let mut stranger = facts();
    label(&mut stranger, "project.id", "21");
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(stranger));
    for request in [
        PUT,
        &get(LIST, "x"),
        &get(ROLE, "x"),
        &get("/latest/meta-data/placement/region", "x"),
    ] {
        assert_eq!(status(&world.ask(request).await), 403);
    }
    assert_eq!(world.sts.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_has_a_bounded_number_of_connections() {
    let world = world();
    let held: Vec<Client> = (0..4).map(|_| world.connect()).collect();
    tokio::task::yield_now().await;
    assert_eq!(status(&world.ask(PUT).await), 503);
    drop(held);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(status(&world.ask(PUT).await), 200);
}

#[tokio::test(start_paused = true)]
async fn a_failing_sts_is_unavailable_and_a_denying_one_denies() {
    let world = world();
    let token = world.token(&facts().run, 21_600);
    for (failure, expected) in [
        (Failure::Throttled, 503),
        (Failure::Unreachable, 503),
        (Failure::Denied, 403),
    ] {
        world.sts.fail(Some(failure));
        assert_eq!(status(&world.ask(&get(ROLE, &token)).await), expected);
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    world.sts.fail(None);
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 200);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_proxy_closes_idle_connections() {
    let world = world();
    let mut client = world.connect();
    client.send(PUT).await;
    client.answer().await;
    world.stop.cancel();
    assert_eq!(client.served.await.unwrap(), End::Closed);
}
