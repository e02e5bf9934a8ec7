//! Attestation, firewall and self-test against a real kernel, a real engine and real containers, in namespaces of their own.
//!
//! The same program is three things: the outer run, which makes the namespaces; the inner run, which is the instance's host and holds
//! the tests; and the job inside each container.

#![expect(
    clippy::disallowed_methods,
    reason = "this is a test program of its own: it starts processes and reads its environment"
)]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "all of it is test code: what fails there is a failed test"
)]

mod attacks;
mod barrier;
mod call;
mod instance;
mod job;
mod levels;
mod life;
mod outer;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use metadata_proxy::caller::Level;

use crate::world::World;

/// A test: its name, and what it does.
type Test = (&'static str, Body);
type Body = fn(&World) -> Result<(), Failed>;

/// Each with the level by which callers are told apart.
fn tests() -> Vec<(String, Level, Body)> {
    let all = [attacks::TESTS, life::TESTS, call::TESTS, barrier::TESTS].concat();
    let usual = all
        .into_iter()
        .map(|(name, test)| (name.to_owned(), Level::Cgroup, test));
    // Whatever the weaker level does not give up holds there too.
    let same = [attacks::TESTS, life::TESTS].concat();
    let same = same.into_iter().filter(|(name, _)| !levels::GIVEN_UP.contains(name));
    let weaker = same.chain(levels::TESTS.iter().copied());
    let weaker = weaker.map(|(name, test)| (format!("netns_{name}"), Level::Netns, test));
    usual.chain(weaker).collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("job") => job::serve(),
        Some("call-now") => job::call_now(&words[1..]),
        Some("self-test-call") => match metadata_proxy::selftest::call(&words[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        },
        _ => run(),
    }
}

fn run() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let lacking = outer::lacking();
    if std::env::var_os(outer::INSIDE).is_some() {
        // One host, one firewall, one port: one test at a time.
        arguments.test_threads = Some(1);
        let world: &'static World = Box::leak(Box::new(World::start()));
        let trials = tests()
            .into_iter()
            .map(|(name, level, test)| {
                Trial::test(name, move || {
                    world.set_level(level);
                    test(world)
                })
            })
            .collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    match lacking {
        None if !arguments.list => outer::enter(),
        lacking => {
            let is_required = std::env::var_os("REQUIRE_LAB").is_some_and(|value| value == "1");
            let trials = tests().into_iter().map(|(name, _, _)| {
                let reason = lacking.clone().unwrap_or_default();
                let trial = Trial::test(name, move || Err(Failed::from(reason)));
                match &lacking {
                    Some(reason) if !is_required => trial.with_kind(reason).with_ignored_flag(true),
                    _ => trial,
                }
            });
            libtest_mimic::run(&arguments, trials.collect()).exit_code()
        }
    }
}
