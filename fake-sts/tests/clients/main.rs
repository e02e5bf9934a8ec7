//! boto3 and the AWS CLI, unmodified, from PyPI: each operation, each class of error, each class of retry. A virtualenv with pinned versions
//! is made on the first run, and kept below the target directory. Where that cannot be done the tests are listed as ignored, with the
//! reason as their kind; with `REQUIRE_LAB=1` they fail.

#![expect(clippy::unwrap_used, reason = "a test may end the program")]

#[path = "../../../support/fake-kit/tests/clients/python.rs"]
mod python;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

const CASES: [&str; 9] = [
    "boto3_operations",
    "boto3_errors",
    "boto3_retries",
    "boto3_skew",
    "boto3_iam",
    "boto3_presigned",
    "boto3_web_identity_provider",
    "cli_operations",
    "cli_errors",
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Listing must not install anything.
    let prepared = if arguments.list {
        Ok(PathBuf::new())
    } else {
        python::programs()
    };
    let trials = CASES.map(|case| {
        let why = prepared.clone();
        let trial = Trial::test(case, move || match why {
            Ok(programs) => play(case, &programs.join("python")),
            Err(why) => Err(Failed::from(why)),
        });
        match &prepared {
            Err(why) => trial.with_kind(why).with_ignored_flag(!python::is_required()),
            Ok(_) => trial,
        }
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// A running fake; ends when dropped.
struct Fake {
    process: Child,
    endpoint: String,
    control: String,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Fake {
    fn start() -> Self {
        let world = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/world.toml");
        let mut process = python::command(Path::new(env!("CARGO_BIN_EXE_fake-sts")))
            .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--world"])
            .arg(world)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut next = || {
            lines
                .next()
                .unwrap()
                .unwrap()
                .trim_start_matches("listening on ")
                .to_owned()
        };
        Self {
            endpoint: next(),
            control: next(),
            process,
        }
    }
}

/// Runs one function of the script against a fake of its own.
fn play(case: &str, python: &Path) -> Result<(), Failed> {
    let fake = Fake::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/clients.py");
    let home = tempfile::tempdir()?;
    let ended = python::command(python)
        .arg(script)
        .args([case, &fake.endpoint, &fake.control])
        // Nothing of this machine's own settings, and no other endpoint to fall back to.
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(Failed::from(format!(
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    )))
}
