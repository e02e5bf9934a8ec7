//! The gate job of `.gitlab-ci.yml`, run as GitLab's shell runner runs it: its variables exported, its `before_script` and `script` as one bash script, in a copy
//! of the project, and what it leaves where the file says. What makes the run short are variables that the scripts honour for everybody.
//!
//! The copy is an overlay at the project's own path, in a mount namespace of the job's own, so that what is built is used and nothing of the project changes.

#![expect(clippy::unwrap_used, reason = "a test may end the program")]

mod need;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use scenarios::ambient::Ambient;
use scenarios::report::RunReport;
use serde_yaml_ng::{Mapping, Value};

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let ambient = Ambient::read().unwrap();
    let ignored = need::is_ignored(&ambient, &scenarios::cli::lacks(&ambient));
    if !ignored && !arguments.list {
        build(&ambient);
    }
    let of_the_lab: [(&str, Test); 2] = [
        ("the_gate_job_leaves_what_the_pipeline_collects", green),
        ("a_scenario_that_leaks_fails_the_gate_job", red),
    ];
    let plain: [(&str, Test); 3] = [
        ("a_gate_without_cargo_deny_fails_in_a_pipeline", without_deny),
        ("a_gate_of_unknown_steps_is_refused", unknown_step),
        ("a_part_of_the_gate_is_refused_for_a_release", part_of_a_release),
    ];
    let trials = of_the_lab
        .into_iter()
        .map(|(name, test)| need::lab(Trial::test(name, test), ignored));
    let plain = plain.into_iter().map(|(name, test)| Trial::test(name, test));
    libtest_mimic::run(&arguments, trials.chain(plain).collect()).exit_code()
}

/// What the job builds is built before, so that it finds it done: a copy's build would go with the copy.
#[expect(clippy::disallowed_methods, reason = "cargo builds the programs that the job runs")]
fn build(ambient: &Ambient) {
    let Some(cargo) = &ambient.cargo else { return };
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--exclude",
            "metadata-testcontainers",
            "--bins",
        ])
        .current_dir(project())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "the programs cannot be built"
    );
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A job of the file, with what it extends, the file's variables, and those that GitLab and the project's settings add.
struct Job {
    script: String,
    variables: BTreeMap<String, String>,
    artifacts: Vec<String>,
    junit: Vec<String>,
}

impl Job {
    /// `settings` are the project's CI/CD variables: they go before the file's.
    fn of_file(name: &str, settings: &[(&str, &str)]) -> Self {
        let file = std::fs::read_to_string(project().join(".gitlab-ci.yml")).unwrap();
        let file: Mapping = serde_yaml_ng::from_str(&file).unwrap();
        let mut job = of(&file, name).clone();
        while let Some(base) = job.remove("extends") {
            job = merged(of(&file, base.as_str().unwrap()), &job);
        }
        let project = project().display().to_string();
        let of_gitlab = [
            ("CI", "true"),
            ("GITLAB_CI", "true"),
            ("CI_PROJECT_DIR", &project),
            ("CI_JOB_NAME", name),
            ("CI_COMMIT_REF_NAME", "main"),
        ];
        let mut variables: BTreeMap<String, String> =
            of_gitlab.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        for of_file in [file.get("variables"), job.get("variables")].into_iter().flatten() {
            for (key, value) in of_file.as_mapping().unwrap() {
                let value = value.as_str().unwrap().replace("$CI_PROJECT_DIR", &project);
                variables.insert(key.as_str().unwrap().to_owned(), value);
            }
        }
        variables.extend(
            settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let lines = ["before_script", "script"]
            .iter()
            .flat_map(|key| strings(job.get(*key)));
        Self {
            // How the runner's bash writer begins, then line by line.
            script: format!(
                "set -eo pipefail\nset +o noclobber\n{}\n",
                lines.collect::<Vec<_>>().join("\n")
            ),
            variables,
            artifacts: strings(job.get("artifacts").and_then(|artifacts| artifacts.get("paths"))),
            junit: strings(
                job.get("artifacts")
                    .and_then(|artifacts| artifacts.get("reports")?.get("junit")),
            ),
        }
    }

    /// Runs it in a copy of the project and collects its artifacts into a directory.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts the job")]
    fn run(&self) -> (Output, tempfile::TempDir) {
        let (scratch, collected) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let script = collected.path().join("job.sh");
        std::fs::write(&script, &self.script).unwrap();
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--propagation", "private", "bash", "-c", COPY, "copy"])
            .args([&project(), scratch.path(), collected.path(), &script])
            .args(&self.artifacts)
            .env_clear()
            .envs(of_the_machine())
            .envs(&self.variables);
        (unshare.output().unwrap(), collected)
    }
}

/// Arguments: project, scratch directory, where artifacts go, script, paths of artifacts.
const COPY: &str = r#"
set -eu
project=$1 scratch=$2 collected=$3 script=$4
shift 4
mount -t tmpfs scratch "$scratch"
mkdir "$scratch/upper" "$scratch/work"
mount -t overlay copy -o "lowerdir=$project,upperdir=$scratch/upper,workdir=$scratch/work" "$project"
cd "$project"
rm -rf "$@"
code=0
bash "$script" || code=$?
for path; do if [ -e "$path" ]; then cp -r --parents "$path" "$collected"; fi; done
exit $code
"#;

/// Where this machine keeps its tools; a runner's own environment has the same.
#[expect(clippy::disallowed_methods, reason = "a job inherits the machine's tools")]
fn of_the_machine() -> BTreeMap<String, String> {
    let names = ["PATH", "HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"];
    names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// Where cargo keeps what it downloads on this machine: a runner's administrator would set the same, so that a job need not download it.
#[expect(clippy::disallowed_methods, reason = "the job uses what is there")]
fn cargo_home() -> String {
    std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap_or_default()))
}

/// A job of the file by its name.
fn of<'a>(file: &'a Mapping, name: &str) -> &'a Mapping {
    file.get(name).and_then(Value::as_mapping).unwrap()
}

/// What `extends` makes of two jobs: tables are merged, everything else is replaced.
fn merged(base: &Mapping, own: &Mapping) -> Mapping {
    let mut all = base.clone();
    for (key, value) in own {
        let value = match (all.get(key), value) {
            (Some(Value::Mapping(base)), Value::Mapping(own)) => Value::Mapping(merged(base, own)),
            (_, value) => value.clone(),
        };
        all.insert(key.clone(), value);
    }
    all
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_sequence).into_iter().flatten();
    items.map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Reads one of the reports that the merge request shows.
fn junit(path: &Path) -> Result<Report, Failed> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Report::deserialize_from_str(&text)?)
}

fn green() -> Result<(), Failed> {
    let home = cargo_home();
    let settings = [
        ("CARGO_HOME", home.as_str()),
        ("GATE_STEPS", "scenarios controls"),
        ("GATE_FILTER", "USE-01 NET-01"),
    ];
    let job = Job::of_file("gate", &settings);
    let (output, collected) = job.run();
    if !output.status.success() {
        return Err(told(&output).into());
    }
    let report = std::fs::read_to_string(collected.path().join("report/report.json"))?;
    let report: RunReport = serde_json::from_str(&report)?;
    let ids: Vec<&str> = report.scenarios.iter().map(|scenario| scenario.id.as_str()).collect();
    if ids != ["NET-01", "USE-01"] || report.fails() {
        return Err(format!("{ids:?}").into());
    }
    if job.junit.len() != 2 {
        return Err(format!("the merge request shows {:?}", job.junit).into());
    }
    for path in &job.junit {
        let junit = junit(&collected.path().join(path))?;
        let cases: Vec<_> = junit.test_suites.iter().flat_map(|suite| &suite.test_cases).collect();
        if cases.len() < 2 {
            return Err(format!("{path} has {} cases", cases.len()).into());
        }
    }
    Ok(())
}

fn red() -> Result<(), Failed> {
    let home = cargo_home();
    let settings = [
        ("CARGO_HOME", home.as_str()),
        ("GATE_STEPS", "scenarios controls"),
        ("GATE_FILTER", "USE-01"),
        ("GATE_DEFENCE", "none"),
    ];
    let (output, collected) = Job::of_file("gate", &settings).run();
    if output.status.code() != Some(1) {
        return Err(told(&output).into());
    }
    // It failed at the scenario, whose report is collected all the same.
    let junit = junit(&collected.path().join("report/junit.xml"))?;
    let failures = junit
        .test_suites
        .iter()
        .flat_map(|suite| &suite.test_cases)
        .filter(|case| {
            matches!(
                case.status,
                TestCaseStatus::NonSuccess {
                    kind: NonSuccessKind::Failure,
                    ..
                }
            )
        });
    if failures.count() != 1 || collected.path().join("report/controls").exists() {
        return Err(told(&output).into());
    }
    Ok(())
}

/// `ci/gate` itself, with the system's programs alone, which bring no cargo.
#[expect(clippy::disallowed_methods, reason = "the one place that starts the script")]
fn gate(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new("bash")
        .arg(project().join("ci/gate"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn expect(got: (Option<i32>, String), code: i32, text: &str) -> Result<(), Failed> {
    if got.0 == Some(code) && got.1.contains(text) {
        Ok(())
    } else {
        Err(format!("{:?}: {}", got.0, got.1).into())
    }
}

fn without_deny() -> Result<(), Failed> {
    let got = gate(&[("CI", "true"), ("GATE_STEPS", "deny")]);
    expect(got, 3, "cargo-deny is not installed")?;
    expect(gate(&[("CI", "true")]), 3, "cargo-deny is not installed")
}

fn unknown_step() -> Result<(), Failed> {
    expect(
        gate(&[("GATE_STEPS", "scenarios prayer")]),
        2,
        "there is no step prayer",
    )
}

fn part_of_a_release() -> Result<(), Failed> {
    for part in [
        ("GATE_STEPS", "format"),
        ("GATE_FILTER", "USE"),
        ("GATE_DEFENCE", "none"),
    ] {
        let got = gate(&[("CI", "true"), ("CI_COMMIT_TAG", "v1.0.0"), part]);
        expect(got, 2, "a release takes all of it")?;
    }
    Ok(())
}
