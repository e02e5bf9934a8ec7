//! What a person does with a lab that is up: looks at a run that is kept, makes requests at the prompt. Needs the lab.

#![expect(clippy::unwrap_used, reason = "a test may end the program")]

mod need;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::ambient::Ambient;

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let ambient = Ambient::read().unwrap();
    let ignored = need::is_ignored(&ambient, &scenarios::cli::lacks(&ambient));
    let tests: [(&str, Test); 5] = [
        ("a_kept_run_can_be_looked_at_until_its_input_ends", kept),
        ("a_kept_run_that_fails_fails", kept_failure),
        ("the_prompt_asks_from_the_job_container_and_tells_no_secret", prompt),
        ("one_command_needs_no_prompt", one_command),
        ("a_defence_can_be_chosen_at_the_prompt", other_defence),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| need::lab(Trial::test(name, test), ignored))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

#[expect(clippy::disallowed_methods, reason = "the one program that these tests run")]
fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_scenarios"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads the program's standard error up to the line that contains `end`, which must come.
fn told_up_to(child: &mut Child, end: &str) -> Result<String, Failed> {
    let mut told = String::new();
    for line in BufReader::new(child.stderr.as_mut().unwrap()).lines() {
        let line = line.unwrap();
        told.push_str(&line);
        told.push('\n');
        if line.contains(end) {
            return Ok(told);
        }
    }
    Err(format!("`{end}` was not told:\n{told}").into())
}

/// Asks an engine for the names of all its containers.
fn containers(socket: &Path) -> std::io::Result<String> {
    let mut engine = UnixStream::connect(socket)?;
    engine.write_all(b"GET /containers/json?all=1 HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = String::new();
    engine.read_to_string(&mut answer)?;
    Ok(answer)
}

fn engine_of(told: &str) -> Result<PathBuf, Failed> {
    told.split_once("DOCKER_HOST=unix://")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .map(PathBuf::from)
        .ok_or_else(|| format!("no engine is named:\n{told}").into())
}

/// Runs a kept scenario, looks, lets go, and gives the exit code.
fn look_at(arguments: &[&str]) -> Result<Option<i32>, Failed> {
    let mut child = start(arguments);
    let told = told_up_to(&mut child, "press Enter")?;
    let socket = engine_of(&told)?;
    let name = told
        .lines()
        .find_map(|line| line.split_once("a.build is "))
        .map(|(_, name)| name);
    let name = name.ok_or_else(|| format!("no container is named:\n{told}"))?;
    let there = containers(&socket)?;
    if !(there.contains(name) && there.contains("\"State\":\"running\"")) {
        return Err(format!("{name} does not run:\n{there}").into());
    }
    drop(child.stdin.take());
    let code = child.wait()?.code();
    if socket.exists() {
        return Err(format!("{} is left", socket.display()).into());
    }
    Ok(code)
}

fn kept() -> Result<(), Failed> {
    match look_at(&["run", "USE-01", "--keep", "--quiet"])? {
        Some(0) => Ok(()),
        other => Err(format!("ended with {other:?}").into()),
    }
}

fn kept_failure() -> Result<(), Failed> {
    match look_at(&["run", "USE-01", "--defence", "none", "--keep", "--quiet"])? {
        Some(1) => Ok(()),
        other => Err(format!("ended with {other:?}").into()),
    }
}

/// Runs the shell with these lines on its standard input.
fn shell(arguments: &[&str], lines: &str) -> (Option<i32>, String, String) {
    let mut child = start(arguments);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn expect(stdout: &str, parts: &[&str]) -> Result<(), Failed> {
    match parts.iter().find(|part| !stdout.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("no `{part}` in\n{stdout}").into()),
    }
}

fn prompt() -> Result<(), Failed> {
    let lines = "imds\nget /latest/meta-data/\nput /latest/api/token 'X-aws-ec2-metadata-token-ttl-seconds: 60' save=t\n\
        get /latest/meta-data/iam/security-credentials/ token=${saved.t}\nsdk\nenv\nip -brief address\ninterfaces\n\
        raw 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'\nfly\nreach\n";
    let (code, stdout, stderr) = shell(&["shell"], lines);
    if code != Some(0) {
        return Err(format!("ended with {code:?}\n{stdout}\n{stderr}").into());
    }
    if !stderr.contains("there is no `fly`") {
        return Err(format!("nonsense is not told:\n{stderr}").into());
    }
    expect(
        &stdout,
        &[
            "> PUT /latest/api/token HTTP/1.1",
            "> GET /latest/meta-data/iam/security-credentials/",
            "\"SecretAccessKey\" : \"**redacted**\"",
            "= ROLE(own)",
            "AWS_REGION=",
            "CI_JOB_ID=",
            "eth0",
            "gateway ",
        ],
    )?;
    let long_enough_for_a_token = |word: &str| word.starts_with("IQoJ") || word.starts_with("AQAEA");
    match stdout
        .split(['"', ' ', '\n'])
        .find(|word| long_enough_for_a_token(word))
    {
        None => Ok(()),
        Some(_) => Err("a token is told".into()),
    }
}

fn one_command() -> Result<(), Failed> {
    let (code, stdout, stderr) = shell(&["shell", "--", "get", "/latest/user-data"], "");
    if code != Some(0) || !stdout.contains("= DENY") {
        return Err(format!("ended with {code:?}\n{stdout}\n{stderr}").into());
    }
    let (code, _, stderr) = shell(&["shell", "--", "fly"], "");
    if code != Some(2) || !stderr.contains("there is no `fly`") {
        return Err(format!("ended with {code:?}\n{stderr}").into());
    }
    Ok(())
}

fn other_defence() -> Result<(), Failed> {
    let (code, stdout, stderr) = shell(&["shell", "--defence", "none"], "imds 1\nexit\nfly\n");
    if code != Some(0) || stderr.contains("fly") {
        return Err(format!("ended with {code:?}\n{stderr}").into());
    }
    expect(
        &stdout,
        &["= LEAK(host-role)", "\"SecretAccessKey\" : \"**redacted**\""],
    )
}
