//! How a run ends, however it ends: killed, or with its engine gone. Needs the lab.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may end the program")]

mod need;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use lab::{DEFAULT_STATE_ROOT, Leftover, RunId, leftovers};
use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::ambient::Ambient;
use scenarios::verdict::Judgement;

type Test = fn() -> Result<(), Failed>;

/// How long a run on a loaded machine may take to get as far as its first container.
const PATIENCE: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let ambient = Ambient::read().unwrap();
    let ignored = need::is_ignored(&ambient, &scenarios::cli::lacks(&ambient));
    let tests: [(&str, Test); 3] = [
        ("a_killed_run_leaves_nothing_that_the_next_one_does_not_sweep", killed),
        (
            "an_engine_that_dies_makes_its_scenario_void_and_leaves_nothing",
            engine_dies,
        ),
        ("a_terminated_run_fails_and_leaves_nothing", terminated),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| need::lab(Trial::test(name, test), ignored))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A run under way, and the directory its report goes to.
struct Run {
    child: Child,
    report: tempfile::TempDir,
}

impl Run {
    /// Starts a run of one scenario that takes some seconds: it waits for credentials to expire.
    fn start() -> Self {
        Self::of(&["LIFE-06"])
    }

    #[expect(clippy::disallowed_methods, reason = "the one program that these tests run")]
    fn of(what: &[&str]) -> Self {
        let report = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_scenarios"))
            .arg("run")
            .args(what)
            .args(["--quiet", "--report"])
            .arg(report.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, report }
    }

    /// The run's id: its first five digits are the process number.
    fn id(&self) -> RunId {
        let prefix = format!("{:05x}", self.child.id() & 0xf_ffff);
        let named = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        let found = wait_for("the run's state directory", || {
            let entries = std::fs::read_dir(DEFAULT_STATE_ROOT).ok()?;
            entries.filter_map(named).find(|name| name.starts_with(&prefix))
        });
        found.parse().unwrap()
    }

    /// Waits until a job container runs.
    fn with_container(&self) -> RunId {
        let run = self.id();
        wait_for("a container", || {
            let found = leftovers(Path::new(DEFAULT_STATE_ROOT), &run).ok()?;
            found.into_iter().find_map(|leftover| match leftover {
                Leftover::Process { process, .. } => is_in_container(process).then_some(()),
                _ => None,
            })
        });
        run
    }

    fn wait(mut self) -> (Option<i32>, tempfile::TempDir) {
        (self.child.wait().unwrap().code(), self.report)
    }
}

/// Containers' cgroups are named by the container's id, 64 digits.
fn is_in_container(process: u32) -> bool {
    let cgroups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    cgroups
        .lines()
        .filter_map(|line| line.rsplit('/').next())
        .any(|name| name.len() == 64)
}

/// Asks again until there is an answer; the machine offers nothing to wait on here.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let step = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if let Some(found) = look() {
            return found;
        }
        let _ = never.recv_timeout(step);
    }
    panic!("{what} did not appear within {PATIENCE:?}")
}

fn none_left(run: &RunId) -> Result<(), Failed> {
    let left: Vec<String> = leftovers(Path::new(DEFAULT_STATE_ROOT), run)?
        .iter()
        .map(ToString::to_string)
        .collect();
    if left.is_empty() {
        Ok(())
    } else {
        Err(left.join("\n").into())
    }
}

#[expect(clippy::disallowed_methods, reason = "kill(1) is the plainest way to send a signal")]
fn send(signal: &str, process: u32) {
    assert!(
        Command::new("kill")
            .arg(signal)
            .arg(process.to_string())
            .status()
            .unwrap()
            .success()
    );
}

fn killed() -> Result<(), Failed> {
    let mut run = Run::start();
    let id = run.with_container();
    run.child.kill()?;
    run.child.wait()?;
    wait_for("end of every process of the killed run", || {
        let left = leftovers(Path::new(DEFAULT_STATE_ROOT), &id).ok()?;
        (!left.iter().any(|leftover| matches!(leftover, Leftover::Process { .. }))).then_some(())
    });
    let next = Run::start();
    let next_id = next.id();
    let (code, _report) = next.wait();
    if code != Some(0) {
        return Err(format!("the next run ends {code:?}").into());
    }
    none_left(&id)?;
    none_left(&next_id)
}

fn terminated() -> Result<(), Failed> {
    let run = Run::start();
    let id = run.with_container();
    send("-TERM", run.child.id());
    let (code, report) = run.wait();
    if code != Some(1) || report.path().join("report.json").exists() {
        return Err(format!("ended {code:?}, or judged what it did not see").into());
    }
    // What could not be removed in haste goes at the next start.
    let next = Run::start();
    let (code, _report) = next.wait();
    if code != Some(0) {
        return Err(format!("the next run ends {code:?}").into());
    }
    none_left(&id)
}

fn engine_dies() -> Result<(), Failed> {
    // Without a proxy the first container is a job's own; there are seven jobs, one after the other.
    let run = Run::of(&["ROLE-02", "--defence", "none"]);
    let id = run.with_container();
    let engine = wait_for("the run's engine", || engine_of(&id));
    send("-KILL", engine);
    let (code, report) = run.wait();
    if code != Some(1) {
        return Err(format!("ended {code:?}").into());
    }
    let text = std::fs::read_to_string(report.path().join("report.json"))?;
    let told: scenarios::report::RunReport = serde_json::from_str(&text)?;
    let scenario = told.scenarios.first().ok_or("no scenario in the report")?;
    let reasons = scenario.reasons().join("\n");
    if scenario.judgement != Judgement::Void || !reasons.contains("the engine died") {
        return Err(format!("{}: {reasons}", scenario.judgement.as_str()).into());
    }
    none_left(&id)
}

/// The run's dockerd: the process of that name in the run's cgroup.
fn engine_of(run: &RunId) -> Option<u32> {
    leftovers(Path::new(DEFAULT_STATE_ROOT), run)
        .ok()?
        .into_iter()
        .find_map(|leftover| match leftover {
            Leftover::Process { process, .. } => {
                let name = std::fs::read_to_string(PathBuf::from(format!("/proc/{process}/comm"))).ok()?;
                (name.trim() == "dockerd").then_some(process)
            }
            _ => None,
        })
}
