//! The cgroups of an instance, in every hierarchy of the machine.
//!
//! Responsible for making them, for knowing when they are empty and for removing them, and nothing that is not named like them. It must not
//! know what an engine puts below.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;

/// The cgroup below an instance's own in which the host's programs live. Where controllers are delegated, processes may live in leaves only.
const HOST_LEAF: &str = "host";

/// How deep cgroups nest below an instance's: container, its own nested engine, and some room.
const DEEPEST: usize = 16;

/// Why the cgroups of an instance cannot be made or removed.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// The machine has no cgroup v2 hierarchy.
    #[error("no cgroup2 file system is mounted")]
    NoUnified,
    /// The kernel refused.
    #[error("cgroup {path} cannot be {verb}")]
    Refused {
        /// Its directory.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Processes remained in it.
    #[error("cgroup {path} still holds processes after {seconds} s")]
    Populated {
        /// Its directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u32,
    },
}

/// Where the machine mounts its cgroup hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    unified: Vec<PathBuf>,
    legacy: Vec<PathBuf>,
}

impl Hierarchies {
    /// Reads them from the text of `/proc/self/mountinfo`.
    pub(crate) fn parse(mountinfo: &str) -> Self {
        let mut hierarchies = Self {
            unified: Vec::new(),
            legacy: Vec::new(),
        };
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = before.split(' ').nth(4).map(unescape) else {
                continue;
            };
            match after.split(' ').next() {
                Some("cgroup2") => hierarchies.unified.push(point),
                Some("cgroup") => hierarchies.legacy.push(point),
                Some(_) | None => {}
            }
        }
        hierarchies
    }

    /// As this process sees the machine.
    pub(crate) fn of_the_machine() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// The cgroup2 mount.
    pub(crate) fn unified(&self) -> Result<&Path, CgroupError> {
        self.unified.first().map(PathBuf::as_path).ok_or(CgroupError::NoUnified)
    }

    /// Directories directly below any hierarchy's root whose name begins with `prefix`.
    pub(crate) fn named(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for root in self.unified.iter().chain(&self.legacy) {
            for entry in fs::read_dir(root).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    /// Kills whatever lives in the cgroups that begin with `prefix`, waits until they are empty and removes them.
    ///
    /// Where the caller has already ended the processes this finds nothing to kill.
    pub(crate) fn remove(&self, prefix: &str, seconds: u32) -> Result<Vec<PathBuf>, CgroupError> {
        self.clear(self.named(prefix), seconds)
    }

    /// The same for one cgroup by its whole name: `lab-x-1` is not `lab-x-10`.
    pub(crate) fn remove_exactly(&self, name: &str, seconds: u32) -> Result<Vec<PathBuf>, CgroupError> {
        let mut directories = self.named(name);
        directories.retain(|path| path.file_name().is_some_and(|found| found == name));
        self.clear(directories, seconds)
    }

    fn clear(&self, directories: Vec<PathBuf>, seconds: u32) -> Result<Vec<PathBuf>, CgroupError> {
        for directory in directories.iter().filter(|path| path.join("cgroup.events").exists()) {
            // Kernels before 5.14 have no cgroup.kill; there, the death of the instance's first process is what ends the others.
            let kill = directory.join("cgroup.kill");
            if kill.exists() && is_populated(directory) {
                fs::write(&kill, "1").map_err(|source| refused(&kill, "written", source))?;
            }
            wait_until_empty(directory, seconds)?;
        }
        for directory in &directories {
            remove_tree(directory, DEEPEST)?;
        }
        Ok(directories)
    }
}

/// Makes the cgroup `name` with its leaf for the host's programs; returns the file that moves a process there.
pub(crate) fn create(hierarchies: &Hierarchies, name: &str) -> Result<PathBuf, CgroupError> {
    let leaf = hierarchies.unified()?.join(name).join(HOST_LEAF);
    fs::create_dir_all(&leaf).map_err(|source| refused(&leaf, "made", source))?;
    Ok(leaf.join("cgroup.procs"))
}

/// Makes the leaf `name` beside the one that `procs` moves processes into, if it is not there yet; returns the file that moves a process there.
pub(crate) fn beside(procs: &Path, name: &str) -> io::Result<PathBuf> {
    let instance = procs.ancestors().nth(2).unwrap_or(procs);
    let leaf = instance.join(name);
    fs::create_dir_all(&leaf)?;
    Ok(leaf.join("cgroup.procs"))
}

/// Processes in the cgroup and all below it.
pub(crate) fn processes(directory: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    collect_processes(directory, DEEPEST, &mut found);
    found
}

fn collect_processes(directory: &Path, depth: usize, found: &mut Vec<u32>) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    if depth > 0 {
        for child in subdirectories(directory) {
            collect_processes(&child, depth - 1, found);
        }
    }
}

fn is_populated(directory: &Path) -> bool {
    fs::read_to_string(directory.join("cgroup.events")).is_ok_and(|text| says_populated(&text))
}

fn says_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

fn wait_until_empty(directory: &Path, seconds: u32) -> Result<(), CgroupError> {
    let path = directory.join("cgroup.events");
    // The kernel announces a change of the file as POLLPRI; each turn reads it afresh and then waits at most a tenth of a second.
    for _ in 0..seconds.saturating_mul(10) {
        let Ok(file) = File::open(&path) else { return Ok(()) };
        if !io::read_to_string(&file).is_ok_and(|text| says_populated(&text)) {
            return Ok(());
        }
        let tenth = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&tenth))
            .map_err(|errno| refused(&path, "watched", errno.into()))?;
    }
    Err(CgroupError::Populated {
        path: directory.to_owned(),
        seconds,
    })
}

fn remove_tree(directory: &Path, depth: usize) -> Result<(), CgroupError> {
    if depth > 0 {
        for child in subdirectories(directory) {
            remove_tree(&child, depth - 1)?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(directory, "removed", error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn refused(path: &Path, verb: &'static str, source: io::Error) -> CgroupError {
    CgroupError::Refused {
        path: path.to_owned(),
        verb,
        source,
    }
}

/// Undoes the octal escapes of mountinfo (`\040` is a space).
fn unescape(field: &str) -> PathBuf {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                text.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hybrid_hierarchies_are_read_from_mountinfo() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    38 31 0:35 / /sys/fs/cgroup/my\\040cpu rw shared:4 - cgroup cgroup rw,cpu\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let hierarchies = Hierarchies::parse(text);
        assert_eq!(hierarchies.unified().unwrap(), Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(hierarchies.legacy, [PathBuf::from("/sys/fs/cgroup/my cpu")]);
    }

    #[test]
    fn a_machine_without_cgroup2_is_told_so() {
        assert!(matches!(Hierarchies::parse("").unified(), Err(CgroupError::NoUnified)));
    }

    proptest! {
        #[test]
        fn no_mountinfo_makes_the_reader_panic(text in "[ -~\\\\\n]{0,200}") {
            Hierarchies::parse(&text);
        }
    }
}
