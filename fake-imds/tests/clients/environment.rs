//! How the clients are run: with nothing of this machine's own settings.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::python::{command, programs};

/// Where the clients are.
pub(crate) struct Environment {
    programs: PathBuf,
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Environment {
    /// Installs the clients, unless an earlier run did.
    pub(crate) fn prepare() -> Result<Self, String> {
        Ok(Self { programs: programs()? })
    }

    /// Runs the script that asks boto3.
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
