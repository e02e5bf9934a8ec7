//! A program that runs in an instance.
//!
//! It is a direct child of this process, so signals reach the program itself and its exit is known from the kernel. It must not know what the
//! program does.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use thiserror::Error;
use tokio::{sync::watch, time::timeout};

use crate::{
    Input, Program, ambient, cgroup,
    namespace::{NamespaceError, Namespaces, Place},
    output::{Captured, LineCursor},
};

/// Moves itself into the cgroup named first, then becomes the program: from its first instruction on, the program lives where it belongs,
/// and its process id is the one that was started.
const ENTER_CGROUP: &str = r#"echo 0 > "$0" && unset PWD OLDPWD && exec "$@""#;

/// What a program is started through if it would ignore signals otherwise.
const HEED_SIGNALS: [&str; 2] = ["env", "--default-signal"];

/// How long a program may take to end after SIGKILL before the kernel is held to be stuck.
const REAPING: Duration = Duration::from_secs(10);

/// Why a program could not be run, or did not do what was awaited.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("{label} cannot be started")]
    Start {
        /// Whose.
        label: String,
        /// What the system said.
        source: io::Error,
    },
    /// Its namespaces are gone.
    #[error("{label} cannot enter the instance")]
    Enter {
        /// Whose.
        label: String,
        /// What is wrong with them.
        source: NamespaceError,
    },
    /// It ended before it wrote what was awaited.
    #[error("{label} ended ({status}) before it wrote {awaited:?}; it said: {said}")]
    Ended {
        /// Whose.
        label: String,
        /// How it ended.
        status: String,
        /// The beginning of the line that was awaited.
        awaited: String,
        /// The end of its standard error.
        said: String,
    },
    /// It did not write what was awaited in time.
    #[error("{label} wrote no line {awaited:?} within {within:?}; it said: {said}")]
    Silent {
        /// Whose.
        label: String,
        /// The beginning of the line that was awaited.
        awaited: String,
        /// How long was waited.
        within: Duration,
        /// The end of its standard error.
        said: String,
    },
    /// It still ran when its time was up.
    #[error("{label} still runs after {within:?}")]
    StillRuns {
        /// Whose.
        label: String,
        /// How long was waited.
        within: Duration,
    },
    /// The kernel refused a signal.
    #[error("{label} cannot be sent a signal")]
    Signal {
        /// Whose.
        label: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a program that ran to its end left.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// How a program was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether it ignored SIGTERM until SIGKILL.
    pub forced: bool,
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    label: String,
    pid: u32,
    handle: OwnedFd,
    exit: watch::Receiver<Option<ExitStatus>>,
    stdout: Arc<Captured>,
    stderr: Arc<Captured>,
}

/// Where a program is started and what records it.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) place: Place,
    /// The file that moves a process into the cgroup of the host's programs.
    pub(crate) cgroup_procs: &'a Path,
    /// Beginning of the names of its log files; without it nothing is written.
    pub(crate) logs: Option<PathBuf>,
}

impl Process {
    /// Starts `program` at `site`.
    pub(crate) fn start(site: &Site<'_>, program: &Program) -> Result<Self, ProcessError> {
        let label = program.label.clone();
        let start = |source| ProcessError::Start {
            label: label.clone(),
            source,
        };
        // Asked here: inside, `/proc` is that of other processes.
        let ignores_signals = ambient::ignores_signals();
        let child = site
            .namespaces
            .inside(site.place, || spawn(program, site.cgroup_procs, ignores_signals))
            .map_err(|source| ProcessError::Enter {
                label: label.clone(),
                source,
            })?
            .map_err(start)?;
        Self::adopt(label.clone(), child, &program.stdin, site.logs.as_deref()).map_err(start)
    }

    fn adopt(label: String, mut child: Child, input: &Input, logs: Option<&Path>) -> io::Result<Self> {
        let log = |ending: &str| {
            logs.map(|path| File::create(path.with_added_extension(ending)))
                .transpose()
        };
        let pid = child.id();
        let raw = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::InvalidData)?;
        // Opened before the child is reaped, so that no signal can ever reach another process that got its number.
        let handle = pidfd_open(raw, PidfdFlags::empty())?;
        let stdout = Captured::drain(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?, log("out")?)?;
        let stderr = Captured::drain(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?, log("err")?)?;
        if let (Input::Bytes(bytes), Some(mut pipe)) = (input.clone(), child.stdin.take()) {
            std::thread::Builder::new().name("input".to_owned()).spawn(move || {
                // A program may end without reading all of its input.
                pipe.write_all(&bytes).unwrap_or_default();
            })?;
        }
        let (ended, exit) = watch::channel(None);
        std::thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            // The kernel lets the instance's first process end only when every child of ours in it is reaped, so this must not depend on
            // anybody awaiting the program or on a runtime that still turns.
            if let Ok(status) = child.wait() {
                ended.send_replace(Some(status));
            }
        })?;
        Ok(Self {
            label,
            pid,
            handle,
            exit,
            stdout,
            stderr,
        })
    }

    /// What the program is called.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its process id, as this process numbers it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Told when it ends.
    pub(crate) fn exits(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.exit.clone()
    }

    /// What it wrote to standard output so far (the last 8 MiB).
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it wrote to standard error so far (the last 8 MiB).
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The first line of its standard output that begins with `prefix`.
    ///
    /// # Errors
    /// When it ends before, or writes no such line within `within`.
    pub async fn wait_for_line(&self, prefix: &str, within: Duration) -> Result<String, ProcessError> {
        let lines = self.wait_for_lines(prefix, 1, within).await?;
        Ok(lines.into_iter().next().unwrap_or_default())
    }

    /// The first `count` lines of its standard output that begin with `prefix`.
    ///
    /// # Errors
    /// When it ends before, or writes fewer such lines within `within`.
    pub async fn wait_for_lines(
        &self,
        prefix: &str,
        count: usize,
        within: Duration,
    ) -> Result<Vec<String>, ProcessError> {
        let mut cursor = LineCursor::default();
        let mut found = Vec::new();
        let is_found = || {
            let lines = self.stdout.lines(&mut cursor);
            found.extend(lines.into_iter().filter(|line| line.starts_with(prefix)));
            found.len() >= count
        };
        self.search(&self.stdout, prefix, within, is_found).await?;
        found.truncate(count);
        Ok(found)
    }

    /// Waits until its standard error holds `words`.
    ///
    /// # Errors
    /// When it ends before, or does not say them within `within`.
    pub async fn wait_for_words(&self, words: &str, within: Duration) -> Result<(), ProcessError> {
        self.search(&self.stderr, words, within, || self.stderr.text().contains(words))
            .await
    }

    /// Waits until what it has written so far is enough; `awaited` is what a complaint says.
    async fn search(
        &self,
        written: &Captured,
        awaited: &str,
        within: Duration,
        mut is_found: impl FnMut() -> bool,
    ) -> Result<(), ProcessError> {
        let mut changes = written.changes();
        let search = async {
            loop {
                changes.mark_unchanged();
                // Asked before reading, so that nothing written before the end is missed.
                let closed = written.is_closed();
                if is_found() {
                    return true;
                }
                if closed || changes.changed().await.is_err() {
                    return false;
                }
            }
        };
        match timeout(within, search).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.ended_early(awaited).await),
            Err(_) => Err(ProcessError::Silent {
                label: self.label.clone(),
                awaited: awaited.to_owned(),
                within,
                said: self.last_words(),
            }),
        }
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// When it still runs after `within`.
    pub async fn wait(&self, within: Duration) -> Result<ExitStatus, ProcessError> {
        let mut exit = self.exit.clone();
        let ended = timeout(within, exit.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(status)) => (*status).ok_or_else(|| self.still_runs(within)),
            Ok(Err(_)) | Err(_) => Err(self.still_runs(within)),
        }
    }

    /// Waits until it ends and its output is complete.
    pub(crate) async fn finish(&self, within: Duration) -> Result<Output, ProcessError> {
        let status = self.wait(within).await?;
        drained(&self.stdout).await;
        drained(&self.stderr).await;
        Ok(Output {
            status,
            stdout: self.stdout.bytes(),
            stderr: self.stderr.bytes(),
        })
    }

    /// Asks it to end with SIGTERM, and after `within` makes it with SIGKILL.
    ///
    /// # Errors
    /// When the kernel does not end it.
    pub async fn stop(&self, within: Duration) -> Result<Stopped, ProcessError> {
        self.signal(Signal::TERM)?;
        // A paused program could not act on SIGTERM.
        self.signal(Signal::CONT)?;
        match self.wait(within).await {
            Ok(status) => Ok(Stopped { status, forced: false }),
            Err(_) => Ok(Stopped {
                status: self.kill().await?,
                forced: true,
            }),
        }
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// When the kernel does not end it.
    pub async fn kill(&self) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::KILL)?;
        self.wait(REAPING).await
    }

    /// Stops it in its tracks with SIGSTOP; returns when it has stopped, or ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pause(&self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)?;
        // The signal is only queued: a program on another processor still runs for a while.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(self.handle.as_fd()), options) {
            Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
            Err(errno) => Err(ProcessError::Signal {
                label: self.label.clone(),
                source: errno.into(),
            }),
        }
    }

    /// Asks it to read its configuration again with SIGHUP.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reload(&self) -> Result<(), ProcessError> {
        self.signal(Signal::HUP)
    }

    /// Lets it go on with SIGCONT.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn resume(&self) -> Result<(), ProcessError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(ProcessError::Signal {
                label: self.label.clone(),
                source: errno.into(),
            }),
        }
    }

    async fn ended_early(&self, prefix: &str) -> ProcessError {
        let status = match self.wait(Duration::from_secs(1)).await {
            Ok(status) => {
                drained(&self.stderr).await;
                status.to_string()
            }
            Err(_) => "it closed its standard output".to_owned(),
        };
        ProcessError::Ended {
            label: self.label.clone(),
            status,
            awaited: prefix.to_owned(),
            said: self.last_words(),
        }
    }

    /// The end of its standard error, short enough for a message.
    pub(crate) fn last_words(&self) -> String {
        let text = self.stderr.text();
        let lines: Vec<&str> = text.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    fn still_runs(&self, within: Duration) -> ProcessError {
        ProcessError::StillRuns {
            label: self.label.clone(),
            within,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL).unwrap_or_default();
    }
}

/// Waits until everything that a program that has ended wrote to a stream is here.
async fn drained(stream: &Captured) {
    let mut changes = stream.changes();
    // A grandchild may hold the stream open for ever; what the program itself wrote is here by then all the same.
    let closed = async { while !stream.is_closed() && changes.changed().await.is_ok() {} };
    timeout(Duration::from_secs(1), closed).await.unwrap_or_default();
}

fn spawn(program: &Program, cgroup_procs: &Path, ignores_signals: bool) -> io::Result<Child> {
    // Said here, since the shell below would say it only on standard error.
    if program.path.is_absolute() && !program.path.exists() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} does not exist", program.path.display()),
        ));
    }
    let own = program.service.as_ref().map(|name| cgroup::beside(cgroup_procs, name));
    let own = own.transpose()?;
    let input = match program.stdin {
        Input::Nothing => Stdio::null(),
        Input::Bytes(_) => Stdio::piped(),
    };
    let mut command = ambient::command(Path::new("/bin/sh"));
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    command
        .arg("-c")
        .arg(ENTER_CGROUP)
        .arg(own.as_deref().unwrap_or(cgroup_procs))
        .args(ignores_signals.then_some(HEED_SIGNALS).into_iter().flatten())
        .arg(&program.path)
        .args(&program.args)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}
