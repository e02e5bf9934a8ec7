//! The command line of `fake-imds`, and what runs behind it. It must not know exit codes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use fake_kit::clock::Clock;
use fake_kit::ledger::Size;
use fake_kit::listen::{BindError, Listen};
use fake_kit::seed::Seed;
use fake_kit::{ambient, serve};
use jiff::Timestamp;
use thiserror::Error;

use crate::aemm::{self, Aemm, BrokenConfig, Config, Mode};
use crate::assembly::{Assembly, Settings, assemble};
use crate::canonical::Profile;
use crate::identity::CERTIFICATES;
use crate::in_process::wire;
use crate::issuer::StsControl;
use crate::world::{self, BrokenWorld, Tolerance, World};

const EXAMPLES: &str = "\
Examples:
  fake-imds --listen 127.0.0.1:1338 --control 127.0.0.1:1339
      then: export AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1338
  fake-imds --listen 169.254.169.254:80 --listen '[fd00:ec2::254]:80' \\
            --control unix:/run/imds.sock --sts-control unix:/run/sts.sock --world world.toml

Control API (JSON):
  GET  /ledger?since=SEQ          every request, with source, facts and answer; ?version=v1&status=2* for some
  POST /assertions                {\"match\":{\"version\":\"v1\"},\"exactly\":0}, also at_least, at_most, per, in_order
  GET  /canaries                  the markers in everything secret, by name
  POST /faults                    {\"match\":{\"path\":\"*/lab-host\"},\"times\":1,\"effect\":{\"hold\":\"swap\"}}
       facts to match: path, method, token (none|valid|invalid), version (v1|v2), instance
       which of them: times, skip, percent, from, until
       effects: {\"hold\":NAME} {\"error\":{\"status\":503}} {\"lifetime_seconds\":5}
                {\"reset\":true} {\"hang\":true} {\"delay_milliseconds\":800} {\"rewrite\":{KEY:VALUE}}
       rewrite keys: status, body, truncate, hop-limit, expires-in, header:NAME, credentials:FIELD
  DELETE /faults/ID               or /faults for all
  GET  /holds/NAME?waiting=1      answers once a request waits there
  POST /holds/NAME/release        lets it go
  POST /clock                     {\"advance_seconds\":3600} {\"set\":TIME} {\"freeze\":true} {\"speed\":60}
  GET  /instances                 all of them; ?instance=ID makes the next three mean one
  PUT  /metadata-options          {\"http_tokens\":\"required\",\"hop_limit\":1}; also endpoint, ipv6,
                                  instance_metadata_tags
  POST /timeline                  {\"after\":30,\"spot\":\"terminate\"}; also rebalance, event, complete, cancel,
                                  lifecycle_state, rotate, tags
  POST /tokens/revoke             {} for all, or {\"token\":TOKEN}
  POST /reset                     ledger, faults, holds, clock, options, timeline, credentials

world.toml (an empty one will do; `fake-imds schema` says all that it may hold):
  [account]   id, region, partition
  [instance]  id, profile, role, http_tokens, hop_limit, endpoint, ipv6, user_data, …
  [instance.tags]  NAME = \"value\"

Exit codes: 0 stopped on request, 1 could not serve, 2 wrong usage or a broken world file.";

/// A fake EC2 instance metadata service (IMDSv1 and IMDSv2).
#[derive(Debug, Parser)]
#[command(
    name = "fake-imds",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where to serve metadata: ADDRESS:PORT (port 0 takes a free one) or unix:PATH. May be repeated.
    #[arg(long, required = true, value_name = "ADDR")]
    pub listen: Vec<Listen>,
    /// Where to serve the control API. Nothing under test should be able to reach it; unix:PATH is safest.
    #[arg(long, required = true, value_name = "ADDR")]
    pub control: Option<Listen>,
    /// The world to show; a built-in one without it.
    #[arg(long, value_name = "FILE")]
    pub world: Option<PathBuf>,
    /// The control API of a fake STS (http://HOST:PORT or unix:PATH), so that credentials verify there. Without it they only look right.
    #[arg(long, value_name = "URL")]
    pub sts_control: Option<StsControl>,
    /// What all canaries, tokens and keys are derived from.
    #[arg(long, default_value = Seed::DEFAULT)]
    pub seed: String,
    /// How much to tolerate.
    #[arg(long, value_enum, default_value = "ec2")]
    pub profile: Profile,
    /// Serve further requests on a connection; the real service closes each.
    #[arg(long)]
    pub keep_alive: bool,
    /// With --profile aemm: its configuration file (JSON) instead of its default values.
    #[arg(long, value_name = "FILE", conflicts_with = "world")]
    pub aemm_config: Option<PathBuf>,
    /// With --profile aemm: which of its commands to play; what the others serve is not there.
    #[arg(long, value_enum, default_value = "all")]
    pub aemm_mode: Mode,
    /// Take values from the world that AWS could never produce.
    #[arg(long)]
    pub anything_goes: bool,
    /// Memory for the ledger (64KiB to what the machine has); when it is full the oldest requests are dropped, and claims fail.
    #[arg(long, value_name = "SIZE", default_value_t)]
    pub ledger: Size,
    /// Let the time stand still at this moment (2026-01-02T03:04:05Z) until the control API moves it.
    #[arg(long, value_name = "TIME")]
    pub frozen_at: Option<Timestamp>,
}

/// What else the program does.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Print the JSON schema of a world file.
    Schema,
    /// Say everything that is wrong with a world file.
    Check {
        /// The world file.
        file: PathBuf,
        /// Take values that AWS could never produce.
        #[arg(long)]
        anything_goes: bool,
    },
    /// Print the certificates that verify identity documents, or one of them.
    Certificates {
        /// signature, pkcs7, rsa2048, dsa2048 or ca.
        #[arg(value_parser = CERTIFICATES.map(|(name, _)| name))]
        name: Option<String>,
    },
}

/// Why the fake does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The world file cannot be read.
    #[error("cannot read the world file {}", path.display())]
    UnreadableWorld {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The world file is broken.
    #[error(transparent)]
    BrokenWorld(#[from] BrokenWorld),
    /// The mock's configuration is broken.
    #[error(transparent)]
    BrokenConfig(#[from] BrokenConfig),
    /// A configuration of the mock without its profile.
    #[error("--aemm-config is for --profile aemm; give that too")]
    NotAemm,
    /// A listener cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Anything else the system refused.
    #[error("cannot serve")]
    System(#[from] io::Error),
    /// Clap was told that there is one.
    #[error("no control listener; give --control")]
    NoControl,
}

/// Serves until asked to stop. Says on `out` where.
///
/// # Errors
/// It could not begin to serve.
pub async fn run(cli: Cli, out: &mut (dyn Write + Send)) -> Result<(), ServeError> {
    if let Some(command) = cli.command {
        return say(command, out);
    }
    let stop = ambient::stop_requested()?;
    let tolerance = tolerance(cli.anything_goes);
    let worlds = match &cli.world {
        Some(path) => read(path, tolerance)?,
        None => vec![World::default()],
    };
    let aemm = match (cli.profile, &cli.aemm_config) {
        // With a world of its own, only the error pages are the mock's.
        (Profile::Aemm, None) if cli.world.is_none() => Some(Config::default()),
        (Profile::Aemm, Some(path)) => Some(aemm::read(&path.display().to_string(), &text(path)?)?),
        (_, Some(_)) => return Err(ServeError::NotAemm),
        (_, None) => None,
    };
    let mode = cli.aemm_mode;
    let settings = Settings {
        aemm: aemm.map(|config| Aemm { config, mode }),
        profile: cli.profile,
        keep_alive: cli.keep_alive,
        sts: cli.sts_control,
        clock: cli.frozen_at.map_or_else(Clock::system, Clock::frozen),
        seed: Seed::new(cli.seed),
        ledger: cli.ledger,
    };
    let Assembly { endpoint, router } = assemble(&worlds, settings);
    let mut data = Vec::with_capacity(cli.listen.len());
    for listen in &cli.listen {
        data.push(listen.bind().await?);
    }
    let bound = cli.control.ok_or(ServeError::NoControl)?.bind().await?;
    serve::run(data, bound, router, endpoint, wire(cli.keep_alive), out, stop).await?;
    Ok(())
}

fn say(command: Command, out: &mut (dyn Write + Send)) -> Result<(), ServeError> {
    match command {
        Command::Schema => writeln!(out, "{:#}", world::schema())?,
        Command::Check { file, anything_goes } => {
            let worlds = read(&file, tolerance(anything_goes))?;
            let count = worlds.len();
            let instances = if count == 1 { "instance" } else { "instances" };
            writeln!(out, "{}: {count} {instances}, no fault", file.display())?;
        }
        Command::Certificates { name } => {
            for (known, pem) in CERTIFICATES {
                if name.as_deref().is_none_or(|name| name == known) {
                    write!(out, "{pem}")?;
                }
            }
        }
    }
    Ok(())
}

fn tolerance(anything_goes: bool) -> Tolerance {
    if anything_goes {
        Tolerance::AnythingGoes
    } else {
        Tolerance::Plausible
    }
}

fn read(path: &Path, tolerance: Tolerance) -> Result<Vec<World>, ServeError> {
    Ok(world::parse(&path.display().to_string(), &text(path)?, tolerance)?)
}

fn text(path: &Path) -> Result<String, ServeError> {
    std::fs::read_to_string(path).map_err(|source| ServeError::UnreadableWorld {
        path: path.to_owned(),
        source,
    })
}
