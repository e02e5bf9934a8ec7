//! Where it is kept who is revoked, so that a restart of the proxy gives nothing back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::policy::{Damaged, Revocations};
use crate::state_file;

/// The file, if there is one.
#[derive(Debug)]
pub struct Register {
    path: Option<PathBuf>,
    /// One writes at a time, and what is newest: whoever comes later has seen more.
    writing: Mutex<()>,
}

/// Why the file does not say who is revoked.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// It is not as it was written.
    #[error("it is damaged")]
    Damaged(#[from] Damaged),
}

/// Why a revocation will be forgotten when the proxy ends.
#[derive(Debug, Error)]
pub enum NotKept {
    /// Nobody said where to keep it.
    #[error("revocations.file does not say where to keep it")]
    Nowhere,
    /// It could not be written there.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Register {
    /// In this file, or nowhere.
    #[must_use]
    pub const fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            writing: Mutex::new(()),
        }
    }

    /// Where it is kept.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Who was revoked when the proxy ended; nobody if there is no file.
    ///
    /// # Errors
    /// There is a file, and it cannot be relied upon.
    pub fn load(&self) -> Result<Revocations, Unreadable> {
        let text = match &self.path {
            Some(path) => state_file::read(path)?,
            None => None,
        };
        Ok(match text {
            Some(text) => Revocations::read(&text)?,
            None => Revocations::default(),
        })
    }

    /// Keeps who is revoked now. Takes as long as the disk takes.
    ///
    /// # Errors
    /// It is not kept.
    pub fn keep(&self, revoked: impl FnOnce() -> Arc<Revocations>) -> Result<(), NotKept> {
        let path = self.path.as_ref().ok_or(NotKept::Nowhere)?;
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        state_file::write(path, &revoked().write()).map_err(|source| NotKept::Io {
            path: path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::PausedClock;
    use crate::policy::Target;

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_what_is_damaged_is_no_answer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revocations.json");
        let register = || Register::new(Some(path.clone()));
        assert_eq!(register().load().unwrap(), Revocations::default());
        let mut revoked = Revocations::default();
        revoked.add(Target::Job(302), PausedClock::epoch()).unwrap();
        let revoked = Arc::new(revoked);
        register().keep(|| Arc::clone(&revoked)).unwrap();
        assert_eq!(register().load().unwrap(), *revoked);
        for damaged in ["", "{", "null", "{\"version\":1}"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(register().load(), Err(Unreadable::Damaged(_))), "{damaged:?}");
        }
        std::fs::write(&path, b"\xff").unwrap();
        assert!(matches!(register().load(), Err(Unreadable::Io(_))));
    }

    #[test]
    fn where_it_is_kept_nowhere_that_is_said() {
        let register = Register::new(None);
        assert_eq!(register.load().unwrap(), Revocations::default());
        let told = register.keep(Arc::default).unwrap_err().to_string();
        assert_eq!(told, "revocations.file does not say where to keep it");
    }
}
