//! A process held so that its number cannot come to mean another one (rule A5): a pidfd, and its `/proc` directory opened while the
//! pidfd was alive. Knows no container.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};

/// `/proc/PID/cgroup` has one short line for each hierarchy: far below this.
const CGROUP_BYTES: u64 = 64 * 1024;

/// A process that is the same one for as long as this value lives, dead or alive.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    directory: OwnedFd,
}

impl Process {
    /// Takes hold of the process that has this number now.
    ///
    /// # Errors
    /// There is none, or it ended meanwhile.
    pub fn open(pid: i32) -> io::Result<Self> {
        let number = if pid > 0 { Pid::from_raw(pid) } else { None }.ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::NONBLOCK)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let directory = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())?;
        let process = Self { pidfd, directory };
        // Alive after the directory was opened: the number still meant this process then.
        if process.is_alive() {
            Ok(process)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Whether the process has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // A pidfd becomes readable when its process ends.
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(
            rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })),
            Ok(0)
        )
    }

    /// The text of its `/proc/PID/cgroup`.
    ///
    /// # Errors
    /// It has ended.
    pub fn cgroup(&self) -> io::Result<String> {
        let mut text = String::new();
        self.open_below("cgroup")?
            .take(CGROUP_BYTES)
            .read_to_string(&mut text)?;
        if self.is_alive() {
            Ok(text)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Its network namespace, and the number that identifies the namespace.
    ///
    /// # Errors
    /// It has ended.
    pub fn network(&self) -> io::Result<(File, u64)> {
        let namespace = self.open_below("ns/net")?;
        let number = namespace.metadata()?.ino();
        if self.is_alive() {
            Ok((namespace, number))
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn open_below(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(File::from(rustix::fs::openat(
            &self.directory,
            name,
            flags,
            Mode::empty(),
        )?))
    }
}

impl AsFd for Process {
    /// The pidfd: readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_living_process_tells_its_cgroup_and_network() {
        let process = Process::open(this()).unwrap();
        assert!(process.is_alive());
        assert_eq!(
            process.cgroup().unwrap(),
            std::fs::read_to_string("/proc/self/cgroup").unwrap()
        );
        assert_eq!(
            process.network().unwrap().1,
            std::fs::metadata("/proc/self/ns/net").unwrap().ino()
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test needs a process that ends")]
    fn a_process_that_ended_tells_nothing_even_if_its_number_is_used_again() {
        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(process.cgroup().is_err());
        assert!(process.network().is_err());
    }

    #[test]
    fn no_process_has_the_number_0() {
        assert!(Process::open(0).is_err());
        assert!(Process::open(-1).is_err());
    }
}
