//! Every scenario as a test of its own name: `cargo test -p scenarios --test gate NET-04`.
//!
//! `proxy::ID` holds against the metadata proxy, `none::ID`, `firewall::ID` and `oidc::ID` get exactly what the case files say, `control::ID::HOLE` turns red against
//! the hole. All that are asked for run together on shared instances, once; the tests then tell what came out.

#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test may end the program")]

mod need;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::ambient::Ambient;
use scenarios::case::model::Case;
use scenarios::report::progress::Progress;
use scenarios::report::table::Colour;
use scenarios::report::{RunReport, ScenarioReport};
use scenarios::run::{Item, Pace};
use scenarios::stage::Standing;

/// What a test asks of a scenario's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    AsDocumented,
    Red,
}

struct Asked<'a> {
    name: String,
    item: Item<'a>,
    wanted: Wanted,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let ambient = Ambient::read().expect("this program knows where it lies");
    let cases = match scenarios::case::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")) {
        Ok(cases) => cases,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::FAILURE;
        }
    };
    let asked = asked(&cases);
    if !arguments.list {
        build_programs(&ambient);
    }
    let lacks = scenarios::cli::lacks(&ambient);
    // Ignored is decided here: a test that finds out only when it runs would count as passed.
    let ignored = need::is_ignored(&ambient, &lacks);
    let chosen: Vec<&Asked<'_>> = asked
        .iter()
        .filter(|asked| is_chosen(&arguments, &asked.name))
        .collect();
    let outcome = if arguments.list || ignored || chosen.is_empty() {
        Err(format!("the lab did not run: {lacks}"))
    } else if lacks.is_empty() {
        play(ambient, &chosen)
    } else {
        Err(format!(
            "REQUIRE_LAB is set and this machine cannot run the lab: {lacks}"
        ))
    };
    let outcome = Arc::new(outcome);
    let mut trials: Vec<Trial> = asked
        .iter()
        .map(|asked| {
            let (outcome, key, wanted) = (Arc::clone(&outcome), key(&asked.item), asked.wanted);
            let trial = Trial::test(&asked.name, move || tell(&outcome, &key, wanted));
            need::lab(trial, ignored)
        })
        .collect();
    let run = Arc::clone(&outcome);
    // Findings that no scenario can be named for must fail something.
    trials.push(Trial::test("run-wide-oracles", move || tell_findings(&run)).with_ignored_flag(ignored));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn asked(cases: &[Case]) -> Vec<Asked<'_>> {
    let documented = cases.iter().flat_map(|case| {
        case.stated().iter().map(move |defence| Asked {
            name: format!("{defence}::{}", case.id),
            item: (case, Standing::Defence(*defence)),
            wanted: Wanted::AsDocumented,
        })
    });
    let controls = scenarios::cli::control_items(cases)
        .into_iter()
        .map(|(case, standing)| Asked {
            name: format!("control::{}::{}", case.id, standing.label()),
            // With every hole closed it holds, or it is red for another reason than its hole.
            wanted: if standing == Standing::Closed {
                Wanted::AsDocumented
            } else {
                Wanted::Red
            },
            item: (case, standing),
        });
    documented.chain(controls).collect()
}

/// The same choice that libtest-mimic makes.
fn is_chosen(arguments: &Arguments, name: &str) -> bool {
    let matches = |filter: &String| {
        if arguments.exact {
            filter == name
        } else {
            name.contains(filter.as_str())
        }
    };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

fn key((case, standing): &Item<'_>) -> (String, String) {
    (case.id.clone(), standing.label())
}

type Outcome = Result<(BTreeMap<(String, String), ScenarioReport>, Vec<String>), String>;

fn play(ambient: Ambient, chosen: &[&Asked<'_>]) -> Outcome {
    let items: Vec<Item<'_>> = chosen.iter().map(|asked| asked.item.clone()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let report: RunReport = runtime.block_on(async {
        let pace = Pace::new(ambient.processors, None, true);
        let workshop = scenarios::cli::workshop(ambient, "lab")
            .await
            .map_err(|exit| format!("the lab cannot be opened: {exit:?}"))?;
        let progress = Progress::new(items.len(), Colour::Plain, true);
        let report = scenarios::run::run(&workshop, &items, pace, &progress).await;
        workshop.lab.close().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(report)
    })?;
    let findings = report
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.oracle, finding.what))
        .collect();
    let reports = report
        .scenarios
        .into_iter()
        .map(|scenario| ((scenario.id.clone(), scenario.defence.clone()), scenario))
        .collect();
    Ok((reports, findings))
}

fn tell(outcome: &Outcome, key: &(String, String), wanted: Wanted) -> Result<(), Failed> {
    let (reports, _) = outcome.as_ref().map_err(|why| Failed::from(why.clone()))?;
    let report = reports
        .get(key)
        .ok_or_else(|| Failed::from("this scenario was not run"))?;
    let as_wanted = match wanted {
        Wanted::AsDocumented => !report.judgement.fails(true),
        Wanted::Red => report.judgement.is_red(),
    };
    if as_wanted {
        return Ok(());
    }
    let reasons = report.reasons().join("\n  ");
    Err(format!("{}: got {}\n  {reasons}", report.judgement.as_str(), report.verdicts()).into())
}

fn tell_findings(outcome: &Outcome) -> Result<(), Failed> {
    let (_, findings) = outcome.as_ref().map_err(|why| Failed::from(why.clone()))?;
    if findings.is_empty() {
        Ok(())
    } else {
        Err(findings.join("\n").into())
    }
}

/// `cargo test -p scenarios` does not build the programs that a run starts, so this does, in the same profile.
#[expect(clippy::disallowed_methods, reason = "the one program that this test starts itself")]
fn build_programs(ambient: &Ambient) {
    let Some(cargo) = &ambient.cargo else { return };
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--bins",
            "-p",
            "fake-imds",
            "-p",
            "fake-sts",
            "-p",
            "metadata-proxy",
            "-p",
            "weak-proxy",
            "-p",
            "scenarios",
        ])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "the programs that the lab runs cannot be built"
    );
}
