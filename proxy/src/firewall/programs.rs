//! Running `nft` and `ip`: by absolute name, with an empty environment, and bounded in time. The only place that starts a process.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A transaction takes milliseconds; `nft` waits for no one longer than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// The firewall could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The program is not installed where it usually is.
    #[error("{program} is not installed: it was looked for as {}", places.join(", "))]
    Missing {
        /// Its name.
        program: &'static str,
        /// Where it was looked for.
        places: &'static [&'static str],
    },
    /// It could not be started, or its pipes failed.
    #[error("running {program}")]
    Run {
        /// Its name.
        program: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{program} did not finish within {} s", PATIENCE.as_secs())]
    TimedOut {
        /// Its name.
        program: &'static str,
    },
    /// It refused.
    #[error("{program} {arguments} failed: {message}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// What it was told.
        arguments: String,
        /// What it said.
        message: String,
    },
    /// It said something that cannot be read.
    #[error("the output of {program} cannot be read")]
    Unreadable {
        /// Its name.
        program: &'static str,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The host's processes cannot be told apart.
    #[error(
        "the host's own processes cannot be told apart by their cgroup v2; firewall.host = \"open\" does without, and lets \
         host-network containers reach the real endpoint"
    )]
    Cgroup(#[source] io::Error),
    /// Connections that were made before could not be cut.
    #[error("deleting tracked connections to the endpoint")]
    Tracked(#[source] io::Error),
}

/// One of the programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    places: &'static [&'static str],
}

/// nftables' command.
pub(crate) const NFT: Program = Program {
    name: "nft",
    places: &["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"],
};
/// iproute2's command.
pub(crate) const IP: Program = Program {
    name: "ip",
    places: &["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"],
};

impl Program {
    /// Runs it and gives what it printed.
    pub(crate) async fn run(self, arguments: &[String], input: &str) -> Result<Vec<u8>, FirewallError> {
        let output = self.output(arguments, input).await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(FirewallError::Refused {
            program: self.name,
            arguments: arguments.join(" "),
            message,
        })
    }

    /// Reads what it printed as JSON. `ip` prints nothing at all for an empty list.
    pub(crate) fn read(self, printed: &[u8]) -> Result<serde_json::Value, FirewallError> {
        if printed.trim_ascii().is_empty() {
            return Ok(serde_json::Value::Array(Vec::new()));
        }
        serde_json::from_slice(printed).map_err(|source| FirewallError::Unreadable {
            program: self.name,
            source,
        })
    }

    async fn output(self, arguments: &[String], input: &str) -> Result<Output, FirewallError> {
        let Self { name, places } = self;
        let failed = |source| FirewallError::Run { program: name, source };
        let place = places.iter().find(|place| Path::new(place).exists());
        let place = place.ok_or(FirewallError::Missing { program: name, places })?;
        let mut command = Command::new(place);
        command.args(arguments).env_clear().kill_on_drop(true);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let work = async {
            let mut child = command.spawn().map_err(failed)?;
            if let Some(mut stdin) = child.stdin.take() {
                // A program that refuses before it has read everything breaks the pipe; its message says why.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await.map_err(failed)
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .map_err(|_| FirewallError::TimedOut { program: name })?
    }
}
