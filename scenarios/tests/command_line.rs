//! The command-line contract: exit codes, and what a person reads when something is wrong. Nothing here needs the lab.

#![expect(clippy::unwrap_used, reason = "a test may end the program")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with an empty environment but for `PATH`.
#[expect(clippy::disallowed_methods, reason = "the one program that these tests run")]
fn scenarios(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_scenarios"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(arguments)
        .output()
        .unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// A directory of cases with one file in it.
fn cases(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("net/NET-99-broken");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("case.toml"), text).unwrap();
    directory
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_broken_case_file_is_usage_and_every_fault_is_told_at_once() {
    let broken = cases(
        "id = \"NET-98\"\nname = \"broken\"\ntitle = \"\"\ndoc = \"\"\n[[step]]\nin = \"nobody.build\"\ndo = \"fly\"\n[expect]\nproxy = [\"MAYBE\"]\n[hole]\nweak = [\"no-such\"]\n",
    );
    let (code, stdout, stderr) = scenarios(&["run", "--cases", text(broken.path())]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    for part in [
        "case.toml:2: name",
        "case.toml:7: step[0].do",
        "case.toml:9: expect.proxy[0]",
        "case.toml:11: hole.weak[0]",
    ] {
        assert!(stderr.contains(part), "no fault at {part}\n{stderr}");
    }
}

#[test]
fn a_filter_that_matches_nothing_is_told_apart() {
    for command in ["run", "controls", "list"] {
        let (code, _, stderr) = scenarios(&[command, "NO-SUCH"]);
        assert_eq!(code, Some(4), "{command}: {stderr}");
        assert!(stderr.contains("no scenario matches"), "{stderr}");
    }
    assert_eq!(scenarios(&["explain", "NO-99"]).0, Some(4));
}

#[test]
fn a_wrong_command_line_is_usage() {
    for arguments in [
        &["run", "--defence", "prayer"][..],
        &["run", "--shard", "3/2"],
        &["fly"],
        &[],
    ] {
        let (code, stdout, stderr) = scenarios(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
    }
    assert_eq!(scenarios(&["--help"]).0, Some(0));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program is run as another user")]
fn who_may_not_run_the_lab_is_told_what_to_do() {
    // A copy that everybody may read: the build directory may be root's own.
    let directory = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap();
    let program = directory.path().join("scenarios");
    std::fs::copy(env!("CARGO_BIN_EXE_scenarios"), &program).unwrap();
    let cases = directory.path().join("cases");
    copy_case(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases"), &cases);
    for command in [&["doctor"][..], &["run", "NET-01"], &["controls", "NET-01"]] {
        let mut run = if is_root() {
            let mut run = Command::new("setpriv");
            run.args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(&program);
            run
        } else {
            Command::new(&program)
        };
        let output = run
            .args(command)
            .arg("--cases")
            .arg(&cases)
            .current_dir(directory.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(3), &b""[..]),
            "{command:?}: {stderr}"
        );
        assert!(stderr.contains("root (remedy: run as root (sudo -E))"), "{stderr}");
        assert!(stderr.contains("cargo build --workspace --bins"), "{stderr}");
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// One case is enough to get as far as the machine.
fn copy_case(from: &Path, to: &Path) {
    let case = "net/NET-01-imdsv1-from-every-container";
    std::fs::create_dir_all(to.join(case)).unwrap();
    std::fs::copy(from.join(case).join("case.toml"), to.join(case).join("case.toml")).unwrap();
}

#[test]
fn the_list_is_machine_readable_and_names_every_case() {
    let (code, stdout, _) = scenarios(&["list", "--format", "json"]);
    assert_eq!(code, Some(0));
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    assert!(rows.len() >= 42);
    assert!(rows.iter().all(
        |row| (row["expect"]["proxy"].is_string() || row["expect"]["oidc"].is_string()) && row["title"].is_string()
    ));
    let is_empty = |hole: &serde_json::Value| hole.as_array().is_some_and(Vec::is_empty);
    let opens_nothing = |row: &serde_json::Value| row["hole"].as_object().unwrap().values().all(is_empty);
    assert!(!rows.iter().any(opens_nothing));
    let plain = scenarios(&["list"]).1;
    assert_eq!(plain.lines().count(), rows.len());
}

#[test]
fn what_is_about_another_defence_is_said_so() {
    let (code, _, stderr) = scenarios(&["run", "OIDC-02"]);
    assert_eq!(code, Some(4));
    assert_eq!(
        stderr.trim(),
        "error: OIDC-02 says nothing of this defence; add --defence oidc"
    );
    let (_, stdout, _) = scenarios(&["explain", "oidc-12"]);
    assert!(stdout.contains("fake-sts --skip-check key-id"), "{stdout}");
    let (_, stdout, _) = scenarios(&["explain", "oidc-02"]);
    assert!(stdout.contains("policy 1 of the hole, for the role own"), "{stdout}");
}

#[test]
fn an_explanation_fits_a_terminal_and_says_what_stops_it() {
    let (code, stdout, _) = scenarios(&["explain", "role-02"]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("ROLE-02"));
    assert!(
        stdout.contains("What stops it") && stdout.contains("weak-proxy --hole first-env-wins"),
        "{stdout}"
    );
    let (_, list, _) = scenarios(&["list", "--format", "json"]);
    let cases: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    for id in cases.iter().filter_map(|case| case.get("id")?.as_str()) {
        let (_, explained, _) = scenarios(&["explain", id]);
        // An address is not broken.
        let too_wide = |line: &&str| line.chars().count() > 100 && line.trim().contains(' ');
        assert_eq!(explained.lines().find(too_wide), None, "{id}");
    }
}

#[test]
fn keeping_more_than_a_person_can_look_at_is_refused_before_anything_is_built() {
    for command in ["run", "controls"] {
        let (code, stdout, stderr) = scenarios(&[command, "--keep"]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains("name the ones to look at, 16 at most"), "{stderr}");
    }
}

#[test]
fn a_proxy_that_cannot_be_put_under_test_is_usage_and_says_what_to_give() {
    for (arguments, part) in [
        (
            &["--defence", "external"][..],
            "say which with --proxy-command CMD or --proxy-image IMAGE",
        ),
        (
            &["--proxy-command", "no-such-proxy --flag"],
            "there is no program no-such-proxy in PATH",
        ),
        (
            &["--proxy-command", "./no-such-proxy"],
            "there is no program ./no-such-proxy",
        ),
        (&["--proxy-command", "sh 'x"], "--proxy-command: a quote is not closed"),
        (&["--proxy-command", " "], "--proxy-command: it is empty"),
        (&["--proxy-command", "sh", "--defence", "none"], "add it to --defence"),
        (&["--proxy-rules", "complete"], "name it with --proxy-command CMD"),
        (&["--proxy-image", "x", "--proxy-command", "sh"], "cannot be used with"),
    ] {
        let (code, stdout, stderr) = scenarios(&[&["run", "USE-01"], arguments].concat());
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) = scenarios(&["shell", "--defence", "external", "--", "imds"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("say which with --proxy-command CMD"), "{stderr}");
}

#[test]
fn what_has_no_question_to_an_external_proxy_says_why() {
    let (code, _, stderr) = scenarios(&["run", "OIDC-02", "--proxy-command", "sh"]);
    assert_eq!(code, Some(4));
    assert_eq!(
        stderr.trim(),
        "error: OIDC-02 is not run against external: it is about ID tokens and what roles trust: no proxy takes part"
    );
}

#[test]
fn a_command_that_the_prompt_does_not_know_is_usage() {
    let (code, stdout, stderr) = scenarios(&["shell", "--", "fly"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("there is no `fly`: say `help`"), "{stderr}");
}

#[test]
fn an_audit_outside_a_job_sends_nothing_and_says_why() {
    let (code, stdout, stderr) = scenarios(&["audit"]);
    assert_eq!((code, stdout.as_str()), (Some(3), ""), "{stderr}");
    assert!(stderr.contains("no CI job") && stderr.contains("--anyway"), "{stderr}");
    assert_eq!(scenarios(&["audit", "--allow", "fly"]).0, Some(2));
    assert_eq!(scenarios(&["audit", "--format", "xml"]).0, Some(2));
    let (code, help, _) = scenarios(&["audit", "--help"]);
    assert_eq!(code, Some(0));
    for told in ["What it sends", "What it never   prints", "--expect", "169.254.170.23"] {
        assert!(help.contains(told), "{told}");
    }
    assert_eq!(help.lines().find(|line| line.chars().count() > 100), None);
}
