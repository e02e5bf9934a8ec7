//! Socket files that only their owner can open: jobs never reach what listens there.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::net::UnixListener;

/// Makes the socket under another name and moves it into place, so that it never stands there with a wider mode, and a socket that an
/// earlier process left gives way.
///
/// # Errors
/// The directory cannot be made or written to.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    drop(std::fs::remove_file(&fresh));
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}
