//! The program: reads the command line, and alone decides on exit codes.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write as _};
use std::num::NonZeroU16;
use std::process::ExitCode;

use clap::Parser as _;
use metadata_proxy::ambient;
use metadata_proxy::cli::{self, Cli, Command, ConfigFile, FirewallAction, Format};
use metadata_proxy::config::{Config, Environment, HostAccess, Role};
use metadata_proxy::control::{self, Order, Reply};
use metadata_proxy::doctor;
use metadata_proxy::engine::Engine;
use metadata_proxy::explain::{NotExplained, explain, look};
use metadata_proxy::firewall::{self, FirewallError, HostPlan, Plan};
use metadata_proxy::policy::Target;
use metadata_proxy::reload::{Loaded, Origin, Unusable};
use metadata_proxy::run::run;
use metadata_proxy::selftest;
use tracing_subscriber::EnvFilter;

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
    // Other crates' words are warnings at least: theirs may hold more than ours do.
    let filter = EnvFilter::new("warn,metadata_proxy=info");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    match obey(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

fn obey(command: Command) -> Result<(), u8> {
    match command {
        Command::Run(file) => {
            let origin = origin(&file);
            let loaded = load(&origin)?;
            warn(&loaded);
            drive(run(&loaded, &origin, announce))
        }
        Command::Check(file) => {
            let loaded = load(&origin(&file))?;
            warn(&loaded);
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

fn obey_doctor(file: &ConfigFile) -> Result<(), u8> {
    let loaded = load(&origin(file))?;
    warn(&loaded);
    let config = &loaded.config;
    let (plan, host) = (plan(file, config)?, host_plan(config));
    let findings = drive(async {
        let rules = match host {
            Ok(host) => differences(plan, host.as_ref()).await,
            Err(error) => Err(error),
        };
        let rules = rules.map_err(|error| error.to_string());
        let seen = doctor::probe(&config.engine, rules).await;
        Ok::<_, Infallible>(doctor::judge(&seen, config))
    })?;
    announce(findings.to_string().trim_end());
    if findings.are_harmless() { Ok(()) } else { Err(FAILED) }
}

/// How the live rules differ from those that are planned.
async fn differences(plan: Plan, host: Option<&HostPlan>) -> Result<Vec<String>, FirewallError> {
    let mut differences = firewall::verify(plan).await?;
    if let Some(host) = host {
        differences.extend(firewall::verify_host(host).await?);
    }
    Ok(differences.iter().map(ToString::to_string).collect())
}

fn obey_explain(asked: &cli::Explain) -> Result<(), u8> {
    let config = read(&asked.file)?;
    let explained = drive(async {
        let engine = Engine::connect(&config.engine.socket, config.engine.tls.as_ref()).await?;
        let (facts, standing) = look(&engine, &asked.container).await?;
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
    let (is_change, forgotten, revoked) = match control::ask(&listens.path, &order).map_err(|error| fail(&error))? {
        Reply::Done {
            is_change,
            forgotten,
            revoked,
        } => (is_change, forgotten, revoked),
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
            let config = read(file)?;
            announce(plan(file, &config)?.to_string().trim_end());
            if let Some(host) = host_plan(&config).map_err(|error| fail(&error))? {
                announce(host.to_string().trim_end());
            }
            Ok(())
        }
        FirewallAction::Apply(file) => {
            let config = read(file)?;
            let (plan, host) = (plan(file, &config)?, host_plan(&config).map_err(|error| fail(&error))?);
            drive(async {
                firewall::apply(plan).await?;
                match &host {
                    Some(host) => firewall::close_host(host).await,
                    None => firewall::open_host().await,
                }
            })
        }
        FirewallAction::Verify(file) => {
            let config = read(file)?;
            let (plan, host) = (plan(file, &config)?, host_plan(&config).map_err(|error| fail(&error))?);
            let differences = drive(differences(plan, host.as_ref()))?;
            for difference in &differences {
                announce(difference);
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

/// The rules for the host's own processes, unless all of them may ask.
fn host_plan(config: &Config) -> Result<Option<HostPlan>, FirewallError> {
    match &config.firewall.host {
        HostAccess::Closed { cgroups } => HostPlan::new(cgroups).map(Some),
        HostAccess::Open => Ok(None),
    }
}

/// The rules for the configured port.
fn plan(file: &ConfigFile, config: &Config) -> Result<Plan, u8> {
    let plan = NonZeroU16::new(config.listen.port).map(Plan::new);
    let plan = plan.map(|plan| plan.with_container_endpoint(config.container_credentials.enabled));
    plan.ok_or_else(|| {
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
    origin.read().map_err(|unusable| {
        match unusable {
            Unusable::Unreadable { path, source } => {
                complain("error", &format!("cannot read {}", path.display()));
                complain("caused by", &source.to_string());
                complain(
                    "hint",
                    "name the configuration with --config FILE, and the runner's with runner.config",
                );
            }
            Unusable::Faulty(faults) => {
                for fault in &faults.0 {
                    complain("error", &fault.to_string());
                }
            }
        }
        MISUSED
    })
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
