//! boto3 and the AWS CLI, unmodified, from PyPI: each operation, each class of error, each class of retry. A virtualenv with pinned versions
//! is made on the first run, and kept below the target directory. Where that cannot be done the tests are listed as ignored, with the
//! reason as their kind; with `REQUIRE_LAB=1` they fail.

#![expect(clippy::unwrap_used, reason = "a test may end the program")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

/// The versions that the answers were judged by.
const PACKAGES: [&str; 2] = ["boto3==1.43.11", "awscli==1.45.11"];

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
    let prepared = if arguments.list { Ok(PathBuf::new()) } else { prepare() };
    let trials = CASES.map(|case| {
        let why = prepared.clone();
        let trial = Trial::test(case, move || match why {
            Ok(python) => play(case, &python),
            Err(why) => Err(Failed::from(why)),
        });
        match &prepared {
            Err(why) => trial.with_kind(why).with_ignored_flag(!is_required()),
            Ok(_) => trial,
        }
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// `REQUIRE_LAB=1`: a machine that cannot run the test is a failure.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness is a program, and this is its only setting"
)]
fn is_required() -> bool {
    std::env::var_os("REQUIRE_LAB").is_some_and(|value| value == "1")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the programs of this test are started here and nowhere else"
)]
fn program(name: impl AsRef<Path>) -> Command {
    Command::new(name.as_ref())
}

/// The interpreter of a virtualenv with both clients.
fn prepare() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clients-{}", PACKAGES.join("-")));
    let python = folder.join("bin/python");
    let marker = folder.join("whole");
    if marker.exists() {
        return Ok(python);
    }
    let done = |mut command: Command, what: &str| {
        let ended = command.output().map_err(|error| format!("{what}: {error}"))?;
        if ended.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        Err(format!("{what}: {}", said.lines().last().unwrap_or("no reason")))
    };
    let mut make = program("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    done(make, "python3 -m venv")?;
    let mut install = program(&python);
    install.args(["-m", "pip", "install", "--quiet"]).args(PACKAGES);
    done(install, "pip install boto3 awscli")?;
    std::fs::write(&marker, "").map_err(|error| error.to_string())?;
    Ok(python)
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
        let mut process = program(env!("CARGO_BIN_EXE_fake-sts"))
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
    let ended = program(python)
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
