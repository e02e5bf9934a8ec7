//! Job containers on a real engine: what `runner`, `image` and `probe` promise, seen from inside.
//!
//! Every case runs on one shared instance with a job number of its own. Where the machine cannot make an instance the cases are listed as
//! ignored, and fail where `REQUIRE_LAB=1` says that they must run.

mod cases;
mod machine;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use cases::Engine;
use machine::Machine;

type Case = fn(Engine) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        const CASES: &[(&str, Case)] = &[$((stringify!($name), |engine| Box::pin(cases::$name(engine)))),*];
    };
}

cases![
    the_process_sees_the_last_duplicate_and_inspect_lists_all,
    an_image_label_cannot_replace_the_runners_but_others_leak_in,
    a_service_is_named_by_its_id_and_known_in_the_hosts_file,
    a_network_per_build_answers_for_its_aliases,
    a_container_keeps_its_id_over_stages_and_has_no_address_between,
    native_steps_leave_the_images_environment_alone,
    a_service_with_ports_is_waited_for_and_the_wait_container_goes,
    a_bridge_address_and_capability_can_be_chosen,
    a_second_network_can_be_joined_while_running,
    images_have_the_id_that_was_computed_and_share_one_layer,
    the_unmodified_sdk_runs_in_the_image,
    a_container_that_dies_is_told_as_such,
    cleanup_leaves_nothing_of_the_job,
    a_volume_of_the_job_is_opened_first_and_goes_with_it,
    what_a_crash_left_under_a_name_goes_before_the_name_is_used_again,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let lacks = machine::lacks();
    let is_required = machine::is_required();
    let machine = Arc::new(Machine::default());
    let trials = (1_u64..).zip(CASES).map(|(job, &(name, case))| {
        let (machine, lacks) = (Arc::clone(&machine), lacks.clone());
        let is_ignored = lacks.is_some() && !is_required;
        let trial = Trial::test(name, move || match lacks {
            Some(lacks) => Err(Failed::from(lacks)),
            None => machine.run(|engine| case(Engine { job, ..engine })),
        });
        trial.with_ignored_flag(is_ignored)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let left = machine.tear_down();
    report(&left);
    if conclusion.has_failed() || left.is_err() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a harness tells what it could not remove where a test's output goes"
)]
fn report(left: &Result<(), String>) {
    if let Err(left) = left {
        eprintln!("error: {left}");
    }
}
