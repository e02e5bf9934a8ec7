//! Rules that have GitLab asked: a job gets its role only while its server says, to the job's own token, that this job runs.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use lab::{Place, Process, Program};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::Outcome;
use crate::job::Step;
use crate::whole::check;
use crate::world::{SOON, World, labels, labels_of_job};

const ADDRESS: &str = "127.0.0.1:8099";
/// Of the one rule of every world, and of the server that it needs then. A verdict counts for as short as it may.
const VERIFY: &str = r#"verify = true
[[gitlab]]
host = "gitlab.example.com"
url = "http://127.0.0.1:8099"
verdict_seconds = 5
"#;
/// What GitLab answers, by token.
const JOBS: &str = "gitlab.json";
const TOKEN: &str = "glcbt-64_canaryOfTheJob";
const OTHER_TOKEN: &str = "glcbt-64_canaryOfAnotherJob";

/// What GitLab says of a job of the project.
fn job(number: u32, status: &str) -> Value {
    json!({
        "id": number, "status": status, "ref": "main", "tag": false, "web_url": format!("https://gitlab.example.com/g/p/-/jobs/{number}"),
        "pipeline": {"id": 574, "project_id": 20, "ref": "main", "source": "push"}, "runner": {"id": 12},
    })
}

/// A GitLab server on the host's loopback interface. Whoever asks for anything else, or without a token that it knows, gets nothing.
pub(crate) fn serve(jobs: Option<&String>) -> ExitCode {
    let Some(jobs) = jobs.map(PathBuf::from) else {
        return ExitCode::FAILURE;
    };
    crate::drive(async move {
        let listener = tokio::net::TcpListener::bind(ADDRESS).await?;
        writeln!(io::stdout(), "listening on {ADDRESS}")?;
        axum::serve(listener, axum::Router::new().fallback(answer).with_state(jobs)).await
    })
}

async fn answer(State(jobs): State<PathBuf>, request: Request) -> Response {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if request.method() != "GET" || request.uri() != "/api/v4/job" || header("host") != Some(ADDRESS) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let known: Option<Value> = fs::read(jobs).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let Some(known) = known else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    match header("job-token").and_then(|token| known.get(token)) {
        Some(job) => axum::Json(job).into_response(),
        None => (StatusCode::UNAUTHORIZED, "{\"message\":\"401 Unauthorized\"}").into_response(),
    }
}

async fn start_server(world: &World) -> Result<Process, Failed> {
    let jobs = world.instance.state_dir().join(JOBS).display().to_string();
    let server = Program::new(std::env::current_exe()?).label("gitlab");
    let server = world.instance.spawn(Place::Host, &server.args(["gitlab", &jobs]))?;
    server.wait_for_line("listening on", SOON).await?;
    Ok(server)
}

fn write(world: &World, jobs: &Value) -> Outcome {
    let file = world.instance.state_dir().join(JOBS);
    fs::write(file.with_extension("new"), jobs.to_string())?;
    Ok(fs::rename(file.with_extension("new"), file)?)
}

/// What came of asking for credentials over IPv4.
fn credentials(steps: &[Step]) -> u16 {
    steps
        .iter()
        .find(|step| step.name == "credentials")
        .map_or(0, |step| step.status)
}

/// Asks in a container, as its job would, until its credentials are answered so: a verdict counts for some seconds.
async fn wait_for(world: &World, container: &str, status: u16) -> Outcome {
    let asked = async {
        loop {
            if credentials(&world.do_in(container, "job").await?) == status {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(SOON, asked).await {
        Ok(met) => met,
        Err(_) => check(false, &("never answered so", status), world),
    }
}

pub(crate) async fn follows_its_server() -> Outcome {
    let world = World::start_with("verified", VERIFY).await?;
    write(
        &world,
        &json!({TOKEN: job(302, "running"), OTHER_TOKEN: job(303, "running")}),
    )?;
    let server = start_server(&world).await?;
    let own = format!("CI_JOB_TOKEN={TOKEN}");
    let other = format!("CI_JOB_TOKEN={OTHER_TOKEN}");

    // A token of another job, none, one that GitLab does not know, and two: nothing, and STS is not asked.
    for env in [
        &[other.as_str()][..],
        &[],
        &["CI_JOB_TOKEN=glcbt-64_unknown"],
        &[own.as_str(), other.as_str()],
    ] {
        let steps = world.run_job(labels(20), env).await?;
        let token = steps.first().map_or(0, |step| step.status);
        check((token, credentials(&steps)) == (200, 403), &(env, &steps), &world)?;
    }
    let ledger = world.sts_ledger().await?.to_string();
    check(!ledger.contains(r#""service":"sts""#), &ledger, &world)?;

    let id = world
        .start_waiting("job", "default", labels(20), &[own.as_str()])
        .await?;
    wait_for(&world, &id, 200).await?;
    check(
        world.proxy.stdout().contains(r#""verified":true"#),
        &"no record says that the job was verified",
        &world,
    )?;

    // A server that cannot be reached confirms nobody, not even whom it has confirmed before; and everybody again once it is there.
    server.kill().await?;
    wait_for(&world, &id, 503).await?;
    let labels = labels_of_job(20, 303);
    let late = world.run_job(labels, &[other.as_str()]).await?;
    check(credentials(&late) == 503, &late, &world)?;
    let server = start_server(&world).await?;
    wait_for(&world, &id, 200).await?;

    // The job ends on the server; its container is left behind.
    write(&world, &json!({TOKEN: job(302, "canceled")}))?;
    wait_for(&world, &id, 403).await?;
    server.kill().await?;
    // Nobody's token is told.
    for text in [world.proxy.stdout(), world.proxy.stderr()] {
        check(!text.contains("canaryOf"), &text, &world)?;
    }
    world.end().await
}
