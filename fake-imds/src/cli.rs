//! The command line of `fake-imds`, and what runs behind it. It must not know exit codes.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use fake_kit::clock::Clock;
use fake_kit::listen::{BindError, Listen};
use fake_kit::seed::Seed;
use fake_kit::{ambient, serve};
use thiserror::Error;

use crate::assembly::{Assembly, Settings, assemble};
use crate::canonical::Profile;
use crate::issuer::StsControl;
use crate::world::{self, BrokenWorld, World};

/// Bytes of a request's body; the service reads none.
const BODY_BYTES: usize = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  fake-imds --listen 127.0.0.1:1338 --control 127.0.0.1:1339
      then: export AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1338
  fake-imds --listen 169.254.169.254:80 --listen '[fd00:ec2::254]:80' \\
            --control unix:/run/imds.sock --sts-control unix:/run/sts.sock --world world.toml

Control API (JSON):
  GET  /ledger?since=SEQ          every request, with source, facts and answer
  GET  /canaries                  the markers in everything secret, by name
  POST /faults                    {\"match\":{\"path\":\"*/lab-host\"},\"times\":1,\"effect\":{\"hold\":\"swap\"}}
       facts to match: path, method, token (none|valid|invalid), version (v1|v2)
       effects: {\"hold\":NAME} {\"error\":{\"status\":503}} {\"lifetime_seconds\":5}
                {\"reset\":true} {\"rewrite\":{KEY:VALUE}}
       rewrite keys: status, body, truncate, hop-limit, header:NAME, credentials:FIELD
  DELETE /faults/ID               or /faults for all
  GET  /holds/NAME?waiting=1      answers once a request waits there
  POST /holds/NAME/release        lets it go
  POST /clock                     {\"advance_seconds\":3600}
  PUT  /metadata-options          {\"http_tokens\":\"required\",\"hop_limit\":1}; also endpoint, ipv6
  POST /reset                     ledger, faults, holds, clock, options, credentials

world.toml:
  [account]   id, region, partition
  [instance]  id, profile, role, http_tokens, hop_limit, endpoint, ipv6, user_data
  [instance.tags]  NAME = \"value\"

Exit codes: 0 stopped on request, 1 could not serve, 2 wrong usage or a broken world file.";

/// A fake EC2 instance metadata service (IMDSv1 and IMDSv2).
#[derive(Debug, Parser)]
#[command(name = "fake-imds", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Where to serve metadata: ADDRESS:PORT (port 0 takes a free one) or unix:PATH. May be repeated.
    #[arg(long, required = true, value_name = "ADDR")]
    pub listen: Vec<Listen>,
    /// Where to serve the control API. Nothing under test should be able to reach it; unix:PATH is safest.
    #[arg(long, value_name = "ADDR")]
    pub control: Listen,
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
    /// A listener cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Anything else the system refused.
    #[error("cannot serve")]
    System(#[from] io::Error),
}

/// Serves until asked to stop. Says on `out` where.
///
/// # Errors
/// It could not begin to serve.
pub async fn run(cli: Cli, out: &mut (dyn Write + Send)) -> Result<(), ServeError> {
    let stop = ambient::stop_requested()?;
    let world = match cli.world {
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|source| ServeError::UnreadableWorld {
                path: path.clone(),
                source,
            })?;
            world::parse(&path.display().to_string(), &text)?
        }
        None => World::default(),
    };
    let seed = Seed::new(cli.seed);
    let settings = Settings {
        profile: cli.profile,
        keep_alive: cli.keep_alive,
        sts: cli.sts_control,
        clock: Clock::system(),
        seed,
    };
    let Assembly { endpoint, router } = assemble(world, settings);
    let mut data = Vec::with_capacity(cli.listen.len());
    for listen in &cli.listen {
        data.push(listen.bind().await?);
    }
    let bound = cli.control.bind().await?;
    let wire = serve::Options {
        title_case_headers: true,
        keep_alive: cli.keep_alive,
        body_limit: BODY_BYTES,
    };
    serve::run(data, bound, router, endpoint, wire, out, stop).await?;
    Ok(())
}
