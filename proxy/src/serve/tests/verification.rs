//! Rules that have GitLab asked before they give anything.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::time::advance;
use tracing_subscriber::EnvFilter;

use super::{LIST, PUT, ROLE, World, get, status, world, world_of, world_with};
use crate::caller::Facts;
use crate::config::Config;
use crate::explain::{Network, Standing, explain};
use crate::fixture::gitlab::{FakeGitlab, SERVER, ScriptedGitlab, TOKEN, VERIFY, server, with_token};
use crate::fixture::{PausedClock, RULE, config, facts, label};
use crate::gitlab::{Servers, Unverified};
use crate::health::Health;

fn rules() -> String {
    format!("{SERVER}{RULE}{VERIFY}")
}

/// A world whose rule is verified, and whose container has a token.
fn verifying() -> World {
    come(world_of(&rules()), with_token(facts()))
}

fn come(world: World, facts: Facts) -> World {
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(facts));
    world
}

fn token(world: &World) -> String {
    world.token(&facts().run, 21_600)
}

fn metrics(world: &World) -> String {
    world.service.metrics.text(&Health::new(true, true).verdict())
}

/// The route, the reason and what is said of GitLab's word, of each record of a decision.
fn told(records: &str) -> Vec<(String, String, Option<bool>)> {
    let read = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let text = |record: &serde_json::Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let decisions = records.lines().map(read).filter(|record| record["issued"].is_null());
    decisions
        .map(|record| {
            (
                text(&record, "route"),
                text(&record, "reason"),
                record["verified"].as_bool(),
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_job_that_gitlab_confirms_is_served_and_asked_about_once() {
    let world = verifying();
    let mut client = world.connect();
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    assert_eq!(world.gitlab.calls(), 0, "a session token alone is worth nothing");
    for path in [
        LIST,
        ROLE,
        "/latest/meta-data/iam/info",
        "/latest/meta-data/placement/region",
        ROLE,
    ] {
        client.send(&get(path, &token)).await;
        assert_eq!(client.answer().await.0, 200, "{path}");
    }
    assert_eq!((world.gitlab.calls(), world.sts.calls()), (1, 1));
    assert_eq!(*world.gitlab.tokens.lock().unwrap(), [TOKEN]);
    drop(client.stream);
    client.served.await.unwrap();
    let told: Vec<_> = told(&world.records())
        .into_iter()
        .map(|(_, _, verified)| verified)
        .collect();
    assert_eq!(told, [None, Some(true), Some(true), Some(true), Some(true), Some(true)]);
}

#[tokio::test(start_paused = true)]
async fn whom_gitlab_does_not_confirm_gets_nothing_and_sts_is_not_asked() {
    for (why, expected) in [
        (Unverified::TokenRefused, 403),
        (Unverified::NotRunning, 403),
        (Unverified::Differs("project"), 403),
        (Unverified::NotProtected, 403),
        (Unverified::OtherRefType, 403),
        (Unverified::Untold("ref"), 403),
        (Unverified::Unreachable, 503),
        (Unverified::Broken, 503),
        (Unverified::Redirected, 503),
        (Unverified::Throttled, 503),
        (Unverified::ReaderRefused, 503),
    ] {
        let world = verifying();
        world.gitlab.say(Err(why));
        let token = token(&world);
        let answers = [
            world.ask(&get(LIST, &token)).await,
            world.ask(&get(ROLE, &token)).await,
            world.ask(&get("/latest/meta-data/iam/info", &token)).await,
        ];
        for answer in answers {
            assert_eq!(status(&answer), expected, "{why}");
            assert!(
                !answer.contains("\r\n\r\ndeploy") && !answer.contains("role/"),
                "{answer}"
            );
        }
        assert_eq!((world.gitlab.calls(), world.sts.calls()), (1, 0), "{why}");
        let records = world.records();
        let told = told(&records);
        assert!(
            told.iter()
                .all(|(_, reason, verified)| reason == why.as_str() && *verified == Some(false)),
            "{records}"
        );
        assert!(records.contains(&why.to_string()), "{records}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_is_unavailable() {
    let world = verifying();
    *world.gitlab.delay.lock().unwrap() = None;
    assert_eq!(status(&world.ask(&get(ROLE, &token(&world))).await), 503);
    assert_eq!((world.gitlab.calls(), world.sts.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_strangers_and_bad_requests() {
    let world = verifying();
    let token = token(&world);
    for request in [
        get(ROLE, "x"),
        get("/latest/meta-data/iam/security-credentials/admin", &token),
        get("/latest/user-data", &token),
        format!("GET {LIST} HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"),
        PUT.to_owned(),
    ] {
        world.ask(&request).await;
    }
    let mut stranger = with_token(facts());
    label(&mut stranger, "project.id", "21");
    let world = come(world, stranger);
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 403);
    // Whom the kernel does not confirm at that moment.
    let world = come(world, with_token(facts()));
    *world.attestor.confirmations.lock().unwrap() = Some(0);
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 403);
    *world.attestor.confirmations.lock().unwrap() = None;
    advance(Duration::from_hours(2)).await;
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 403, "its job is over");
    assert_eq!(world.gitlab.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_one_token_there_is_nothing_to_ask_with() {
    let second = |facts: &mut Facts| facts.env.push(format!("CI_JOB_TOKEN={TOKEN}"));
    let world = world_of(&rules());
    let token = token(&world);
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 403);
    let mut two = with_token(facts());
    second(&mut two);
    let world = come(world, two);
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 403);
    let mut odd = facts();
    odd.env.push("CI_JOB_TOKEN=a b".to_owned());
    let world = come(world, odd);
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 403);
    assert_eq!((world.gitlab.calls(), world.sts.calls()), (0, 0));
    let reasons: Vec<String> = told(&world.records())
        .into_iter()
        .map(|(_, reason, _)| reason)
        .collect();
    assert_eq!(
        reasons,
        ["job-token-missing", "job-token-ambiguous", "job-token-malformed"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_gets_nothing_more_on_a_connection_that_was_served_before() {
    let world = verifying();
    let token = token(&world);
    let mut client = world.connect();
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 200);
    world.gitlab.say(Err(Unverified::NotRunning));
    advance(Duration::from_secs(4)).await;
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 200, "a verdict counts for a minute");
    drop(client);
    advance(Duration::from_secs(56)).await;
    let mut client = world.connect();
    client.send(&get(ROLE, &token)).await;
    assert_eq!(client.answer().await.0, 403, "although credentials are there");
    client.send(&get(LIST, &token)).await;
    assert_eq!(client.answer().await.0, 403);
    assert_eq!((world.gitlab.calls(), world.sts.calls()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_lapses_while_sts_is_asked_is_asked_for_again() {
    let world = verifying();
    let token = token(&world);
    assert_eq!(status(&world.ask(&get(LIST, &token)).await), 200);
    *world.sts.delay.lock().unwrap() = Duration::from_secs(2);
    // From here on STS is slower than what is left of the verdict.
    advance(Duration::from_secs(59)).await;
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 200);
    assert_eq!((world.gitlab.calls(), world.sts.calls()), (2, 1));
    // And whom GitLab does not confirm any more by then gets nothing of what STS gave.
    let world = verifying();
    assert_eq!(status(&world.ask(&get(LIST, &token)).await), 200);
    *world.sts.delay.lock().unwrap() = Duration::from_secs(2);
    world.gitlab.say(Err(Unverified::NotRunning));
    advance(Duration::from_secs(59)).await;
    assert_eq!(status(&world.ask(&get(ROLE, &token)).await), 403);
    assert_eq!((world.gitlab.calls(), world.sts.calls()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_job_is_one_question() {
    for verdict in [Ok(()), Err(Unverified::TokenRefused), Err(Unverified::Unreachable)] {
        let world = verifying();
        world.gitlab.say(verdict);
        let token = token(&world);
        let mut client = world.connect();
        for _ in 0..300 {
            client.send(&get(LIST, &token)).await;
            client.answer().await;
        }
        assert_eq!(world.gitlab.calls(), 1, "{verdict:?}");
        let metrics = metrics(&world);
        let word = verdict.map_or_else(Unverified::as_str, |()| "ok");
        assert!(
            metrics.contains(&format!("metadata_proxy_verifications_total{{result=\"{word}\"}} 1")),
            "{metrics}"
        );
        assert!(
            metrics.contains("metadata_proxy_verification_seconds_count 1"),
            "{metrics}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_rule_makes_its_verdicts_worthless_at_once() {
    let world = verifying();
    let before = token(&world);
    let mut client = world.connect();
    client.send(&get(LIST, &before)).await;
    assert_eq!(client.answer().await.0, 200);
    world.gitlab.say(Err(Unverified::OtherRefType));
    let narrowed = config(&format!("{}ref_type = \"tag\"\n", rules()));
    world.service.replace_policy(&narrowed);
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    client.send(&get(LIST, &token)).await;
    assert_eq!(client.answer().await.0, 403);
    assert_eq!(world.gitlab.calls(), 2);
    // The other way round: who is not asked about any more is served.
    world.service.replace_policy(&config(&format!("{SERVER}{RULE}")));
    client.send(PUT).await;
    let (_, token) = client.answer().await;
    client.send(&get(LIST, &token)).await;
    assert_eq!(client.answer().await.0, 200);
    assert_eq!(world.gitlab.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn rules_that_do_not_want_it_ask_nobody_and_sts_is_not_asked_ahead_for_those_that_do() {
    let world = come(world(), with_token(facts()));
    assert_eq!(status(&world.ask(&get(ROLE, &token(&world))).await), 200);
    assert_eq!(world.gitlab.calls(), 0);
    assert!(!told(&world.records()).iter().any(|(_, _, verified)| verified.is_some()));
    let world = verifying();
    assert!(!world.service.prefetch(&with_token(facts())));
    assert_eq!((world.gitlab.calls(), world.sts.calls()), (0, 0));
}

thread_local! {
    /// What was logged on this thread, on which a test is alone.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has everything logged as the program does, on every thread: of a subscriber of one thread, what another logs first is never heard.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("warn,metadata_proxy=info"))
            .with_writer(|| Log)
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// All of it, with a GitLab that is asked over HTTP: what the job gets, and where its token goes.
#[tokio::test]
async fn the_token_goes_to_gitlab_and_into_nobodys_words() {
    listen();
    let gitlab = FakeGitlab::start().await;
    let mut words = String::new();
    for (code, body, expected) in [
        (200, crate::fixture::gitlab::answer().to_string(), 200),
        (200, format!("{{\"id\": \"{TOKEN}\"}}"), 503),
        (401, TOKEN.to_owned(), 403),
        (302, TOKEN.to_owned(), 503),
        (500, TOKEN.to_owned(), 503),
    ] {
        gitlab.say(code, body);
        let servers = Servers::new(&[server(&gitlab.url)]).unwrap();
        let world = come(
            world_with(&rules(), ScriptedGitlab::new(), servers),
            with_token(facts()),
        );
        let answer = world.ask(&get(ROLE, &token(&world))).await;
        assert_eq!(status(&answer), expected, "{answer}");
        let debug = format!("{:?}", world.service);
        words.extend([answer, metrics(&world), debug, world.records()]);
    }
    assert_eq!(gitlab.asked(), ["GET /git/api/v4/job"; 5]);
    let standing = Standing {
        name: "build".to_owned(),
        cgroup: Ok("/".to_owned()),
        network: Network::Own,
        same_namespace: Vec::new(),
        same_bridge: Vec::new(),
    };
    let config: Config = config(&rules());
    let explained = explain(&config, &with_token(facts()), &standing, PausedClock::epoch());
    let log = String::from_utf8(LOG.take()).unwrap();
    words.extend([explained.to_string(), explained.json(), log]);
    assert!(
        words.contains("GitLab cannot be asked about a job"),
        "the log was read: {words}"
    );
    assert!(!words.contains("canary"), "{words}");
}
