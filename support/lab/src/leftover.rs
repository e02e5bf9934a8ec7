//! What of a run still exists on the machine. For tests, and for an operator who doubts.

use std::{
    fmt, fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use crate::{
    HeldNamespaces, RunId,
    cgroup::{self, Hierarchies},
};

/// Something of a run that exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A process in one of the run's cgroups.
    Process {
        /// Its number, as this process sees it.
        process: u32,
        /// The cgroup.
        cgroup: PathBuf,
    },
    /// A cgroup directory.
    Cgroup(PathBuf),
    /// A mount on the machine at or of the run's state.
    Mount(String),
    /// The state directory.
    State(PathBuf),
}

impl fmt::Display for Leftover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { process, cgroup } => write!(formatter, "process {process} in {}", cgroup.display()),
            Self::Cgroup(path) => write!(formatter, "cgroup {}", path.display()),
            Self::Mount(line) => write!(formatter, "mount {line}"),
            Self::State(path) => write!(formatter, "directory {}", path.display()),
        }
    }
}

/// Lists what exists of `run`, whose state is below `state_root`.
///
/// # Errors
/// When the machine's mounts cannot be read.
pub fn leftovers(state_root: &Path, run: &RunId) -> io::Result<Vec<Leftover>> {
    let state = state_root.join(run.as_str());
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    let mut found = Vec::new();
    for path in Hierarchies::parse(&mountinfo).named(&run.cgroup_prefix()) {
        let processes = cgroup::processes(&path).into_iter();
        found.extend(processes.map(|process| Leftover::Process {
            process,
            cgroup: path.clone(),
        }));
        found.push(Leftover::Cgroup(path));
    }
    let text = state.display().to_string();
    found.extend(
        mountinfo
            .lines()
            .filter(|line| line.contains(&text))
            .map(|line| Leftover::Mount(line.to_owned())),
    );
    if state.exists() {
        found.push(Leftover::State(state));
    }
    found.sort();
    Ok(found)
}

impl HeldNamespaces {
    /// Processes that are in any of the namespaces, or hold one open otherwise than here. One that has ended and only waits to be reaped does neither.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn users(&self) -> io::Result<Vec<u32>> {
        let own = std::process::id();
        let here: Vec<PathBuf> = self.0.iter().map(|held| link(own, held)).collect();
        // A descriptor of a name that was mounted is shown by that name: the numbers tell, and no two namespaces share one, of whatever kind.
        let numbers = self.0.iter().map(|held| Ok(rustix::fs::fstat(held)?.st_ino));
        let numbers = numbers.collect::<io::Result<Vec<u64>>>()?;
        let names = numbers
            .iter()
            .flat_map(|number| ["mnt", "pid", "net"].map(|kind| format!("{kind}:[{number}]")));
        let wanted: Vec<PathBuf> = names.map(PathBuf::from).collect();
        let mut users = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status
                .lines()
                .any(|line| line.starts_with("State:\tZ") || line.starts_with("State:\tX"))
            {
                continue;
            }
            let links = ["ns", "fd"]
                .into_iter()
                .flat_map(|kind| fs::read_dir(entry.path().join(kind)).into_iter().flatten());
            let paths = links
                .flatten()
                .map(|link| link.path())
                .filter(|path| !here.contains(path));
            let mut targets = paths.filter_map(|path| fs::read_link(path).ok());
            if targets.any(|target| wanted.contains(&target)) {
                users.push(process);
            }
        }
        Ok(users)
    }
}

/// Where `/proc` shows a descriptor.
fn link(process: u32, descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/fd/{}", descriptor.as_raw_fd()))
}
