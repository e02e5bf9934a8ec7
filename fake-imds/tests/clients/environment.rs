//! The virtual environment that the clients are installed in, and how they are run: with nothing of this machine's own settings.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What has to be there.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// A prepared environment.
pub(crate) struct Environment {
    programs: PathBuf,
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Whether a machine that lacks something is a failure.
#[expect(clippy::disallowed_methods, reason = "tests read their one setting here")]
pub(crate) fn is_required() -> bool {
    std::env::var("REQUIRE_LAB").is_ok_and(|value| value == "1")
}

#[expect(clippy::disallowed_methods, reason = "the clients are started here and nowhere else")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

impl Environment {
    /// Installs what is required, unless an earlier run did.
    pub(crate) fn prepare() -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
        let (done, programs) = (folder.join("installed.txt"), folder.join("bin"));
        if std::fs::read_to_string(&done).is_ok_and(|installed| installed == REQUIREMENTS) {
            return Ok(Self { programs });
        }
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(format!("cannot remove {}: {error}", folder.display()));
        }
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/requirements.txt");
        let (folder, requirements) = (folder.to_string_lossy(), requirements.to_string_lossy());
        succeed(command(Path::new("python3")).args(["-m", "venv", &folder]))?;
        let arguments = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            &requirements,
        ];
        succeed(command(&programs.join("python")).args(arguments))?;
        std::fs::write(done, REQUIREMENTS).map_err(|error| error.to_string())?;
        Ok(Self { programs })
    }

    /// Runs the script that asks botocore.
    pub(crate) fn python(&self, arguments: &[&str], endpoint: &str, settings: &[(&str, &str)]) -> Result<Said, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/provider.py");
        let mut command = command(&self.programs.join("python"));
        command.arg(script).args(arguments);
        self.run(command, endpoint, settings)
    }

    /// Runs the AWS CLI.
    pub(crate) fn aws(&self, arguments: &[&str], endpoint: &str, settings: &[(&str, &str)]) -> Result<Said, String> {
        let mut command = command(&self.programs.join("python"));
        command.arg(self.programs.join("aws")).args(arguments);
        self.run(command, endpoint, settings)
    }

    fn run(&self, mut command: Command, endpoint: &str, settings: &[(&str, &str)]) -> Result<Said, String> {
        let home = tempfile::tempdir().map_err(|error| error.to_string())?;
        command
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", &self.programs)
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
            .envs(settings.iter().copied());
        let Output { status, stdout, stderr } = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let said = Said {
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        };
        // The CLI ends well whether it finds credentials or not; the script's end says itself.
        if status.success() {
            Ok(said)
        } else {
            Err(format!("{command:?}: {status}: {said:?}"))
        }
    }
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!(
        "no boto3 and AWS CLI: {command:?} ended with {}: {said}",
        output.status
    ))
}
