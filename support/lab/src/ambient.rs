//! The only file that reads the process's environment, takes randomness from the system, or names programs to start.

use std::{
    ffi::OsString,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use crate::RunId;

/// Where programs are looked up: the process's own `PATH` and the directories of system programs, which a service's `PATH` may lack.
#[expect(clippy::disallowed_methods, reason = "the one place that reads PATH")]
pub(crate) fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    for directory in ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
        if !std::env::split_paths(&path).any(|known| known == Path::new(directory)) {
            if !path.is_empty() {
                path.push(":");
            }
            path.push(directory);
        }
    }
    path
}

/// A command that inherits nothing from this process but `PATH`.
#[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", path()).current_dir("/");
    command
}

/// Whether this process was started to ignore signals, by `nohup` or in the background of a shell. What it starts would ignore them too, and a shell
/// could not even trap them.
pub(crate) fn ignores_signals() -> bool {
    static IGNORES: LazyLock<bool> = LazyLock::new(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask & !SIGPIPE != 0)
    });
    *IGNORES
}

/// Its bit. Rust ignores it in every program, and gives it back to those that it starts.
const SIGPIPE: u64 = 1 << 12;

impl RunId {
    /// A name that no other run has, from the system's randomness.
    ///
    /// # Errors
    /// When the system's randomness cannot be read.
    pub fn fresh() -> std::io::Result<Self> {
        let mut bytes = [0_u8; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self::from_bits(u64::from_ne_bytes(bytes)))
    }
}

/// Where a program is, as [`path`] finds it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&path())
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
