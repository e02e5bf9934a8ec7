//! The directories in which runs keep their state, and the locks that tell a living run from a dead one.
//!
//! Responsible for never removing what belongs to a run that lives or to anybody else. It must not know what the state is.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::{
    RunId,
    cgroup::{CgroupError, Hierarchies},
};

/// A socket path of this many bytes does not fit into a `sockaddr_un` any more.
const SOCKET_PATH_LIMIT: usize = 108;
/// The longest path below an instance's state directory that anything here binds, with room for callers' own.
const LONGEST_SOCKET_NAME: usize = "/4294967295/a-name-of-a-socket.sock".len();
/// How long the kernel may take to finish with the processes of a dead run.
pub(crate) const DYING_SECONDS: u32 = 10;

/// Why the state of a run cannot be kept.
#[derive(Debug, Error)]
pub enum StateError {
    /// A file or directory refused.
    #[error("{path} cannot be {verb}")]
    Refused {
        /// Which.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could write there.
    #[error("{path} must be a directory that only its owner, user {user}, can write")]
    Exposed {
        /// The state root.
        path: PathBuf,
        /// This process's user.
        user: u32,
    },
    /// Sockets would not fit.
    #[error("{path} is too long by {excess} bytes for sockets below it")]
    TooLong {
        /// The state root.
        path: PathBuf,
        /// How much must go.
        excess: usize,
    },
    /// The run lives already.
    #[error("run {run} is in use by another process")]
    InUse {
        /// Which.
        run: RunId,
    },
    /// Others kept removing the state root.
    #[error("{path} keeps changing")]
    Unstable {
        /// The state root.
        path: PathBuf,
    },
    /// The cgroups of a dead run could not be removed.
    #[error("cgroups of run {run} cannot be removed")]
    Cgroups {
        /// Which.
        run: RunId,
        /// Why.
        source: CgroupError,
    },
}

/// What was removed of one dead run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Which.
    pub run: RunId,
    /// Its cgroup directories.
    pub cgroups: Vec<PathBuf>,
    /// Its state directory.
    pub state: PathBuf,
}

/// The state directory of a run, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct RunState {
    root: PathBuf,
    directory: PathBuf,
    _lock: File,
}

impl RunState {
    /// Sweeps dead runs below `root`, then takes the run. Blocks while another process does the same.
    pub(crate) fn open(root: &Path, run: &RunId, hierarchies: &Hierarchies) -> Result<(Self, Vec<Swept>), StateError> {
        let needed = root.as_os_str().len() + 1 + run.as_str().len() + LONGEST_SOCKET_NAME + 1;
        if needed > SOCKET_PATH_LIMIT {
            return Err(StateError::TooLong {
                path: root.to_owned(),
                excess: needed - SOCKET_PATH_LIMIT,
            });
        }
        let _held = hold_root(root)?;
        let swept = sweep(root, hierarchies)?;
        let directory = root.join(run.as_str());
        if directory.exists() {
            return Err(StateError::InUse { run: run.clone() });
        }
        make_private(&directory)?;
        let path = directory.join("lock");
        let lock = File::create(&path).map_err(|source| refused(&path, "made", source))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| refused(&path, "locked", errno.into()))?;
        Ok((
            Self {
                root: root.to_owned(),
                directory,
                _lock: lock,
            },
            swept,
        ))
    }

    /// Where all runs keep their state.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the state directory of instance `number`.
    pub(crate) fn instance(&self, number: u32) -> Result<PathBuf, StateError> {
        let directory = self.directory.join(number.to_string());
        make_private(&directory)?;
        Ok(directory)
    }

    /// Removes the run's directory, and the root with the last run.
    pub(crate) fn remove(&self) -> Result<(), StateError> {
        let _held = hold_root(&self.root)?;
        remove_tree(&self.directory)?;
        // Other runs may live there.
        fs::remove_dir(&self.root).unwrap_or_default();
        Ok(())
    }
}

/// Removes a state directory with all that is in it.
pub(crate) fn remove_tree(directory: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(directory, "removed", error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes what dead runs left. A run is dead when nobody holds its lock; making a run's directory and locking it happen under the lock of
/// the root, which the caller holds, so that a directory without a lock is dead too.
fn sweep(root: &Path, hierarchies: &Hierarchies) -> Result<Vec<Swept>, StateError> {
    let mut swept = Vec::new();
    let entries = fs::read_dir(root).map_err(|source| refused(root, "read", source))?;
    for entry in entries.flatten() {
        let Some(run) = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()) else {
            continue;
        };
        let state = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let lock = File::open(state.join("lock"));
        if let Ok(lock) = &lock
            && flock(lock, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            continue;
        }
        // The state goes last: while it exists, the next sweep finds what this one could not remove.
        let cgroups = hierarchies
            .remove(&run.cgroup_prefix(), DYING_SECONDS)
            .map_err(|source| StateError::Cgroups {
                run: run.clone(),
                source,
            })?;
        remove_tree(&state)?;
        swept.push(Swept { run, cgroups, state });
    }
    swept.sort_by(|left, right| left.run.cmp(&right.run));
    Ok(swept)
}

/// Locks the root directory itself, so that no file of the lock remains.
fn hold_root(root: &Path) -> Result<File, StateError> {
    // The last run to end removes the root: whoever waited for the lock on the old one takes the new one.
    for _ in 0..100 {
        make_private(root)?;
        let Ok(held) = File::open(root) else { continue };
        flock(&held, FlockOperation::LockExclusive).map_err(|errno| refused(root, "locked", errno.into()))?;
        let locked = held.metadata().map_err(|source| refused(root, "read", source))?;
        if fs::symlink_metadata(root).is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())) {
            return Ok(held);
        }
    }
    Err(StateError::Unstable { path: root.to_owned() })
}

fn make_private(directory: &Path) -> Result<(), StateError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(refused(directory, "made", source)),
    }
    let user = rustix::process::geteuid().as_raw();
    match fs::symlink_metadata(directory) {
        Ok(found) if found.is_dir() && found.uid() == user && found.mode() & 0o022 == 0 => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => Err(StateError::Exposed {
            path: directory.to_owned(),
            user,
        }),
    }
}

fn refused(path: &Path, verb: &'static str, source: io::Error) -> StateError {
    StateError::Refused {
        path: path.to_owned(),
        verb,
        source,
    }
}
