//! Somebody else's proxy under test, through the real command line: what holds, what turns red, and what a person reads when it does not start. Needs the lab.
//!
//! weak-proxy stands for such a proxy: with `--by-variable` it knows no policy, and one switch opens a hole that public proxies have.

#![expect(clippy::unwrap_used, reason = "a test may end the program")]

mod need;

use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::ambient::Ambient;
use scenarios::report::RunReport;
use scenarios::verdict::Judgement;

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let ambient = Ambient::read().unwrap();
    let ignored = need::is_ignored(&ambient, &scenarios::cli::lacks(&ambient));
    let tests: [(&str, Test); 8] = [
        ("a_sound_proxy_holds_on_the_default_bridge", sound),
        (
            "what_the_documented_rule_misses_is_red_and_complete_rules_show_the_proxy_itself",
            rules,
        ),
        ("a_role_route_that_falls_through_is_found", single_segment),
        ("an_authors_variable_that_wins_is_found", last_wins),
        ("a_report_is_replayed_with_the_same_proxy", replayed),
        ("a_proxy_that_dies_is_told_with_the_end_of_its_log", dies),
        ("a_proxy_that_never_listens_is_told", silent),
        ("a_person_can_ask_from_a_job_behind_it", shell),
    ];
    let mut trials: Vec<Trial> = tests
        .into_iter()
        .map(|(name, test)| need::lab(Trial::test(name, test), ignored))
        .collect();
    // The image comes from the machine's own engine, which nothing else here needs.
    let has_engine = docker(&["version"], Stdio::null()).is_ok() || ambient.require_lab;
    trials.push(need::lab(
        Trial::test("an_image_is_put_under_test", image),
        ignored || !has_engine,
    ));
    libtest_mimic::run(&arguments, trials).exit_code()
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

#[expect(clippy::disallowed_methods, reason = "the one program that these tests run")]
fn scenarios(arguments: &[&str]) -> Ended {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_scenarios"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// Beside the program of these tests; `ci/test` and `cargo test --workspace` build it.
fn weak_proxy(switches: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_scenarios")).with_file_name("weak-proxy");
    format!(
        "env DEFAULT_ACCOUNT_ID=123456789012 '{}' --by-variable {switches}",
        program.display()
    )
}

/// Runs scenarios against a proxy, and gives how it ended and what the report holds.
fn run(filter: &[&str], more: &[&str]) -> Result<(Ended, RunReport, String), Failed> {
    let directory = tempfile::tempdir()?;
    let report = directory.path().to_str().unwrap();
    let words = [&["run", "--quiet", "--report", report], filter, more].concat();
    let ended = scenarios(&words);
    let file = directory.path().join("report.json");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}\n{ended:?}", file.display()))?;
    let log = std::fs::read_to_string(directory.path().join("proxy.log"))?;
    Ok((ended, serde_json::from_str(&text)?, log))
}

fn judged(report: &RunReport) -> Vec<(&str, Judgement)> {
    let each = report.scenarios.iter();
    each.map(|scenario| (scenario.id.as_str(), scenario.judgement))
        .collect()
}

fn expect(what: bool, otherwise: impl std::fmt::Debug) -> Result<(), Failed> {
    if what {
        Ok(())
    } else {
        Err(format!("{otherwise:?}").into())
    }
}

const SOUND: [&str; 12] = [
    "HTTP-02", "HTTP-04", "HTTP-17", "HTTP-39", "IDENT-37", "IMG-01", "LIFE-01", "LIFE-17", "NET-14", "ROLE-01",
    "ROLE-02", "USE-01",
];

fn sound() -> Result<(), Failed> {
    let (ended, report, log) = run(
        &[&SOUND[..], &["ATT-09"]].concat(),
        &["--proxy-command", &weak_proxy("")],
    )?;
    let judged = judged(&report);
    expect(
        judged == SOUND.map(|id| (id, Judgement::Holds)) && ended.code == Some(0),
        (&judged, &ended),
    )?;
    // What it has no question to is named with the reason, and the command stands in the report.
    let left_out: Vec<&str> = report.not_run.iter().map(|each| each.id.as_str()).collect();
    expect(
        left_out == ["ATT-09"] && ended.stdout.contains("not run against external, since only"),
        &ended,
    )?;
    let proxy = report.proxy.map(|proxy| proxy.describe()).unwrap_or_default();
    expect(proxy.contains("weak-proxy --by-variable"), &proxy)?;
    expect(log.contains("listening on http://") && log.contains("decided"), &log)
}

fn rules() -> Result<(), Failed> {
    let filter = ["NET-04", "NET-16"];
    let proxy = weak_proxy("");
    let (ended, report, _) = run(&filter, &["--proxy-command", &proxy])?;
    let documented = judged(&report);
    expect(
        documented == filter.map(|id| (id, Judgement::Leaks)) && ended.code == Some(1),
        (&documented, &ended),
    )?;
    let (ended, report, _) = run(&filter, &["--proxy-command", &proxy, "--proxy-rules", "complete"])?;
    let complete = judged(&report);
    expect(
        complete == filter.map(|id| (id, Judgement::Holds)) && ended.code == Some(0),
        (&complete, &ended),
    )
}

fn single_segment() -> Result<(), Failed> {
    let proxy = weak_proxy("--hole single-segment-role-route");
    let (ended, report, _) = run(&["HTTP-02", "USE-01"], &["--proxy-command", &proxy])?;
    let judged = judged(&report);
    let wanted = [("HTTP-02", Judgement::Leaks), ("USE-01", Judgement::Holds)];
    expect(judged == wanted && ended.code == Some(1), (&judged, &ended))
}

fn last_wins() -> Result<(), Failed> {
    let proxy = weak_proxy("--hole last-env-wins");
    let (ended, report, _) = run(
        &["ROLE-01", "HTTP-02"],
        &["--defence", "external", "--proxy-command", &proxy],
    )?;
    let judged = judged(&report);
    let wanted = [("HTTP-02", Judgement::Holds), ("ROLE-01", Judgement::Leaks)];
    expect(judged == wanted && ended.code == Some(1), (&judged, &ended))
}

fn replayed() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let report = directory.path().to_str().unwrap();
    let proxy = weak_proxy("--hole single-segment-role-route");
    let first = scenarios(&[
        "run",
        "HTTP-02",
        "--quiet",
        "--report",
        report,
        "--proxy-command",
        &proxy,
    ]);
    expect(first.code == Some(1), &first)?;
    let junit = std::fs::read_to_string(directory.path().join("junit.xml"))?;
    let html = std::fs::read_to_string(directory.path().join("report.html"))?;
    expect(
        junit.contains("single-segment-role-route") && html.contains("single-segment-role-route"),
        (&junit, &html),
    )?;
    let again = scenarios(&["replay", report]);
    expect(
        again.code == Some(1) && again.stdout.contains("the same verdicts as in the report"),
        &again,
    )?;
    // Where that program is gone, the person is told so.
    let file = directory.path().join("report.json");
    let text = std::fs::read_to_string(&file)?.replacen("\"env\"", "\"no-such-env\"", 1);
    std::fs::write(&file, text)?;
    let gone = scenarios(&["replay", report]);
    expect(
        gone.code == Some(2) && gone.stderr.contains("there is no program no-such-env in PATH"),
        &gone,
    )
}

fn dies() -> Result<(), Failed> {
    let dying = "sh -c 'echo reading the configuration; echo no policy here >&2; exit 7'";
    let ended = scenarios(&["run", "USE-01", "--quiet", "--proxy-command", dying]);
    let told = &ended.stderr;
    expect(
        ended.code == Some(3)
            && ended.stdout.is_empty()
            && told.contains("it ended (exit status: 7) before it listened on port 8000")
            && told.contains("reading the configuration")
            && told.contains("no policy here"),
        &ended,
    )
}

fn silent() -> Result<(), Failed> {
    let ended = scenarios(&[
        "run",
        "USE-01",
        "--quiet",
        "--proxy-command",
        "sh -c 'echo waiting for nothing; exec sleep 600'",
    ]);
    expect(
        ended.code == Some(3)
            && ended.stderr.contains("it did not listen on port 8000 within")
            && ended.stderr.contains("waiting for nothing"),
        &ended,
    )
}

fn shell() -> Result<(), Failed> {
    let ended = scenarios(&["shell", "--proxy-command", &weak_proxy(""), "--", "imds"]);
    expect(ended.code == Some(0) && ended.stdout.contains("= ROLE(own)"), &ended)
}

/// Runs the machine's own docker, which must succeed.
#[expect(clippy::disallowed_methods, reason = "the machine's own engine, as a person uses it")]
fn docker(arguments: &[&str], input: impl Into<Stdio>) -> Result<(), Failed> {
    let output = Command::new("docker").args(arguments).stdin(input).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("docker {arguments:?}: {told}").into())
    }
}

/// An image on the machine's engine, for as long as it is held.
struct Image(String);

impl Image {
    /// weak-proxy and the libraries that it needs, and nothing else. It tells callers apart by their addresses, as proxies in images do.
    #[expect(clippy::disallowed_methods, reason = "tar and ldd make what the engine imports")]
    fn make() -> Result<Self, Failed> {
        let name = format!("lab-test-weak-proxy:{}", std::process::id());
        let bin = Path::new(env!("CARGO_BIN_EXE_scenarios")).parent().unwrap();
        let listed = Command::new("ldd").arg(bin.join("weak-proxy")).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let libraries = listed.split_whitespace().filter_map(|word| word.strip_prefix('/'));
        // The SDK asserts on an empty store of authorities.
        let authorities = "etc/ssl/certs/ca-certificates.crt";
        let mut tar = Command::new("tar")
            .args(["--create", "--dereference", "--directory", "/"])
            .args(libraries)
            .arg(authorities)
            .arg("--directory")
            .arg(bin)
            .arg("weak-proxy")
            .stdout(Stdio::piped())
            .spawn()?;
        let archive = tar.stdout.take().unwrap();
        let image = Self(name);
        let start = r#"ENTRYPOINT ["/weak-proxy", "--by-variable", "--hole", "address-only"]"#;
        let imported = docker(&["import", "--change", start, "-", &image.0], archive);
        expect(tar.wait()?.success(), "tar fails")?;
        imported.map(|()| image)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(docker(&["rmi", "--force", &self.0], Stdio::null()));
    }
}

fn image() -> Result<(), Failed> {
    let image = Image::make()?;
    // Paused, stopped and killed; and the engine that it runs on is started again.
    let filter = ["AVAIL-20", "IDENT-17", "NET-08", "NET-14", "USE-01"];
    let (ended, report, log) = run(&filter, &["--proxy-rules", "complete", "--proxy-image", &image.0])?;
    let judged = judged(&report);
    let wanted = filter.map(|id| {
        (
            id,
            if id == "IDENT-17" {
                Judgement::Leaks
            } else {
                Judgement::Holds
            },
        )
    });
    expect(judged == wanted && ended.code == Some(1), (&judged, &ended))?;
    expect(log.contains("listening on http://"), &log)?;
    let missing = scenarios(&["run", "USE-01", "--quiet", "--proxy-image", "no-such-image:1"]);
    expect(
        missing.code == Some(3) && missing.stderr.contains("no-such-image:1"),
        &missing,
    )
}
