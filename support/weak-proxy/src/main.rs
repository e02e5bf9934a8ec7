//! The program: arguments, signals, exit codes.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, RwLock};

use clap::Parser;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use weak_proxy::ambient;
use weak_proxy::config::{Config, ConfigError};
use weak_proxy::credentials::sts::Sts;
use weak_proxy::credentials::{Cache, Issuer};
use weak_proxy::firewall::{self, FirewallError};
use weak_proxy::hole::{self, Hole, Switches};
use weak_proxy::identity::engine::DockerEngine;
use weak_proxy::identity::kernel::LinuxKernel;
use weak_proxy::identity::{Engine, Identity, Kernel};
use weak_proxy::serve::Proxy;
use weak_proxy::token::Tokens;
use weak_proxy::upstream::{Upstream, UpstreamError};

const HELP: &str = "\
Without --hole it behaves decently: identity from the engine and the kernel, default-deny routes, policy of the configuration,
tokens of its own. With --hole SWITCH exactly one known weakness is open. A scenario that stays green then proves nothing.

The redirect of the endpoint is applied beforehand by `metadata-proxy firewall apply`, except for the holes docker0-only-rules,
ipv4-only-rules and rules-removed-on-exit: there this program applies a table `inet weak_proxy` of its own.

Examples:
  weak-proxy --config metadata-proxy.toml
  weak-proxy --config metadata-proxy.toml --hole last-env-wins
  weak-proxy --by-variable --hole last-env-wins
  weak-proxy --config metadata-proxy.toml --hole default-role --default-role ci-default
  weak-proxy --list-holes

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed, 2 usage or a broken file.";

/// A metadata proxy with planted holes, for negative controls only. Never deploy it.
#[derive(Debug, Parser)]
#[command(name = "weak-proxy", version, after_help = HELP)]
struct Arguments {
    /// The proxy's configuration, as metadata-proxy reads it
    #[arg(long, value_name = "FILE", required_unless_present_any = ["list_holes", "by_variable"])]
    config: Option<PathBuf>,
    /// No configuration and no rules: a container has the role that its IAM_ROLE names, and the environment says the rest, as with the proxies that this one imitates (PORT, DOCKER_HOST, AWS_REGION, AWS_ENDPOINT_URL_STS, DEFAULT_ACCOUNT_ID)
    #[arg(long, conflicts_with = "config")]
    by_variable: bool,
    /// The hole to open; --list-holes explains each
    #[arg(long, value_name = "SWITCH", hide_possible_values = true)]
    hole: Option<Hole>,
    /// The role that the hole default-role hands out, instead of the first role of the project's first rule
    #[arg(long, value_name = "NAME")]
    default_role: Option<String>,
    /// The real service, for the holes that forward
    #[arg(long, value_name = "URL", default_value = "http://169.254.169.254")]
    upstream: String,
    /// Print every hole, whom it imitates and the scenarios that it must turn red
    #[arg(long)]
    list_holes: bool,
}

/// Why the program ends early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("--upstream is not of the form http://HOST[:PORT]")]
    Upstream(#[source] UpstreamError),
    #[error("the engine does not answer at {socket}")]
    Engine {
        socket: String,
        source: bollard::errors::Error,
    },
    #[error("cannot listen on port {port}")]
    Listen { port: u16, source: io::Error },
    #[error("the rules could not be changed")]
    Firewall(#[from] FirewallError),
    #[error("input or output failed")]
    Io(#[from] io::Error),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nowhere to complain when the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let filter = tracing_subscriber::EnvFilter::new("info,aws_config=error,aws_smithy_runtime=error");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut text = format!("error: {failure}\n");
            let mut cause = std::error::Error::source(&failure);
            while let Some(error) = cause {
                text.extend([format!("caused by: {error}\n")]);
                cause = error.source();
            }
            let _ = io::stderr().write_all(text.as_bytes());
            match failure {
                Failure::Config(_) | Failure::Upstream(_) => ExitCode::from(2),
                Failure::Engine { .. } | Failure::Listen { .. } | Failure::Firewall(_) | Failure::Io(_) => {
                    ExitCode::FAILURE
                }
            }
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = match &arguments.config {
        _ if arguments.list_holes => return Ok(io::stdout().write_all(hole::table().as_bytes())?),
        Some(path) => Config::load(path)?,
        None => Config::of_environment(ambient::variable),
    };
    let switches = Switches {
        hole: arguments.hole,
        default_role: arguments.default_role,
    };
    let upstream = Upstream::new(&arguments.upstream).map_err(Failure::Upstream)?;
    let socket = config
        .engine
        .socket
        .clone()
        .or_else(|| ambient::variable("DOCKER_HOST"));
    let socket = socket.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    let engine = DockerEngine::connect(&socket, switches.hole)
        .await
        .map_err(|source| Failure::Engine { socket, source })?;
    let sts = Box::pin(Sts::new(&config.aws, switches.clone())).await;

    let wanted = config.listen.port;
    let listeners = listen(wanted).map_err(|source| Failure::Listen { port: wanted, source })?;
    let port = listeners.first().map_or(Ok(wanted), |listener| {
        listener.local_addr().map(|address| address.port())
    })?;
    if let Some(hole) = switches.hole.filter(|hole| hole.has_own_rules()) {
        firewall::apply(hole, port).await?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let proxy = Arc::new(Proxy {
        identity: Identity::new(engine, LinuxKernel, switches.clone()),
        cache: Cache::new(sts, switches.clone()),
        tokens: Tokens::default(),
        upstream,
        config: RwLock::new(Arc::new(config)),
        granted: Mutex::default(),
        switches: switches.clone(),
        leftovers: Mutex::default(),
        clock: ambient::clock(),
        random: ambient::random,
        original_destination,
    });
    let mut serving = tokio::task::JoinSet::new();
    for listener in listeners {
        let address = listener.local_addr()?;
        serving.spawn(Arc::clone(&proxy).serve(listener));
        writeln!(io::stdout(), "listening on http://{address}")?;
    }
    io::stdout().flush()?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if let Some(path) = &arguments.config {
                    reload(&proxy, path)?;
                }
            }
        }
    }
    serving.shutdown().await;
    if switches.open(Hole::RulesRemovedOnExit) {
        firewall::remove().await?;
    }
    Ok(())
}

/// Reads the policy again. A file that cannot be used changes nothing.
fn reload<E, K, I>(proxy: &Proxy<E, K, I>, path: &Path) -> io::Result<()>
where
    E: Engine,
    K: Kernel,
    I: Issuer,
{
    match Config::load(path) {
        Ok(config) => {
            proxy.follow(config);
            writeln!(io::stdout(), "policy reloaded")?;
            io::stdout().flush()
        }
        Err(error) => {
            tracing::error!(error = %Failure::from(error), "policy not reloaded");
            Ok(())
        }
    }
}

/// The wildcard of both families on one port; a machine without IPv6 gets the first only.
fn listen(port: u16) -> io::Result<Vec<TcpListener>> {
    let bind = |domain: Domain, address: SocketAddr| -> io::Result<TcpListener> {
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        TcpListener::from_std(socket.into())
    };
    let first = bind(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into())?;
    let port = first.local_addr()?.port();
    match bind(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into()) {
        Ok(second) => Ok(vec![first, second]),
        Err(error) => {
            tracing::warn!(%error, "no IPv6 here");
            Ok(vec![first])
        }
    }
}

/// SO_ORIGINAL_DST; without a redirect it fails, or names our own address.
fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let own = stream.local_addr().ok()?;
    let socket = SockRef::from(stream);
    let wanted = if own.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    let wanted = wanted.ok()?.as_socket()?;
    // The scope of an IPv6 address is no part of the question.
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    (plain(wanted) != plain(own)).then(|| plain(wanted))
}
