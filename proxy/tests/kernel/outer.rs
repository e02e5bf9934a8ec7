//! The outer run: makes the namespaces, starts this program again inside them, and removes what they leave behind.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Set in the inner run; its value names the cgroup.
pub(crate) const INSIDE: &str = "KERNEL_TEST_INSIDE";

/// What this machine lacks to run the tests. `--list` must agree with a run, so it depends on nothing that changes.
pub(crate) fn lacking() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("needs root".to_owned());
    }
    for program in ["unshare", "dockerd", "ip", "nft", "nsenter", "mount"] {
        let found = std::env::var("PATH")
            .unwrap_or_default()
            .split(':')
            .any(|place| Path::new(place).join(program).exists());
        if !found {
            return Some(format!("needs {program}"));
        }
    }
    None
}

pub(crate) fn enter() -> ExitCode {
    let group = format!("kernel-test-{}", std::process::id());
    let status = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--uts",
            "--ipc",
            "--",
        ])
        .arg(std::env::current_exe().expect("this program has a path"))
        .args(std::env::args().skip(1))
        .env(INSIDE, &group)
        .stdin(Stdio::null())
        .status();
    sweep(Path::new("/sys/fs/cgroup"), &group, 0);
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            println!("unshare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Removes the empty cgroups of this run, in every hierarchy.
fn sweep(directory: &Path, group: &str, depth: usize) {
    if depth > 1 {
        return;
    }
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_str() == Some(group) {
            remove(&path);
        } else if depth == 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep(&path, group, depth + 1);
        }
    }
}

fn remove(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    // The kernel may still be taking the last process out: it is then left to whoever sweeps next.
    let _ = std::fs::remove_dir(directory);
}
