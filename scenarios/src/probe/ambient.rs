//! The probe's only file that touches the process it lives in: environment, standard streams, signals, `/sbin/ip`.

use std::process::ExitCode;

use tokio::io::{AsyncReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use super::host::Host;
use super::protocol::{Failure, FailureKind};

/// Runs the probe as its arguments say: `idle` waits for SIGTERM, everything else serves the protocol on the standard streams until
/// they end or SIGTERM comes, with `ask-at-once` after the metadata flow has begun. As PID 1 of a container there is no default action for SIGTERM, hence the explicit wait.
pub fn run() -> ExitCode {
    let is_told = |word: &str| std::env::args().skip(1).any(|argument| argument == word);
    let (idle, asks_at_once) = (is_told("idle"), is_told("ask-at-once"));
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    let code = runtime.block_on(async move {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else {
            return ExitCode::FAILURE;
        };
        if idle {
            terminate.recv().await;
            return ExitCode::SUCCESS;
        }
        let host = Host::of(environment());
        let host = if asks_at_once { host.asking_at_once() } else { host };
        let serving = super::serve::serve(BufReader::new(tokio::io::stdin()), tokio::io::stdout(), host);
        tokio::select! {
            served = serving => match served { Ok(()) => ExitCode::SUCCESS, Err(_) => ExitCode::FAILURE },
            _ = terminate.recv() => ExitCode::SUCCESS,
        }
    });
    // The blocking read of standard input cannot be cancelled: waiting for it would keep a stopped container for ten seconds.
    runtime.shutdown_background();
    code
}

/// The environment of this process; bytes that are not UTF-8 are replaced.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(key, value)| (key.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect()
}

/// What `/sbin/ip` printed, at most 1 MiB of it.
pub(super) async fn ip(arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let system = |what: String| Failure {
        kind: FailureKind::System,
        message: what,
    };
    let child = tokio::process::Command::new("/sbin/ip")
        .args(arguments)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| system(format!("cannot start /sbin/ip: {error}")))?;
    let (mut output, mut complaint) = (Vec::new(), Vec::new());
    let mut child = child;
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(1 << 20)
            .read_to_end(&mut output)
            .await
            .map_err(|error| system(error.to_string()))?;
    }
    if let Some(stderr) = child.stderr.take() {
        stderr
            .take(4096)
            .read_to_end(&mut complaint)
            .await
            .map_err(|error| system(error.to_string()))?;
    }
    let status = child.wait().await.map_err(|error| system(error.to_string()))?;
    if status.success() {
        Ok(output)
    } else {
        Err(system(format!("ip: {}", String::from_utf8_lossy(&complaint).trim())))
    }
}
