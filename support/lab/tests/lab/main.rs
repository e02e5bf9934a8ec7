//! What an instance promises, tried on the machine.
//!
//! Where the machine cannot run the lab the tests are listed as ignored, with the reason as their kind; with `REQUIRE_LAB=1` they fail.

mod death;
mod image;
mod life;
mod machine;
mod network;
mod probe;

use std::{net::IpAddr, process::ExitCode, time::Duration};

use lab::{Instance, InstanceSpec, Lab, LabOptions, Requirements, RunId};
use libtest_mimic::{Arguments, Failed, Trial};

type Outcome = Result<(), Failed>;

/// Longer than anything here takes on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        // The tests' image and their victim are this program itself.
        Some("probe") => return probe::main(&words.collect::<Vec<_>>()),
        Some("victim") => return death::victim(&words.collect::<Vec<_>>()),
        Some(_) | None => {}
    }
    let arguments = Arguments::from_args();
    let lacks: Vec<String> = Requirements::check().iter().map(ToString::to_string).collect();
    let mut trials = Vec::new();
    life::add(&mut trials);
    network::add(&mut trials);
    death::add(&mut trials);
    machine::add(&mut trials);
    if !lacks.is_empty() {
        let reason = format!("the machine lacks {}", lacks.join("; "));
        let refuse = |trial: Trial| {
            if is_required() {
                let reason = reason.clone();
                Trial::test(trial.name().to_owned(), move || Err(reason.into()))
            } else {
                trial.with_kind(&reason).with_ignored_flag(true)
            }
        };
        trials = trials.into_iter().map(refuse).collect();
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test run")]
fn is_required() -> bool {
    std::env::var_os("REQUIRE_LAB").is_some_and(|value| value == "1")
}

/// One named test on a runtime of its own.
fn trial<F: Future<Output = Outcome>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(test())
    })
}

/// Addresses of the upstream side that no machine's own network has.
fn upstream_addresses() -> [IpAddr; 2] {
    [
        IpAddr::from([198, 51, 100, 1]),
        IpAddr::from([0xfd99, 0, 0, 0, 0, 0, 0, 1]),
    ]
}

async fn open_lab() -> Result<Lab, Failed> {
    Ok(Lab::open(LabOptions::new(RunId::fresh()?)).await?)
}

async fn start_instance(lab: &Lab, name: &str) -> Result<Instance, Failed> {
    Ok(lab.instance(&InstanceSpec::new(name, upstream_addresses())).await?)
}

/// Nothing of the run may exist any more.
async fn close(lab: Lab) -> Outcome {
    let run = lab.run().clone();
    lab.close().await?;
    let left = lab::leftovers(lab::DEFAULT_STATE_ROOT.as_ref(), &run)?;
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left: {left:?}").into())
    }
}

/// Fails with `message` unless `holds`.
fn ensure(holds: bool, message: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(message().into()) }
}

/// Nobody may use the namespaces any more. The processes are dead by now, but the last one stays visible until the machine's own first process
/// has reaped the orphans, and a process that is being started elsewhere in this program shares its handles for an instant.
async fn abandoned(held: lab::HeldNamespaces) -> Outcome {
    let empty = async {
        while !held.users()?.is_empty() {
            tokio::task::yield_now().await;
        }
        Ok::<_, Failed>(())
    };
    match tokio::time::timeout(SOON, empty).await {
        Ok(done) => done,
        Err(_) => Err(format!("the namespaces are still used by {:?}", held.users()).into()),
    }
}
