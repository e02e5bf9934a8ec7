//! Reads a program's files and asks its loader: the only part that depends on this machine.

use std::path::Path;
use std::process::Stdio;

use crate::archive::{File, LocalImage};
use crate::elf::{interpreter, libraries};
use crate::load::ImageError;

/// What reads `/etc/hosts` and asks for names inside the container: glibc finds its name services beside itself.
const NAMES: (&str, &[u8]) = ("etc/nsswitch.conf", b"hosts: files dns\n");

impl LocalImage {
    /// An image `NAME:TAG` of a program of this machine, with its libraries, at `/bin/FILENAME`.
    ///
    /// # Errors
    /// When the program cannot be read or would not run here.
    pub async fn gather(name: &str, tag: &str, program: &Path) -> Result<Self, ImageError> {
        let file_name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
        let inside = format!("bin/{file_name}");
        let bytes = read(program).await?;
        let mut files = vec![File {
            path: NAMES.0.to_owned(),
            bytes: NAMES.1.to_vec(),
            mode: 0o644,
        }];
        for library in needs(program, &bytes).await? {
            files.push(File {
                bytes: read(Path::new(&library)).await?,
                path: library.trim_start_matches('/').to_owned(),
                mode: 0o755,
            });
        }
        files.push(File {
            path: inside.clone(),
            bytes,
            mode: 0o755,
        });
        Ok(Self::new(name, tag, files, &[&format!("/{inside}")]))
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    tokio::fs::read(path).await.map_err(|source| ImageError::Read {
        path: path.to_owned(),
        source,
    })
}

async fn needs(program: &Path, bytes: &[u8]) -> Result<Vec<String>, ImageError> {
    let Some(interpreter) = interpreter(bytes) else {
        return Ok(Vec::new());
    };
    let listed = tokio::process::Command::new(&interpreter)
        .arg("--list")
        .arg(program)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| ImageError::Read {
            path: interpreter.clone().into(),
            source,
        })?;
    let (mut found, missing) = libraries(&String::from_utf8_lossy(&listed.stdout));
    if !listed.status.success() || !missing.is_empty() {
        return Err(ImageError::Libraries {
            path: program.to_owned(),
            missing,
        });
    }
    found.push(interpreter);
    Ok(found)
}
