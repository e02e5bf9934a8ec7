//! The first process of an instance, and with it all its namespaces.
//!
//! Responsible for their birth and their end: they live as long as the pipe to that process is open here, however this process dies. It must
//! not know about engines or programs.

use std::{
    fs, io,
    io::{BufRead, BufReader, Read},
    net::IpAddr,
    path::Path,
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use thiserror::Error;
use tokio::{sync::watch, time::timeout};

use crate::{
    ambient,
    namespace::{NamespaceError, Namespaces, on_own_thread},
    plan,
};

/// Lays out the instance; also what the instance's first process runs for the rest of its life.
const SCRIPT: &str = include_str!("cradle.sh");
const UPSTREAM_NAME: &str = "upstream";

/// Why an instance could not be laid out, or did not end.
#[derive(Debug, Error)]
pub enum CradleError {
    /// The kernel gave no namespaces, or they could not be entered.
    #[error("no namespaces for the instance")]
    Namespaces(#[from] NamespaceError),
    /// The first process could not be started.
    #[error("the instance's first process cannot be started")]
    Start(#[source] io::Error),
    /// A command of the layout failed.
    #[error("the instance cannot be laid out: {said}")]
    Layout {
        /// What it wrote to standard error.
        said: String,
    },
    /// It did not end when its pipe closed.
    #[error("the instance's first process still runs after {0:?}")]
    StillRuns(Duration),
}

/// An instance's namespaces, alive.
#[derive(Debug)]
pub(crate) struct Cradle {
    pipe: Mutex<Option<ChildStdin>>,
    exit: watch::Receiver<Option<ExitStatus>>,
    pid: u32,
}

impl Cradle {
    /// Makes the namespaces and lays out the instance in them. Blocks for some hundredths of a second.
    pub(crate) fn create(
        cgroup_procs: &Path,
        resolv_conf: &Path,
        upstream: &[IpAddr],
    ) -> Result<(Self, Namespaces), CradleError> {
        let mut child =
            on_own_thread(|| Ok(start(cgroup_procs, resolv_conf, upstream)))?.map_err(CradleError::Start)?;
        let pid = child.id();
        let pipe = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let exit = reap(child).map_err(CradleError::Start)?;
        let cradle = Self {
            pipe: Mutex::new(pipe),
            exit,
            pid,
        };
        let mut said = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut said)
                .map_err(CradleError::Start)?;
        }
        if said.trim_end() != "ready" {
            // The script has ended, so this ends too.
            if let Some(stderr) = stderr {
                stderr.take(16 * 1024).read_to_string(&mut said).unwrap_or_default();
            }
            return Err(CradleError::Layout {
                said: said.trim_end().replace('\n', " | "),
            });
        }
        let namespaces = Namespaces::of(pid, &Path::new("/run/netns").join(UPSTREAM_NAME))?;
        Ok((cradle, namespaces))
    }

    /// Process id of the first process, as this process numbers it.
    pub(crate) fn id(&self) -> u32 {
        self.pid
    }

    /// Closes the pipe: the kernel kills everything inside.
    pub(crate) fn release(&self) {
        drop(self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Ends the instance and waits until the kernel has removed every process of it.
    pub(crate) async fn end(&self, within: Duration) -> Result<(), CradleError> {
        self.release();
        let mut exit = self.exit.clone();
        match timeout(within, exit.wait_for(Option::is_some)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CradleError::StillRuns(within)),
        }
    }
}

/// Runs on a thread that is thrown away afterwards: it leaves the machine's namespaces.
fn start(state: &Path, cgroup_procs: &Path, upstream: &[IpAddr]) -> io::Result<Child> {
    let (script, resolv_conf) = (state.join("cradle.sh"), state.join("resolv.conf"));
    fs::write(&script, SCRIPT)?;
    fs::write(
        &resolv_conf,
        format!("nameserver {}\noptions attempts:1 timeout:1\n", plan::UPSTREAM_V4),
    )?;
    unshare(
        CloneFlags::CLONE_FS
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )?;
    // From here on no mount made inside reaches the machine, nor the other way round.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    ambient::command(Path::new("/bin/sh"))
        .arg(script)
        .args(upstream.iter().map(IpAddr::to_string))
        .env("CGROUP_PROCS", cgroup_procs)
        .env("RESOLV_CONF", resolv_conf)
        .env("UPSTREAM_NAME", UPSTREAM_NAME)
        .env("UPLINK", plan::UPLINK)
        .env("DOWNLINK", plan::DOWNLINK)
        .env("HOST_V4", plan::HOST_V4.to_string())
        .env("FORWARDED_V4", plan::FORWARDED_V4.to_string())
        .env("UPSTREAM_V4", plan::UPSTREAM_V4.to_string())
        .env("HOST_V6", plan::HOST_V6.to_string())
        .env("FORWARDED_V6", plan::FORWARDED_V6.to_string())
        .env("UPSTREAM_V6", plan::UPSTREAM_V6.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn reap(mut child: Child) -> io::Result<watch::Receiver<Option<ExitStatus>>> {
    let (ended, exit) = watch::channel(None);
    std::thread::Builder::new().name("reaper".to_owned()).spawn(move || {
        if let Ok(status) = child.wait() {
            ended.send_replace(Some(status));
        }
    })?;
    Ok(exit)
}
