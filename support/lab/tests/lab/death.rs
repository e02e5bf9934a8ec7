//! A lab that is killed leaves nothing that the next one does not sweep.

use std::{io::Write, path::Path, process::ExitCode, process::Stdio};

use lab::{HeldNamespaces, InstanceSpec, Lab, LabOptions, Place, Program, RunId, leftovers};
use libtest_mimic::{Failed, Trial};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{Outcome, SOON, abandoned, close, ensure, image, open_lab, start_instance, trial, upstream_addresses};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(trial("a_killed_lab_is_swept_by_the_next", killed_lab_is_swept));
    trials.push(trial("a_living_lab_is_not_swept", living_lab_is_not_swept));
    trials.push(trial(
        "closing_a_lab_ends_what_was_not_torn_down",
        closing_ends_everything,
    ));
    trials.push(trial("what_is_not_a_run_is_not_swept", strangers_are_not_swept));
}

/// `ROOT RUN`: holds an instance with a container until it is killed.
pub(crate) fn victim(words: &[String]) -> ExitCode {
    let hold = async {
        let [root, run] = words else {
            return Err(Failed::from("usage: victim ROOT RUN"));
        };
        let lab = Lab::open(LabOptions {
            state_root: root.into(),
            run: run.parse()?,
        })
        .await?;
        let instance = lab.instance(&InstanceSpec::new("victim", upstream_addresses())).await?;
        image::import(&instance.docker()).await?;
        image::start(&instance.docker(), "bridge").await?;
        let upstream = instance.spawn(Place::Upstream, &Program::new("sleep").args(["600"]))?;
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{} {}", instance.first_process(), upstream.id())?;
        stdout.flush()?;
        std::future::pending::<Outcome>().await
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime.map_err(Failed::from).and_then(|runtime| runtime.block_on(hold)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "victim: {}", error.message().unwrap_or("failed")).unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

async fn killed_lab_is_swept() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("s");
    let run = RunId::fresh()?;
    let mut victim = tokio::process::Command::new(std::env::current_exe()?)
        .arg("victim")
        .arg(&root)
        .arg(run.as_str())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(victim.stdout.take().ok_or("no pipe")?).lines();
    let line = tokio::time::timeout(SOON, lines.next_line())
        .await??
        .ok_or("the victim said nothing")?;
    let mut held = HeldNamespaces::default();
    for process in line.split(' ') {
        held.hold(process.parse()?)?;
    }
    ensure(held.users()?.len() > 5, || {
        format!("the victim's instance has only {:?}", held.users())
    })?;
    victim.kill().await?;
    let lab = open(&root).await?;
    ensure(
        lab.swept()
            .iter()
            .any(|swept| swept.run == run && !swept.cgroups.is_empty()),
        || format!("swept {:?}", lab.swept()),
    )?;
    let left = leftovers(&root, &run)?;
    ensure(left.is_empty(), || format!("left {left:?}"))?;
    abandoned(held).await?;
    lab.close().await?;
    ensure(!root.exists(), || "the state root remains".to_owned())
}

async fn living_lab_is_not_swept() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("s");
    let first = open(&root).await?;
    let instance = first
        .instance(&InstanceSpec::new("living", upstream_addresses()))
        .await?;
    let second = open(&root).await?;
    ensure(second.swept().is_empty(), || format!("swept {:?}", second.swept()))?;
    let again = Lab::open(LabOptions {
        state_root: root.clone(),
        run: first.run().clone(),
    })
    .await;
    ensure(again.is_err(), || "one run was opened twice".to_owned())?;
    second.close().await?;
    instance.docker().ping().await?;
    instance.teardown().await?;
    first.close().await?;
    ensure(!root.exists(), || "the state root remains".to_owned())
}

async fn closing_ends_everything() -> Outcome {
    let lab = open_lab().await?;
    let held = start_instance(&lab, "held").await?;
    let dropped = start_instance(&lab, "dropped").await?;
    let (held_ids, dropped_ids) = (held.namespaces()?, dropped.namespaces()?);
    drop(dropped);
    close(lab).await?;
    drop(held);
    abandoned(held_ids).await?;
    abandoned(dropped_ids).await
}

async fn strangers_are_not_swept() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("s");
    let lab = open(&root).await?;
    std::fs::create_dir(root.join("Not a run"))?;
    std::fs::write(root.join("afile"), "text")?;
    open(&root).await?.close().await?;
    ensure(root.join("Not a run").exists() && root.join("afile").exists(), || {
        "strangers are gone".to_owned()
    })?;
    lab.close().await?;
    Ok(())
}

async fn open(root: &Path) -> Result<Lab, Failed> {
    Ok(Lab::open(LabOptions {
        state_root: root.to_owned(),
        run: RunId::fresh()?,
    })
    .await?)
}
