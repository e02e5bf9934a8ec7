//! `fake-imds`: reads the command line, serves, and is the only place that picks an exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use fake_imds::ambient;
use fake_imds::cli::{self, Cli, ServeError};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    // Wrong usage ends here, with clap's exit code 2.
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(ambient::log_filter()))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let Err(error) = cli::run(cli, &mut io::stdout()).await else {
        return ExitCode::SUCCESS;
    };
    let (code, lead) = match &error {
        ServeError::BrokenWorld(_) => (2, "error: the world file is broken\n"),
        ServeError::UnreadableWorld { .. } => (2, "error: "),
        ServeError::BrokenConfig(_) => (2, "error: the configuration is broken\n"),
        ServeError::NoControl
        | ServeError::NotAemm
        | ServeError::BadWords(_)
        | ServeError::NoPlace { .. }
        | ServeError::TwoPlaces => (2, "error: "),
        ServeError::NotReady { .. } | ServeError::Bind(_) | ServeError::System(_) => (1, "error: "),
    };
    let mut lines = vec![format!("{lead}{error}")];
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        lines.push(format!("caused by: {cause}"));
        source = cause.source();
    }
    lines.push(String::new());
    // Nobody may be reading; the exit code says it too.
    let _written = io::stderr().write_all(lines.join("\n").as_bytes());
    ExitCode::from(code)
}
