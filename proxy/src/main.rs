//! The program: reads the command line, and alone decides on exit codes.

use std::error::Error;
use std::io::{self, Write as _};
use std::num::NonZeroU16;
use std::process::ExitCode;

use clap::Parser as _;
use metadata_proxy::ambient;
use metadata_proxy::cli::{Cli, Command, ConfigFile, FirewallAction};
use metadata_proxy::config::{Config, Environment, HostAccess};
use metadata_proxy::firewall::{self, FirewallError, HostPlan, Plan};
use metadata_proxy::reload::{Origin, Unusable};
use metadata_proxy::run::run;
use metadata_proxy::selftest;
use tracing_subscriber::EnvFilter;

/// It failed while running.
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
            let config = read_from(&origin)?;
            for warning in config.warnings() {
                complain("warning", &warning);
            }
            drive(run(&config, &origin, announce))
        }
        Command::Check(file) => {
            let config = read(&file)?;
            for warning in config.warnings() {
                complain("warning", &warning);
            }
            let (file, rules) = (file.path.display(), config.rules.len());
            let plural = if rules == 1 { "" } else { "s" };
            announce(&format!("{file}: {rules} rule{plural}, no fault"));
            Ok(())
        }
        Command::Firewall { action } => obey_firewall(&action),
        Command::SelfTestCall { arguments } => selftest::call(&arguments).map_err(|error| fail(&error)),
    }
}

fn obey_firewall(action: &FirewallAction) -> Result<(), u8> {
    match action {
        FirewallAction::Plan(file) => {
            let config = read(file)?;
            announce(plan(file, &config)?.to_string().trim_end());
            if let Some(host) = host_plan(&config)? {
                announce(host.to_string().trim_end());
            }
            Ok(())
        }
        FirewallAction::Apply(file) => {
            let config = read(file)?;
            let (plan, host) = (plan(file, &config)?, host_plan(&config)?);
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
            let (plan, host) = (plan(file, &config)?, host_plan(&config)?);
            let mut differences = Vec::new();
            drive(async {
                differences = firewall::verify(plan).await?;
                if let Some(host) = &host {
                    differences.extend(firewall::verify_host(host).await?);
                }
                Ok::<(), FirewallError>(())
            })?;
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

/// The rules for the host's own processes, unless all of them may ask.
fn host_plan(config: &Config) -> Result<Option<HostPlan>, u8> {
    match &config.firewall.host {
        HostAccess::Closed { cgroups } => HostPlan::new(cgroups).map(Some).map_err(|error| fail(&error)),
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
    read_from(&origin(file))
}

fn read_from(origin: &Origin) -> Result<Config, u8> {
    origin.read().map_err(|unusable| {
        match unusable {
            Unusable::Unreadable { path, source } => {
                complain("error", &format!("cannot read {}", path.display()));
                complain("caused by", &source.to_string());
                complain("hint", "name the configuration with --config FILE");
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
fn drive<E: Error>(work: impl Future<Output = Result<(), E>>) -> Result<(), u8> {
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
