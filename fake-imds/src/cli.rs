//! The command line of `fake-imds`, and what runs behind it. It must not know exit codes.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use fake_kit::clock::Clock;
use fake_kit::ledger::Size;
use fake_kit::listen::{BindError, Listen};
use fake_kit::seed::Seed;
use fake_kit::{ambient, serve};
use jiff::Timestamp;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::aemm::told::{self, BadWords};
use crate::aemm::{self, Aemm, BrokenConfig, Layer, Mode};
use crate::assembly::{Assembly, Settings, assemble};
use crate::canonical::Profile;
use crate::identity::CERTIFICATES;
use crate::in_process::wire;
use crate::issuer::StsControl;
use crate::world::{self, BrokenWorld, Tolerance, World};

/// How long a running fake may take to say that it serves.
const READY_TIME: Duration = Duration::from_secs(2);
/// Bytes of its answer.
const READY_BYTES: u64 = 4 * 1024;

/// Where amazon-ec2-metadata-mock listens when nothing is said.
const MOCK_PORT: &str = "1338";

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
                                  lifecycle_state, rotate, tags, profile, role, and the metadata options
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
    #[arg(long, required_unless_present = "mock", value_name = "ADDR")]
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
    /// With --profile aemm: its own command line, as it stands in manifests: -- spot --action stop -d 12
    #[arg(last = true, value_name = "WORDS", conflicts_with_all = ["world", "aemm_config", "aemm_mode"])]
    pub mock: Vec<String>,
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
    /// Say whether a running fake serves: ends with 0, or with 1. For health checks of containers, whose image has no other program.
    Ready {
        /// Its control API: ADDRESS:PORT or unix:PATH.
        #[arg(long, value_name = "ADDR")]
        control: Listen,
    },
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
    #[error("--aemm-config and words behind -- are for --profile aemm; give that too")]
    NotAemm,
    /// The mock's command line is broken.
    #[error(transparent)]
    BadWords(#[from] BadWords),
    /// The mock's host name or port is none.
    #[error(
        "{place:?} is no place to listen; give an IP address as host name (or localhost), and a port from 0 to 65535"
    )]
    NoPlace {
        /// Both.
        place: String,
    },
    /// Two places to listen.
    #[error("--listen and -n or -p both say where to listen; give one of them")]
    TwoPlaces,
    /// A running fake does not serve.
    #[error("nothing serves at {control}")]
    NotReady {
        /// Where.
        control: Listen,
        /// Why.
        source: io::Error,
    },
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
        return say(command, out).await;
    }
    let stop = ambient::stop_requested()?;
    let tolerance = tolerance(cli.anything_goes);
    let worlds = match &cli.world {
        Some(path) => read(path, tolerance)?,
        None => vec![World::default()],
    };
    let (aemm, place) = match cli.profile {
        // With a world of its own, only the error pages are the mock's.
        Profile::Aemm if cli.world.is_none() => {
            let (aemm, place) = mock(&cli)?;
            (Some(aemm), place)
        }
        Profile::Ec2 | Profile::Lenient if cli.aemm_config.is_some() || !cli.mock.is_empty() => {
            return Err(ServeError::NotAemm);
        }
        Profile::Ec2 | Profile::Lenient | Profile::Aemm => (None, None),
    };
    let settings = Settings {
        aemm,
        profile: cli.profile,
        keep_alive: cli.keep_alive,
        sts: cli.sts_control,
        clock: cli.frozen_at.map_or_else(Clock::system, Clock::frozen),
        seed: Seed::new(cli.seed),
        ledger: cli.ledger,
    };
    let Assembly { endpoint, router } = assemble(&worlds, settings);
    let mut data = Vec::with_capacity(cli.listen.len());
    for listen in cli.listen.iter().chain(&place) {
        data.push(listen.bind().await?);
    }
    let bound = cli.control.ok_or(ServeError::NoControl)?.bind().await?;
    serve::run(data, bound, router, endpoint, wire(cli.keep_alive), out, stop).await?;
    Ok(())
}

/// What amazon-ec2-metadata-mock is configured to: its file, then its environment, then its command line; and where it listens, unless `--listen` says so.
fn mock(cli: &Cli) -> Result<(Aemm, Option<Listen>), ServeError> {
    let environment = told::environment(crate::ambient::variables(told::PREFIX))?;
    let words = told::words(&cli.mock)?;
    let named = words.config_file.or(environment.config_file).map(PathBuf::from);
    let mut layers = Vec::new();
    if let Some(path) = cli.aemm_config.as_ref().or(named.as_ref()) {
        layers.push(Layer::of_file(&path.display().to_string(), &text(path)?)?);
    }
    layers.extend([environment.layer, words.layer]);
    let aemm = Aemm {
        config: aemm::read_layers(&layers)?,
        mode: if cli.mock.is_empty() { cli.aemm_mode } else { words.mode },
    };
    if !cli.listen.is_empty() {
        if words.hostname.is_some() || words.port.is_some() {
            return Err(ServeError::TwoPlaces);
        }
        return Ok((aemm, None));
    }
    let hostname = words.hostname.or(environment.hostname);
    let hostname = hostname.unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.to_string());
    let port = words.port.or(environment.port).unwrap_or_else(|| MOCK_PORT.to_owned());
    let address = if hostname == "localhost" {
        Ok(Ipv4Addr::LOCALHOST.into())
    } else {
        hostname.parse::<IpAddr>()
    };
    match (address, port.parse()) {
        (Ok(address), Ok(port)) => Ok((aemm, Some(Listen::Tcp(SocketAddr::new(address, port))))),
        _ => Err(ServeError::NoPlace {
            place: format!("{hostname}:{port}"),
        }),
    }
}

async fn say(command: Command, out: &mut (dyn Write + Send)) -> Result<(), ServeError> {
    match command {
        Command::Ready { control } => {
            let asked = tokio::time::timeout(READY_TIME, ready(&control)).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            if let Err(source) = asked.unwrap_or_else(|_| Err(late())) {
                return Err(ServeError::NotReady { control, source });
            }
        }
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

/// Asks a running fake whether it serves.
async fn ready(control: &Listen) -> io::Result<()> {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    match control {
        Listen::Tcp(address) => {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(REQUEST).await?;
            stream.take(READY_BYTES).read_to_end(&mut answer).await?;
        }
        Listen::Unix(path) => {
            let mut stream = UnixStream::connect(path).await?;
            stream.write_all(REQUEST).await?;
            stream.take(READY_BYTES).read_to_end(&mut answer).await?;
        }
    }
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    let line = String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    Err(io::Error::other(format!("it answered {line:?}")))
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
