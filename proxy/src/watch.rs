//! Notices that a file has other content: by inotify on the directories where it may be replaced, and by looking now and then in case
//! the kernel could not tell. Knows nothing of what is in the file.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use sha2::{Digest as _, Sha256};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::attest::readiness;

/// Changes come in bursts: an editor writes, renames and sets the mode. The file is looked at once it was quiet for that long …
const QUIET: Duration = Duration::from_millis(250);
/// … or changes have gone on for that long.
const RESTLESS: Duration = Duration::from_secs(2);
/// Without word from the kernel: a directory was replaced as a whole, or is on a file system that tells nothing.
const LOOK: Duration = Duration::from_secs(10);
/// A configuration is a few kilobytes; more than that of a file is not looked at.
const MOST: u64 = 16 * 1024 * 1024;

/// Which content a file has; None while it cannot be read.
type Content = Option<[u8; 32]>;

/// A file that is watched.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    inotify: AsyncFd<OwnedFd>,
    seen: Content,
}

impl FileWatch {
    /// Begins to watch: what the file holds now is no change.
    ///
    /// # Errors
    /// The system has no inotify, or no more instances of it.
    pub fn new(path: &Path) -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let watch = Self {
            path: path.to_owned(),
            inotify: readiness::watch(descriptor)?,
            seen: read(path),
        };
        watch.aim();
        Ok(watch)
    }

    /// Completes when the file has another content than before, or cannot be read any more. Safe to drop and to call again.
    pub async fn changed(&mut self) {
        loop {
            // Whatever woke us, directories may have come in the place of those that are watched.
            self.aim();
            let now = read(&self.path);
            if now != self.seen {
                self.seen = now;
                return;
            }
            tokio::select! {
                () = self.stir() => self.settle().await,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Waits until nothing has happened for a while.
    async fn settle(&self) {
        let quiet = async { while tokio::time::timeout(QUIET, self.stir()).await.is_ok() {} };
        drop(tokio::time::timeout(RESTLESS, quiet).await);
    }

    /// Completes when something has happened in one of the directories.
    async fn stir(&self) {
        let taken = self.inotify.async_io(Interest::READABLE, |descriptor| {
            // What exactly happened is not believed: the file itself is looked at.
            let mut events = [0; 4096];
            Ok(rustix::io::read(descriptor, &mut events)?)
        });
        if let Err(error) = taken.await {
            tracing::warn!(%error, "changes of the configuration are not told; it is looked at now and then");
            std::future::pending::<()>().await;
        }
    }

    /// Watches the directories where the file may be replaced. Watching one twice changes nothing.
    fn aim(&self) {
        // Written in place, or renamed over; the file's own attributes do not matter.
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE;
        for directory in directories(&self.path) {
            // One that is not there now is aimed at again.
            if let Err(error) = inotify::add_watch(self.inotify.get_ref(), &directory, what | WatchFlags::ONLYDIR) {
                tracing::debug!(%error, directory = %directory.display(), "not watched");
            }
        }
    }
}

/// The directory that the file was named in, and the one where it really is: Kubernetes swaps a link in the first one, an editor
/// replaces the file in the second one.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let real = path.canonicalize().ok();
    real.iter().map(|real| parent(real)).chain([parent(path)]).collect()
}

fn read(path: &Path) -> Content {
    use std::io::Read as _;
    let file = std::fs::File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(Sha256::digest(&bytes).into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Longer than the kernel takes to tell, and shorter than looking now and then.
    const SOON: Duration = Duration::from_secs(9);

    /// Changes something while the watch waits, and expects to hear of it.
    async fn notices(watch: &mut FileWatch, soon: Duration, change: impl FnOnce()) {
        let noticed = tokio::time::timeout(soon, watch.changed());
        let (noticed, ()) = tokio::join!(noticed, async { change() });
        noticed.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_written_or_renamed_over_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "1").unwrap();
        let mut watch = FileWatch::new(&path).unwrap();
        notices(&mut watch, SOON, || fs::write(&path, "2").unwrap()).await;
        notices(&mut watch, SOON, || {
            fs::write(directory.path().join("new"), "3").unwrap();
            fs::rename(directory.path().join("new"), &path).unwrap();
        })
        .await;
        notices(&mut watch, SOON, || fs::remove_file(&path).unwrap()).await;
        notices(&mut watch, SOON, || fs::write(&path, "4").unwrap()).await;
    }

    #[tokio::test]
    async fn a_link_to_a_directory_that_is_swapped_is_a_change() {
        // As Kubernetes replaces a ConfigMap: file -> ..data/file, and ..data -> a directory of its own.
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        for (version, text) in [("..1", "1"), ("..2", "2"), ("..3", "3")] {
            fs::create_dir(place(version)).unwrap();
            fs::write(place(version).join("file"), text).unwrap();
        }
        symlink("..1", place("..data")).unwrap();
        symlink("..data/file", place("file")).unwrap();
        let mut watch = FileWatch::new(&place("file")).unwrap();
        for version in ["..2", "..3"] {
            notices(&mut watch, SOON, || {
                symlink(version, place("..data_tmp")).unwrap();
                fs::rename(place("..data_tmp"), place("..data")).unwrap();
            })
            .await;
        }
        // And the file behind both links.
        notices(&mut watch, SOON, || fs::write(place("..3").join("file"), "4").unwrap()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_leaves_the_content_as_it_was_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "1").unwrap();
        let mut watch = FileWatch::new(&path).unwrap();
        let noticed = tokio::time::timeout(6 * LOOK, watch.changed());
        let (noticed, ()) = tokio::join!(noticed, async {
            fs::write(&path, "1").unwrap();
            fs::write(directory.path().join("other"), "2").unwrap();
        });
        assert!(noticed.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_is_replaced_as_a_whole_is_noticed_too() {
        let directory = tempfile::tempdir().unwrap();
        let (path, away) = (directory.path().join("etc/file"), directory.path().join("away"));
        fs::create_dir(directory.path().join("etc")).unwrap();
        fs::write(&path, "1").unwrap();
        let mut watch = FileWatch::new(&path).unwrap();
        notices(&mut watch, 2 * LOOK, || {
            fs::rename(directory.path().join("etc"), &away).unwrap();
            fs::create_dir(directory.path().join("etc")).unwrap();
            fs::write(&path, "2").unwrap();
        })
        .await;
        notices(&mut watch, LOOK / 2, || fs::write(&path, "3").unwrap()).await;
    }
}
