//! What serving costs, measured from containers through the redirect on an instance of the lab: beside a bare axum server that returns the same bytes,
//! with one container and with a thousand. Judges nothing: prints what it measured beside its budget (design, section 9). `ci/bench` runs it.

mod bare;
mod container;
mod gate;
#[path = "../../tests/it/job.rs"]
#[expect(dead_code, reason = "the world speaks of its steps")]
mod job;
mod load;
mod measure;
mod table;
#[path = "../../tests/it/world.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod world;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // All programs of the bench are this one: the fakes, the other server, what runs in containers.
    if let Some(end) = container::obey(&words) {
        return conclude(end);
    }
    match words.as_slice() {
        ["fake-imds", ..] => conclude(drive(fake_imds::cli::run(
            fake_imds::cli::Cli::parse_from(&words),
            &mut std::io::stdout(),
        ))),
        ["fake-sts", ..] => conclude(drive(fake_sts::program::run(
            fake_sts::options::Options::parse_from(&words),
            &mut std::io::stdout(),
        ))),
        ["bare", port, document] => conclude(drive(bare::serve(port, document))),
        ["gate", count] => conclude(drive(gate::serve(count))),
        ["assume", count] => conclude(drive(measure::time_calls(count))),
        // `cargo bench` adds --bench.
        _ => conclude(drive(measure::measure())),
    }
}

fn drive<E: std::fmt::Display>(work: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(work).map_err(|error| error.to_string())
}

fn conclude<E: std::fmt::Display>(end: Result<(), E>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}
