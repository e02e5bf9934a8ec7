//! Reads the host's files and asks the host's loader: the only part of this module that depends on the machine.

use std::path::Path;

use super::elf::{interpreter, libraries};
use super::layer::{BaseError, File};

/// Where distributions keep iproute2's program.
const IP: [&str; 4] = ["/sbin/ip", "/usr/sbin/ip", "/bin/ip", "/usr/bin/ip"];
/// Name services that glibc before 2.34 loads by name, so that no listing shows them; they stand beside libc.
const NAME_SERVICES: [&str; 3] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// The probe, `ip`, and every library either needs, as files of the image.
pub(super) async fn gather(probe: &Path) -> Result<Vec<File>, BaseError> {
    let mut files = vec![File::program("bin/probe", read(probe).await?)];
    let mut needed = needs(probe).await?;
    let mut has_ip = false;
    for candidate in IP {
        let path = Path::new(candidate);
        if let Ok(bytes) = tokio::fs::read(path).await {
            files.push(File::program("sbin/ip", bytes));
            needed.extend(needs(path).await?);
            has_ip = true;
            break;
        }
    }
    if !has_ip {
        return Err(BaseError::NoIp);
    }
    needed.sort();
    needed.dedup();
    let home = needed
        .iter()
        .find(|path| path.contains("/libc.so") || path.contains("/libc."))
        .and_then(|path| path.rsplit_once('/'))
        .map(|(directory, _)| directory.to_owned());
    for path in &needed {
        let inside = path.trim_start_matches('/');
        files.push(File::program(inside, read(Path::new(path)).await?));
        // The host's loader may have found it by a cache or a setting that the image lacks; beside libc it always looks.
        if let (Some(home), Some((directory, name))) = (&home, path.rsplit_once('/'))
            && directory != home
            && !name.starts_with("ld-")
        {
            files.push(File::link(&format!("{}/{name}", home.trim_start_matches('/')), path));
        }
    }
    if let Some(home) = home {
        for name in NAME_SERVICES {
            let path = format!("{home}/{name}");
            if !needed.contains(&path)
                && let Ok(bytes) = tokio::fs::read(&path).await
            {
                files.push(File::program(path.trim_start_matches('/'), bytes));
            }
        }
    }
    Ok(files)
}

async fn read(path: &Path) -> Result<Vec<u8>, BaseError> {
    tokio::fs::read(path).await.map_err(|source| BaseError::Read {
        path: path.to_owned(),
        source,
    })
}

async fn needs(program: &Path) -> Result<Vec<String>, BaseError> {
    let Some(interpreter) = interpreter(&read(program).await?) else {
        return Ok(Vec::new());
    };
    let listed = tokio::process::Command::new(&interpreter)
        .arg("--list")
        .arg(program)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| BaseError::Loader {
            path: program.to_owned(),
            source,
        })?;
    let (mut found, missing) = libraries(&String::from_utf8_lossy(&listed.stdout));
    if !listed.status.success() || !missing.is_empty() {
        return Err(BaseError::Libraries {
            path: program.to_owned(),
            missing,
        });
    }
    found.push(interpreter);
    Ok(found)
}
