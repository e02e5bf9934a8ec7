//! What a person types and sees. Results go to stdout, everything else to stderr; each outcome has its documented exit code.

mod args;
mod audit;
mod controls;
mod doctor;
mod external;
mod input;
mod replay;
mod shell;
mod show;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use lab::{Lab, LabOptions, RunId};

use crate::ambient::Ambient;
use crate::case::model::Case;
use crate::case::{self, Faults};
use crate::external::External;
use crate::kept::KEPT_AT_MOST;
use crate::play::with_causes;
use crate::report::progress::Progress;
use crate::report::table::{self, Colour};
use crate::report::{NotRun, RunReport, ScenarioReport};
use crate::run::{Item, Pace, run};
use crate::select::{select, shard};
use crate::stage::{Standing, Workshop};
use crate::verdict::Judgement;
use args::{Arguments, Command, RunArguments};
use external::ExternalArguments;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything held.
    Held,
    /// Something leaked, was unexpected or void.
    Failed,
    /// A wrong command line or a broken file.
    Usage,
    /// This machine cannot run the lab.
    CannotRun,
    /// The filter matched nothing.
    NothingMatched,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Held => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::CannotRun => 3,
            Exit::NothingMatched => 4,
        })
    }
}

/// Prints to stdout; a reader that has gone away is no error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints what is wrong to stderr.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Tells what is wrong with case files: drawn on a terminal, a line each where a program may read it.
fn tell_faults(faults: &Faults, ambient: &Ambient) {
    if std::io::stderr().is_terminal() {
        complain(faults.drawn(!ambient.no_colour).trim_end());
    } else {
        complain(&faults.to_string());
    }
}

/// Runs the command line.
pub fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // Help and version are what was asked for.
            return if error.use_stderr() { Exit::Usage } else { Exit::Held };
        }
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(tracing_subscriber::EnvFilter::new(if arguments.verbose {
            "scenarios=debug,lab=debug"
        } else {
            "warn"
        }))
        .init();
    let ambient = match Ambient::read() {
        Ok(ambient) => ambient,
        Err(error) => {
            complain(&format!("error: this program does not know where it lies: {error}"));
            return Exit::CannotRun;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: no runtime: {error}"));
            return Exit::CannotRun;
        }
    };
    runtime.block_on(perform(arguments, ambient))
}

async fn perform(arguments: Arguments, ambient: Ambient) -> Exit {
    let cases_at = arguments.cases.clone().unwrap_or_else(|| cases_directory(&ambient));
    if let Command::Doctor = arguments.command {
        return doctor::examine(&ambient);
    }
    if let Command::Schema = arguments.command {
        say(&case::schema().to_string());
        return Exit::Held;
    }
    if let Command::Shell {
        defence,
        external,
        seed,
        words,
    } = &arguments.command
    {
        return shell::run(*defence, external, seed, words, ambient).await;
    }
    if let Command::Audit(options) = &arguments.command {
        return audit::run(options, &ambient).await;
    }
    let cases = match case::load(&cases_at) {
        Ok(cases) => cases,
        Err(faults) => {
            tell_faults(&faults, &ambient);
            return Exit::Usage;
        }
    };
    match arguments.command {
        Command::Run { options, external } => run_command(&options, &external, &cases, ambient).await,
        Command::Controls(options) => controls::run(&options, &cases, ambient).await,
        Command::Replay { report, id } => replay::run(&report, &id, &cases, ambient).await,
        Command::List { filter, format } => show::list(&select(&cases, &filter), format),
        Command::Explain { id } => show::explain(&select(&cases, std::slice::from_ref(&id)), &id),
        Command::Audit(_) | Command::Schema | Command::Doctor | Command::Shell { .. } => Exit::Held,
    }
}

/// The cases lie in the source tree, beside the build directory or below the working directory.
fn cases_directory(ambient: &Ambient) -> PathBuf {
    let here = Path::new("scenarios/cases");
    if here.is_dir() {
        return here.to_owned();
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    if source.is_dir() {
        source
    } else {
        ambient.programs.join("cases")
    }
}

async fn run_command(options: &RunArguments, external: &ExternalArguments, cases: &[Case], ambient: Ambient) -> Exit {
    let selected = select(cases, &options.filter);
    let mut standings = options.defences();
    if external.is_named() && options.implies_external() && !options.matrix() {
        standings.clear();
    }
    let proxy = match external.read(&mut standings, options.implies_external(), &ambient) {
        Ok(proxy) => proxy,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::Usage;
        }
    };
    let (items, not_run) = external::divide(&selected, &standings);
    if let (true, Some(left_out)) = (items.is_empty(), not_run.first()) {
        complain(&format!(
            "error: {} is not run against {}: {}",
            left_out.id, left_out.defence, left_out.reason
        ));
        return Exit::NothingMatched;
    }
    if let (true, Some(case)) = (items.is_empty(), selected.first()) {
        complain(&format!(
            "error: {} says nothing of this defence; add --defence {}",
            case.id,
            case.main_defence()
        ));
        return Exit::NothingMatched;
    }
    let (k, n) = options.shard;
    let items = shard(items, k, n);
    if items.is_empty() {
        complain(&format!(
            "error: no scenario matches {}; `scenarios list` shows them all",
            options.filter.join(" ")
        ));
        return Exit::NothingMatched;
    }
    let subject = Subject { proxy, not_run };
    perform_items(&items, options, subject, ambient, |_, table| say(&table)).await
}

/// What a run is about beside its scenarios.
#[derive(Debug, Default)]
struct Subject {
    /// The defence `external`.
    proxy: Option<External>,
    /// What was asked for and is not run.
    not_run: Vec<NotRun>,
}

/// Opens the lab, runs the items and tells.
async fn perform_items(
    items: &[Item<'_>],
    options: &RunArguments,
    subject: Subject,
    ambient: Ambient,
    tell: impl FnOnce(&RunReport, String),
) -> Exit {
    let colour = if std::io::stdout().is_terminal() && !ambient.no_colour {
        Colour::Ansi
    } else {
        Colour::Plain
    };
    let live = if std::io::stderr().is_terminal() && !ambient.no_colour {
        Colour::Ansi
    } else {
        Colour::Plain
    };
    if let Err(exit) = may_keep(options, items.len()) {
        return exit;
    }
    let mut workshop = match open(ambient, &options.seed, options.keep).await {
        Ok(workshop) => workshop,
        Err(exit) => return exit,
    };
    workshop.external = subject.proxy;
    let tried = tokio::select! {
        tried = external::try_out(&workshop) => tried,
        () = interrupted() => Err(Exit::Failed),
    };
    if let Err(exit) = tried {
        close(workshop).await;
        return exit;
    }
    let progress = Progress::new(items.len(), live, options.quiet);
    let pace = Pace::new(workshop.ambient.processors, options.jobs, options.matrix());
    let mut report = tokio::select! {
        report = run(&workshop, items, pace, &progress) => report,
        () = interrupted() => {
            // Everything is dropped here: the cradles of all instances die with their pipes, and the next run sweeps the rest.
            progress.end();
            complain("error: interrupted; nothing was judged");
            return Exit::Failed;
        }
    };
    report.not_run = subject.not_run;
    tell(&report, table::render(&report, colour));
    let is_void = |scenario: &ScenarioReport| scenario.judgement == Judgement::Void;
    if workshop.external.is_some() && report.scenarios.iter().any(is_void) {
        external::tell_last_words(&workshop);
    }
    let written = options.report.as_ref().map(|directory| {
        let written = report.write(directory);
        (
            directory,
            written.and_then(|()| external::write_log(&workshop, directory)),
        )
    });
    if let Some((directory, Err(error))) = written {
        complain(&format!(
            "error: the report cannot be written to {}: {error}",
            directory.display()
        ));
        return Exit::Failed;
    }
    close(workshop).await;
    if report.fails() { Exit::Failed } else { Exit::Held }
}

/// Whether so many scenarios may be kept at once.
fn may_keep(options: &RunArguments, scenarios: usize) -> Result<(), Exit> {
    if options.keep && scenarios > KEPT_AT_MOST {
        complain(&format!(
            "error: --keep would leave {scenarios} scenarios up: name the ones to look at, {KEPT_AT_MOST} at most"
        ));
        return Err(Exit::Usage);
    }
    Ok(())
}

/// Ends the lab: at once, or where something is kept when the person has seen enough.
async fn close(mut workshop: Workshop) {
    if let Some(kept) = workshop.kept.take() {
        complain(&format!(
            "\n{}everything ends with this process: press Enter or Ctrl-C",
            kept.describe()
        ));
        let mut input = input::Lines::of_stdin();
        tokio::select! {
            _ = input.next() => {}
            () = interrupted() => {}
        }
        kept.strike().await;
    }
    if let Err(error) = workshop.lab.close().await {
        complain(&format!("warning: {}", with_causes(&error)));
    }
}

/// Opens the lab where the machine can run it.
async fn open(ambient: Ambient, seed: &str, keep: bool) -> Result<Workshop, Exit> {
    let lacks = doctor::lacks(&ambient);
    if !lacks.is_empty() {
        complain(&format!("error: this machine cannot run the lab\n{lacks}"));
        return Err(Exit::CannotRun);
    }
    let opened = async {
        let run: RunId = ambient.run_name().parse()?;
        Ok::<_, Box<dyn std::error::Error>>(Lab::open(LabOptions::new(run)).await?)
    };
    match opened.await {
        Ok(lab) => Ok(Workshop::new(ambient, lab, seed.to_owned(), keep)),
        Err(error) => {
            complain(&format!(
                "error: the lab cannot be opened: {}",
                with_causes(error.as_ref())
            ));
            Err(Exit::CannotRun)
        }
    }
}

async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// Everything a test harness needs to run items as `scenarios run` does.
///
/// # Errors
/// Why the lab cannot be opened, as an exit.
pub async fn workshop(ambient: Ambient, seed: &str) -> Result<Workshop, Exit> {
    open(ambient, seed, false).await
}

/// What the machine lacks to run the lab, as text; empty if nothing.
pub fn lacks(ambient: &Ambient) -> String {
    doctor::lacks(ambient)
}

/// The items of a negative control run.
pub fn control_items(cases: &[Case]) -> Vec<(&Case, Standing)> {
    controls::items(&cases.iter().collect::<Vec<_>>())
}
