//! A server in a process of its own: when it answers first, and how much memory it takes.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::Failure;

/// Longer than any of them takes to start.
const SOON: Duration = Duration::from_secs(20);

/// A server that runs; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    /// From its start to its first answer.
    pub(crate) first: Duration,
    process: Child,
}

impl Program {
    /// Starts this program as that server, which says where it listens.
    #[expect(clippy::disallowed_methods, reason = "the servers are this program; named here only")]
    pub(crate) async fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let begun = Instant::now();
        let mut command = Command::from(std::process::Command::new(std::env::current_exe()?));
        let mut process = command
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(SOON, lines.next_line())
            .await??
            .ok_or("it said nothing")?;
        let address = line.strip_prefix("listening on http://").ok_or(line.clone())?.parse()?;
        let mut stream = TcpStream::connect(address).await?;
        tokio::io::AsyncWriteExt::write_all(
            &mut stream,
            b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n",
        )
        .await?;
        crate::load::whole(&mut stream, &mut vec![0; 8192]).await?;
        Ok(Self {
            address,
            first: begun.elapsed(),
            process,
        })
    }

    /// Ends it, and waits until it has.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        Ok(self.process.kill().await?)
    }

    /// Its resident memory in KiB.
    pub(crate) fn memory(&self) -> Result<u64, Failure> {
        let id = self.process.id().ok_or("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let digits = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(digits.parse()?)
    }
}
