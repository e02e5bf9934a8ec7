//! Containers that testcontainers starts on an engine of the lab: the fakes serve in them, and the proxy on their host knows which is a job.
//!
//! testcontainers takes its engine from `DOCKER_HOST`, once per process, and setting that in one's own process is not thread-safe: each test is a child
//! of this program with the variable set. The job's container is this program too. Where the machine cannot run the lab the tests are listed
//! as ignored, with the reason as their kind; with `REQUIRE_LAB=1` they fail.

mod inside;
mod job;
mod world;

use std::io::Write as _;
use std::process::ExitCode;

use lab::Requirements;
use libtest_mimic::{Arguments, Failed, Trial};

use world::World;

const TESTS: [&str; 2] = [inside::THE_FAKES_SERVE, inside::A_JOB_GETS_ITS_ROLE];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some("job"), Some(endpoint)) => return job::main(&endpoint),
        (Some("inside"), Some(test)) => return child(&test),
        (_, _) => {}
    }
    let lacks: Vec<String> = Requirements::check().iter().map(ToString::to_string).collect();
    let lacks = (!lacks.is_empty()).then(|| format!("the machine lacks {}", lacks.join("; ")));
    let is_ignored = lacks.is_some() && !world::is_required();
    let trials = TESTS.map(|test| {
        let why = lacks.clone();
        let trial = Trial::test(test, move || match why {
            Some(why) => Err(Failed::from(why)),
            None => on_an_instance(test),
        });
        match &lacks {
            Some(why) => trial.with_kind(why).with_ignored_flag(is_ignored),
            None => trial,
        }
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// Plays a test: the world here, testcontainers in a child.
fn on_an_instance(test: &'static str) -> Result<(), Failed> {
    runtime()?.block_on(async {
        let world = World::start().await?;
        let played = world.play(test).await;
        world.end().await?;
        played
    })
}

fn child(test: &str) -> ExitCode {
    let played = runtime().and_then(|runtime| runtime.block_on(inside::play(test)));
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            let why = failed.message().unwrap_or("no reason").to_owned();
            drop(writeln!(std::io::stderr(), "{why}"));
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}
