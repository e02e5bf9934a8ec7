//! Entry point: log set-up, and the one place that picks an exit code.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use fake_sts::ambient;
use fake_sts::options::Options;
use fake_sts::program::{self, ProgramError};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(ambient::log_filter())
        .with_writer(io::stderr)
        .init();
    let options = Options::parse();
    match program::run(options, &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        // What was found stands on standard output.
        Err(ProgramError::Found) => ExitCode::FAILURE,
        Err(error) => {
            let mut text = format!("error: {error}\n");
            let mut cause = error.source();
            while let Some(inner) = cause {
                text.push_str("caused by: ");
                text.push_str(&inner.to_string());
                text.push('\n');
                cause = inner.source();
            }
            // Nothing is left to tell the user if stderr is gone.
            let _ = io::stderr().write_all(text.as_bytes());
            match error {
                ProgramError::UnreadableWorld { .. }
                | ProgramError::BrokenWorld(_)
                | ProgramError::Usage(_)
                | ProgramError::Inquiry(_) => ExitCode::from(2),
                ProgramError::Bind(_) | ProgramError::Serve(_) | ProgramError::Control { .. } | ProgramError::Found => {
                    ExitCode::FAILURE
                }
            }
        }
    }
}
