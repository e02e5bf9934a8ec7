//! The one layer that all job images share: its files, as a tar whose bytes depend on nothing but them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{ambient, authority};

/// Why there is no base layer.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// A file that must go in cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The program's own loader cannot be started.
    #[error("cannot ask the loader what {path} needs")]
    Loader {
        /// The program.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The loader does not find what the program needs.
    #[error("{path} cannot be run here; missing libraries: {missing:?}")]
    Libraries {
        /// The program.
        path: PathBuf,
        /// What the loader did not find.
        missing: Vec<String>,
    },
    /// The machine has no `ip`.
    #[error("no ip program on this machine; install iproute2")]
    NoIp,
    /// The layer could not be written; memory is the only thing it is written to.
    #[error("cannot assemble the layer")]
    Assemble(#[source] std::io::Error),
}

/// A file or link of the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum File {
    /// A path with its bytes and mode.
    Plain {
        /// Without a leading slash.
        path: String,
        /// Its content.
        bytes: Vec<u8>,
        /// Its permissions.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Without a leading slash.
        path: String,
        /// What it points to.
        target: String,
    },
}

impl File {
    pub(super) fn program(path: &str, bytes: Vec<u8>) -> Self {
        Self::Plain {
            path: path.to_owned(),
            bytes,
            mode: 0o755,
        }
    }

    fn text(path: &str, text: &str) -> Self {
        Self::Plain {
            path: path.to_owned(),
            bytes: text.as_bytes().to_vec(),
            mode: 0o644,
        }
    }

    pub(super) fn link(path: &str, target: &str) -> Self {
        Self::Link {
            path: path.to_owned(),
            target: target.to_owned(),
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Plain { path, .. } | Self::Link { path, .. } => path,
        }
    }
}

/// The shared layer and the digest that names it.
#[derive(Clone)]
pub struct Base {
    layer: Bytes,
    diff_id: String,
}

impl std::fmt::Debug for Base {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Base")
            .field("bytes", &self.layer.len())
            .field("diff_id", &self.diff_id)
            .finish()
    }
}

impl Base {
    /// Gathers the probe at this path, `ip`, their libraries and the few files that a process expects, and packs them.
    pub async fn gather(probe: &Path) -> Result<Self, BaseError> {
        let mut files = ambient::gather(probe).await?;
        files.extend(furniture());
        Self::pack(files).map_err(BaseError::Assemble)
    }

    pub(super) fn pack(mut files: Vec<File>) -> std::io::Result<Self> {
        files.sort_by(|one, other| one.path().cmp(other.path()));
        files.dedup_by(|one, other| one.path() == other.path());
        let layer = tar(&files)?;
        let diff_id = digest(&layer);
        Ok(Self {
            layer: layer.into(),
            diff_id,
        })
    }

    /// The layer's own tar.
    pub(super) fn layer(&self) -> &Bytes {
        &self.layer
    }

    /// `sha256:…` of the layer's tar.
    pub fn diff_id(&self) -> &str {
        &self.diff_id
    }
}

/// `sha256:` and the digest in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// What an empty root lacks: names of the shell and the runner's programs, users, resolver order, a CA file, a place to write.
fn furniture() -> Vec<File> {
    vec![
        File::link("bin/sh", "/bin/probe"),
        File::link("usr/bin/gitlab-runner-build", "/bin/probe"),
        File::link("usr/bin/gitlab-runner-helper", "/bin/probe"),
        File::text(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        ),
        File::text("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        File::text("etc/nsswitch.conf", "hosts: files dns\n"),
        File::text("etc/ssl/certs/ca-certificates.crt", authority::CERTIFICATE),
        File::text("tmp/.keep", ""),
        File::text("root/.keep", ""),
    ]
}

fn tar(files: &[File]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut directories = BTreeSet::new();
    for file in files {
        let ancestors: Vec<&Path> = Path::new(file.path()).ancestors().skip(1).collect();
        for directory in ancestors.into_iter().rev() {
            if !directory.as_os_str().is_empty() && directories.insert(directory.to_owned()) {
                let mode = if directory == Path::new("tmp") { 0o1777 } else { 0o755 };
                let mut header = header(tar::EntryType::Directory, mode, 0);
                archive.append_data(&mut header, directory, std::io::empty())?;
            }
        }
        match file {
            File::Plain { path, bytes, mode } => {
                let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let mut header = header(tar::EntryType::Regular, *mode, size);
                archive.append_data(&mut header, path, bytes.as_slice())?;
            }
            File::Link { path, target } => {
                let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    archive.into_inner()
}

/// No time and no owner but root: equal files must give equal bytes.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
