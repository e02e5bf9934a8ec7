//! Files that outlive the proxy: replaced as a whole or not at all, so that whoever reads one after a crash finds what was there before or what
//! came after, and never half of it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// More than any file of ours is long.
const MOST: u64 = 16 * 1024 * 1024;

/// Reads a file; None if there is none.
///
/// # Errors
/// It is there and cannot be read, or is no text, or is longer than any file of ours.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    let read = file.take(MOST + 1).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(text))
}

/// Replaces a file, and makes its directory if that is not there: both are for nobody but their owner. When this returns, the text is on the
/// disk.
///
/// # Errors
/// It cannot be written; what was there before is there then.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let fresh = parent.join(name);
    // What a crash left there is worth nothing.
    drop(std::fs::remove_file(&fresh));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    // The name is in the directory, which has to reach the disk too.
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_is_its_owners() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/state.json");
        assert_eq!(read(&path).unwrap(), None);
        for text in ["first", "second, and longer", ""] {
            write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(text));
        }
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(entries.count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        write(&path, "before").unwrap();
        // Somebody has put what cannot be removed where the new file is written.
        std::fs::create_dir(directory.path().join("state.json.new")).unwrap();
        assert!(write(&path, "after").is_err());
        assert_eq!(read(&path).unwrap().as_deref(), Some("before"));
        // Where a directory stands in its place it is not replaced either.
        let other = directory.path().join("other");
        std::fs::create_dir(&other).unwrap();
        assert!(write(&other, "after").is_err() && read(&other).is_err());
    }

    #[test]
    fn what_is_no_text_of_ours_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert!(read(&path).is_err());
        File::create(&path).unwrap().set_len(MOST + 1).unwrap();
        assert!(read(&path).is_err());
    }
}
