//! boto3 and the AWS CLI from PyPI, in one virtual environment below the target directory, for the tests of both fakes (each takes this file in). It must not
//! know what they are asked.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What has to be there.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// A program, with what this process has around it.
#[expect(
    clippy::disallowed_methods,
    reason = "the programs of these tests are started here and nowhere else"
)]
pub(crate) fn command(program: &Path) -> Command {
    Command::new(program)
}

/// Whether a machine that lacks something is a failure (`REQUIRE_LAB=1`).
#[expect(clippy::disallowed_methods, reason = "tests read their one setting here")]
pub(crate) fn is_required() -> bool {
    std::env::var("REQUIRE_LAB").is_ok_and(|value| value == "1")
}

/// The folder with `python` and `aws`. What is required is installed first, unless an earlier run did; a test that runs beside waits for it.
pub(crate) fn programs() -> Result<PathBuf, String> {
    install(Path::new(env!("CARGO_TARGET_TMPDIR"))).map_err(|why| {
        format!("boto3 and the AWS CLI are needed: python3 with its venv module, and a package index that pip reaches: {why}")
    })
}

fn install(target: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| error.to_string();
    // Held until this returns: tests of several programs run at once.
    let lock = File::create(target.join("clients.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let folder = target.join("clients");
    let (done, programs) = (folder.join("installed.txt"), folder.join("bin"));
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(programs);
    }
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    succeed(command(Path::new("python3")).args(["-m", "venv"]).arg(&folder))?;
    let wanted = folder.join("requirements.txt");
    std::fs::write(&wanted, REQUIREMENTS).map_err(failed)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    succeed(command(&programs.join("python")).args(pip).arg(&wanted))?;
    std::fs::write(done, REQUIREMENTS).map_err(failed)?;
    Ok(programs)
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("no reason");
    Err(format!("{command:?} ended with {}: {last}", output.status))
}
