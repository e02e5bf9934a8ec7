//! The whole proxy, as a program, on an instance of the lab: real containers, a real firewall, the fakes upstream.
//!
//! Where the machine cannot run the lab the tests are listed as ignored, with the reason as their kind; with `REQUIRE_LAB=1` they fail.

#![expect(clippy::disallowed_methods, reason = "a test reads its environment")]

mod asker;
mod canary;
mod chaos;
mod container;
mod doctor;
mod explain;
mod generations;
mod health;
mod host;
mod instance;
mod job;
mod levels;
mod marked;
mod package;
mod prefetch;
mod relay;
mod reload;
mod revoke;
mod sessions;
mod supervisor;
mod transport;
mod verified;
mod whole;
mod world;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use lab::Requirements;
use libtest_mimic::{Arguments, Failed, Trial};

type Outcome = Result<(), Failed>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // The fakes and the job's container are this program itself.
    match words.first().map(String::as_str) {
        Some("job") => return job::main(),
        Some("idle") => return job::idle(),
        Some("ask-on") => return job::ask_on(words.get(1)),
        Some("values") => return job::values(),
        Some("container") => return job::container(words.get(1)),
        Some("gitlab") => return verified::serve(words.get(1)),
        Some("relay") => return relay::main(words.get(1..).unwrap_or_default()),
        Some("fake-imds") => {
            return drive(fake_imds::cli::run(
                fake_imds::cli::Cli::parse_from(words),
                &mut std::io::stdout(),
            ));
        }
        Some("fake-sts") => {
            return drive(fake_sts::program::run(
                fake_sts::options::Options::parse_from(words),
                &mut std::io::stdout(),
            ));
        }
        Some(_) | None => {}
    }
    let lacks: Vec<String> = Requirements::check().iter().map(ToString::to_string).collect();
    let mut trials = vec![
        trial(
            "a_sanctioned_job_gets_its_role_and_others_get_nothing",
            whole::grants_and_refuses,
        ),
        trial("a_stopped_proxy_leaves_the_endpoint_closed", whole::stays_closed),
        trial(
            "a_weaker_level_of_attestation_says_so_and_refuses_whom_it_cannot_tell_apart",
            levels::a_weaker_one_says_so_and_refuses_whom_it_cannot_tell_apart,
        ),
        trial(
            "the_rules_stand_even_when_the_engine_is_down",
            host::closes_before_the_engine,
        ),
        trial(
            "nothing_on_the_host_but_the_proxy_reaches_the_endpoint",
            host::closes_the_host,
        ),
        trial(
            "values_of_the_instance_are_asked_for_by_the_proxy_alone",
            instance::values_are_asked_for_by_the_proxy_alone,
        ),
        trial(
            "the_endpoint_for_containers_is_closed_unless_it_is_wanted",
            container::is_closed_unless_it_is_wanted,
        ),
        trial(
            "a_container_that_has_just_started_is_prepared_for",
            prefetch::prepares_for_a_container,
        ),
        trial(
            "a_socket_proxy_that_only_reads_will_do",
            transport::a_socket_proxy_that_only_reads_will_do,
        ),
        trial(
            "nobody_else_answers_for_an_engine_behind_tls",
            transport::nobody_else_answers_for_an_engine_behind_tls,
        ),
        trial(
            "a_reload_takes_over_rules_and_nothing_else",
            reload::takes_over_rules_and_nothing_else,
        ),
        trial("a_file_that_changes_is_reloaded", reload::follows_the_file),
        trial(
            "a_proxy_says_which_part_does_not_do_its_work",
            health::tells_which_part_fails,
        ),
        trial(
            "a_proxy_that_serves_proves_again_that_it_tells_callers_apart",
            canary::proves_it_again_while_it_serves,
        ),
        trial(
            "the_service_manager_hears_what_the_proxy_does",
            supervisor::hears_what_the_proxy_does,
        ),
        trial(
            "a_doctor_finds_what_breaks_isolation",
            doctor::finds_what_breaks_isolation,
        ),
        trial(
            "an_explanation_says_what_the_proxy_does",
            explain::says_what_the_proxy_does,
        ),
        trial(
            "what_an_operator_revokes_is_gone_at_once_until_it_is_lifted",
            revoke::takes_away_and_gives_back,
        ),
        trial(
            "what_is_revoked_stays_revoked_when_the_proxy_starts_again",
            revoke::outlives_the_proxy,
        ),
        trial(
            "sts_is_told_who_a_session_is_for_and_what_it_refuses_is_explained",
            sessions::tell_sts,
        ),
        trial(
            "a_role_of_another_account_is_given_where_the_operator_lists_it",
            sessions::reach_other_accounts,
        ),
        trial(
            "a_job_has_its_role_while_its_gitlab_server_says_that_it_runs",
            verified::follows_its_server,
        ),
        trial(
            "a_label_of_the_operator_counts_and_one_of_an_image_does_not",
            marked::count_labels_of_the_operator,
        ),
        trial(
            "an_engine_that_dies_or_stops_gives_nobody_anothers_role_and_is_found_again",
            chaos::engine_dies_and_stops,
        ),
        trial(
            "a_stream_of_events_that_is_cut_or_silent_gives_nobody_anothers_role",
            chaos::events_are_cut,
        ),
        trial(
            "whatever_sts_and_the_endpoint_do_a_job_gets_its_own_or_nothing",
            chaos::upstreams_fail,
        ),
        trial(
            "a_proxy_that_is_killed_in_the_middle_starts_again",
            chaos::proxy_is_killed,
        ),
        trial(
            "the_packaged_image_starts_and_checks_a_configuration",
            package::image_starts_and_checks_a_configuration,
        ),
        trial("generations_of_containers_at_few_addresses_each_get_their_own", || {
            generations::come_and_go(60)
        }),
        trial(
            "a_thousand_generations_of_containers_at_few_addresses_each_get_their_own",
            || generations::come_and_go(1000),
        )
        .with_ignored_flag(true),
    ];
    let units = trial(
        "the_packaged_units_are_as_systemd_wants_them",
        package::units_are_as_systemd_wants_them,
    );
    let is_required = std::env::var_os("REQUIRE_LAB").is_some_and(|value| value == "1");
    trials.push(match package::lacks_systemd() {
        Some(reason) if !is_required => units.with_kind(reason).with_ignored_flag(true),
        Some(_) | None => units,
    });
    if !lacks.is_empty() && !is_required {
        let reason = format!("the machine lacks {}", lacks.join("; "));
        trials = trials
            .into_iter()
            .map(|trial| trial.with_kind(&reason).with_ignored_flag(true))
            .collect();
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial<F: Future<Output = Outcome>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(test())
    })
}

fn drive<E: std::fmt::Display>(work: impl Future<Output = Result<(), E>>) -> ExitCode {
    let ended = tokio::runtime::Runtime::new().map(|runtime| runtime.block_on(work).map_err(|error| error.to_string()));
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => complain(&error),
        Err(error) => complain(&error.to_string()),
    }
}

fn complain(error: &str) -> ExitCode {
    drop(writeln!(std::io::stderr(), "{error}"));
    ExitCode::FAILURE
}
