//! The program: reads the command line, and alone decides on exit codes.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write as _};
use std::num::NonZeroU16;
use std::process::ExitCode;

use clap::Parser as _;
use metadata_proxy::ambient;
use metadata_proxy::cli::{self, Cli, Command, ConfigFile, FirewallAction, Format};
use metadata_proxy::config::{Config, Environment, Role};
use metadata_proxy::control::{self, Order, Reply};
use metadata_proxy::doctor;
use metadata_proxy::engine::Engine;
use metadata_proxy::explain::{NotExplained, explain, look};
use metadata_proxy::firewall::{self, FirewallError, Rules};
use metadata_proxy::log;
use metadata_proxy::policy::Target;
use metadata_proxy::reload::{Loaded, Origin, Unusable};
use metadata_proxy::run::run;
use metadata_proxy::selftest;

/// It failed, or the answer is no.
const FAILED: u8 = 1;
/// Wrong usage or a faulty configuration.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help is printed to stdout, faults to stderr; a reader that went away is nobody's fault.
            drop(error.print());
            return if error.use_stderr() {
                ExitCode::from(MISUSED)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match obey(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

fn obey(command: Command) -> Result<(), u8> {
    // Only what runs is traced, and its configuration says how.
    if !matches!(command, Command::Run(_)) {
        drop(log::start(None).map_err(|error| fail(&error))?);
    }
    match command {
        Command::Run(file) => obey_run(&file),
        Command::Check(file) => {
            let loaded = origin(&file).read().map_err(|unusable| {
                if let Unusable::Lossy { assessment, .. } = &unusable {
                    announce(assessment.to_string().trim_end());
                }
                tell(&unusable)
            })?;
            warn(&loaded);
            if let Some(assessment) = &loaded.assessment {
                announce(assessment.to_string().trim_end());
            }
            let (file, rules) = (file.path.display(), loaded.config.rules.len());
            let plural = if rules == 1 { "" } else { "s" };
            announce(&format!("{file}: {rules} rule{plural}, no fault"));
            Ok(())
        }
        Command::Doctor(file) => obey_doctor(&file),
        Command::Explain(asked) => obey_explain(&asked),
        Command::Revoke(asked) => obey_revoke(&asked),
        Command::Firewall { action } => obey_firewall(&action),
        Command::SelfTestCall { arguments } => selftest::call(&arguments).map_err(|error| fail(&error)),
    }
}

fn obey_run(file: &ConfigFile) -> Result<(), u8> {
    let origin = origin(file);
    let loaded = load(&origin)?;
    let _export = log::start(loaded.config.traces.as_ref()).map_err(|error| fail(&error))?;
    warn(&loaded);
    drive(run(&loaded, &origin, announce))
}

fn obey_doctor(file: &ConfigFile) -> Result<(), u8> {
    let loaded = load(&origin(file))?;
    warn(&loaded);
    let config = &loaded.config;
    let rules = Rules::new(config, port(file, config)?);
    let findings = drive(async {
        let differences = match rules {
            Ok(rules) => rules.verify().await,
            Err(error) => Err(error),
        };
        let rules = differences.map(|all| all.iter().map(ToString::to_string).collect());
        let rules = rules.map_err(|error: FirewallError| error.to_string());
        let seen = doctor::probe(&config.engine, rules).await;
        Ok::<_, Infallible>(doctor::judge(&seen, config))
    })?;
    announce(findings.to_string().trim_end());
    if findings.are_harmless() { Ok(()) } else { Err(FAILED) }
}

fn obey_explain(asked: &cli::Explain) -> Result<(), u8> {
    let config = read(&asked.file)?;
    let explained = drive(async {
        let engine = Engine::connect(&config.engine.socket, config.engine.tls.as_ref()).await?;
        let (facts, standing) = look(&engine, &asked.container, config.attestation.level).await?;
        Ok::<_, NotExplained>(explain(&config, &facts, &standing, ambient::clock().now()))
    })?;
    match asked.format {
        Format::Text => announce(explained.to_string().trim_end()),
        Format::Json => announce(&explained.json()),
    }
    if explained.is_granted() { Ok(()) } else { Err(FAILED) }
}

fn obey_revoke(asked: &cli::Revoke) -> Result<(), u8> {
    let config = read(&asked.file)?;
    let Some(listens) = &config.listen.control else {
        complain("error", "listen.control is \"off\": a running proxy takes no orders");
        complain(
            "hint",
            "change the rules and send SIGHUP, or set listen.control and restart the proxy",
        );
        return Err(MISUSED);
    };
    let order = match (subject(asked, &config)?, asked.lift) {
        (None, _) => Order::List,
        (Some(subject), true) => Order::Lift(subject),
        (Some(subject), false) => Order::Revoke(subject),
    };
    let (is_change, forgotten, revoked, unkept) =
        match control::ask(&listens.path, &order).map_err(|error| fail(&error))? {
            Reply::Done {
                is_change,
                forgotten,
                revoked,
                unkept,
            } => (is_change, forgotten, revoked, unkept),
            Reply::Refused { why } => {
                complain("error", &why);
                return Err(FAILED);
            }
        };
    match &order {
        Order::Revoke(subject) => {
            let word = if is_change { "revoked" } else { "revoked already" };
            announce(&format!(
                "{word}: {subject}; cached sets of credentials forgotten: {forgotten}"
            ));
        }
        Order::Lift(subject) if is_change => announce(&format!("lifted: {subject}")),
        Order::Lift(subject) => {
            complain("error", &format!("{subject} was not revoked"));
            return Err(FAILED);
        }
        Order::List => revoked.iter().for_each(|subject| announce(&subject.to_string())),
    }
    if let Some(why) = unkept {
        complain(
            "warning",
            &format!("this holds until the proxy ends, and not after that: {why}"),
        );
    }
    if let (true, Order::Revoke(Target::Role(arn))) = (asked.sessions, &order)
        && let Some(command) = control::refuse_older(arn, ambient::clock().now())
    {
        announce("sessions that were issued until now stay valid until they expire, unless you run:");
        announce(&command);
    }
    Ok(())
}

/// Whom an order means; None if it only asks.
fn subject(asked: &cli::Revoke, config: &Config) -> Result<Option<Target>, u8> {
    let misused = |text: &str, fault: &dyn std::fmt::Display| {
        complain("error", &format!("{text:?}: {fault}"));
        MISUSED
    };
    if let Some(id) = asked.job {
        Ok(Some(Target::Job(id)))
    } else if let Some(id) = asked.project {
        Ok(Some(Target::Project(id)))
    } else if let Some(text) = &asked.role {
        let role = Role::parse(text, &config.aws.home).map_err(|fault| misused(text, &fault))?;
        Ok(Some(Target::Role(role.arn().to_owned())))
    } else if let Some(text) = &asked.container {
        Target::container(text).map(Some).map_err(|fault| misused(text, &fault))
    } else {
        Ok(None)
    }
}

fn obey_firewall(action: &FirewallAction) -> Result<(), u8> {
    match action {
        FirewallAction::Plan(file) => {
            announce(rules(file)?.to_string().trim_end());
            Ok(())
        }
        FirewallAction::Apply(file) => {
            let rules = rules(file)?;
            drive(rules.apply())
        }
        FirewallAction::Verify(file) => {
            let rules = rules(file)?;
            let differences = drive(rules.verify())?;
            for difference in &differences {
                announce(&difference.to_string());
            }
            if differences.is_empty() { Ok(()) } else { Err(FAILED) }
        }
        FirewallAction::Remove(file) => {
            drop(read(file)?);
            drive(async {
                firewall::remove().await?;
                firewall::remove_sources().await?;
                firewall::open_host().await
            })
        }
    }
}

/// The rules that a configuration asks for.
fn rules(file: &ConfigFile) -> Result<Rules, u8> {
    let config = read(file)?;
    Rules::new(&config, port(file, &config)?).map_err(|error| fail(&error))
}

/// The configured port.
fn port(file: &ConfigFile, config: &Config) -> Result<NonZeroU16, u8> {
    NonZeroU16::new(config.listen.port).ok_or_else(|| {
        complain(
            "error",
            &format!(
                "{}: listen.port is 0, so that only a running proxy knows its port",
                file.path.display()
            ),
        );
        complain("hint", "write a port, or let `run` manage the firewall");
        MISUSED
    })
}

fn origin(file: &ConfigFile) -> Origin {
    Origin {
        path: file.path.clone(),
        environment: Environment {
            docker_host: ambient::variable("DOCKER_HOST"),
            sts_endpoint: ambient::variable("AWS_ENDPOINT_URL_STS"),
            region: ambient::variable("AWS_REGION"),
            state_directory: ambient::variable("STATE_DIRECTORY"),
        },
    }
}

fn read(file: &ConfigFile) -> Result<Config, u8> {
    load(&origin(file)).map(|loaded| loaded.config)
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        complain("warning", warning);
    }
}

fn load(origin: &Origin) -> Result<Loaded, u8> {
    origin.read().map_err(|unusable| tell(&unusable))
}

/// Tells why there is no configuration.
fn tell(unusable: &Unusable) -> u8 {
    match unusable {
        Unusable::Unreadable { path, source } => {
            complain("error", &format!("cannot read {}", path.display()));
            complain("caused by", &source.to_string());
            complain(
                "hint",
                "name the configuration with --config FILE, the runner's with runner.config, and an earlier proxy's settings with \
                 compat.environment_file",
            );
        }
        Unusable::Faulty(faults) | Unusable::Lossy { faults, .. } => {
            for fault in &faults.0 {
                complain("error", &fault.to_string());
            }
        }
    }
    MISUSED
}

/// Runs to the end.
fn drive<T, E: Error>(work: impl Future<Output = Result<T, E>>) -> Result<T, u8> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        complain("error", &format!("cannot start the runtime: {error}"));
        FAILED
    })?;
    runtime.block_on(work).map_err(|error| fail(&error))
}

/// Tells of a failure with all its causes.
fn fail(error: &dyn Error) -> u8 {
    complain("error", &error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        complain("caused by", &error.to_string());
        cause = error.source();
    }
    FAILED
}

/// A result, on stdout. A reader that went away is not an error.
fn announce(line: &str) {
    let mut stdout = io::stdout().lock();
    drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

/// Anything else, on stderr.
fn complain(kind: &str, text: &str) {
    drop(writeln!(io::stderr().lock(), "{kind}: {text}"));
}
