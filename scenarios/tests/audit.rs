//! `scenarios audit` as a job runs it: the program is copied into a job's container and asks what is open there. Needs the lab.

#![expect(clippy::unwrap_used, reason = "a test may end the program")]

mod need;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::UploadToContainerOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use futures_util::StreamExt as _;
use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::ambient::Ambient;
use scenarios::audit::report::{Report, State};

type Test = fn() -> Result<(), Failed>;

/// How long the engine may take for anything, in seconds.
const PATIENCE: u64 = 60;
/// The role that the prompt's job is sanctioned for, as `none` must not be able to give it.
const OWN: &str = "use-00-own";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let ambient = Ambient::read().unwrap();
    let ignored = need::is_ignored(&ambient, &scenarios::cli::lacks(&ambient));
    let tests: [(&str, Test); 4] = [
        ("without_a_defence_the_hosts_role_is_open_in_both_versions", open),
        ("behind_the_firewall_nothing_is_open", firewalled),
        ("behind_the_proxy_only_the_sanctioned_role_is_open", proxied),
        ("a_hop_limit_keeps_the_token_and_the_audit_says_so", hop_limited),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| need::lab(Trial::test(name, test), ignored))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A job container behind a defence, for as long as the prompt's input is open: it ends when this is dropped, also when a test fails.
struct Job {
    shell: Child,
    docker: Docker,
    container: String,
}

impl Drop for Job {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// What an audit in the container came to.
struct Audited {
    code: Option<i64>,
    stdout: String,
    stderr: String,
}

impl Job {
    #[expect(clippy::disallowed_methods, reason = "the one program that these tests run")]
    async fn behind(defence: &str) -> Result<Self, Failed> {
        let program = env!("CARGO_BIN_EXE_scenarios");
        let mut shell = Command::new(program)
            .args(["shell", "--defence", defence])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut told = String::new();
        let stderr = shell.stderr.take().ok_or("no standard error")?;
        for line in BufReader::new(stderr).lines() {
            told.push_str(&line?);
            told.push('\n');
            if told.contains("`help` lists") {
                break;
            }
        }
        let between = |before: &str, after: &str| {
            let (_, rest) = told.split_once(before)?;
            rest.split_once(after).map(|(found, _)| found.to_owned())
        };
        let container = between("in the container ", ",");
        let socket = between("DOCKER_HOST=", " ");
        let docker = socket.and_then(|socket| Docker::connect_with_unix(&socket, PATIENCE, API_DEFAULT_VERSION).ok());
        let (Some(container), Some(docker)) = (container, docker) else {
            drop(shell.stdin.take());
            shell.wait()?;
            return Err(format!("no container is named:\n{told}").into());
        };
        let job = Self {
            shell,
            docker: docker.negotiate_version().await?,
            container,
        };
        job.copy(program).await?;
        Ok(job)
    }

    /// Puts the program where a pipeline's author would.
    async fn copy(&self, program: &str) -> Result<(), Failed> {
        let mut archive = tar::Builder::new(Vec::new());
        // The engine knows no sparse files.
        archive.sparse(false);
        archive.append_path_with_name(program, "scenarios")?;
        let options = UploadToContainerOptionsBuilder::default().path("/bin").build();
        let body = body_full(archive.into_inner()?.into());
        self.docker
            .upload_to_container(&self.container, Some(options), body)
            .await?;
        Ok(())
    }

    async fn audit(&self, more: &[&str]) -> Result<Audited, Failed> {
        let command = [&["/bin/scenarios", "audit"], more].concat();
        let options = CreateExecOptions {
            cmd: Some(command.into_iter().map(str::to_owned).collect()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.docker.create_exec(&self.container, options).await?.id;
        let (mut stdout, mut stderr) = (String::new(), String::new());
        if let StartExecResults::Attached { mut output, .. } = self.docker.start_exec(&exec, None).await? {
            while let Some(piece) = output.next().await {
                let piece = piece?;
                let text = String::from_utf8_lossy(piece.as_ref()).into_owned();
                match piece {
                    LogOutput::StdErr { .. } => stderr.push_str(&text),
                    _ => stdout.push_str(&text),
                }
            }
        }
        let code = self.docker.inspect_exec(&exec).await?.exit_code;
        Ok(Audited { code, stdout, stderr })
    }
}

impl Audited {
    /// It ended so, told no secret, and its report.
    fn report(&self, code: i64) -> Result<Report, Failed> {
        self.ended(code)?;
        Ok(serde_json::from_str(&self.stdout)?)
    }

    fn ended(&self, code: i64) -> Result<(), Failed> {
        if self.code != Some(code) {
            return Err(format!("ended with {:?}\n{}\n{}", self.code, self.stdout, self.stderr).into());
        }
        let of_a_secret =
            |word: &str| word.starts_with("IQoJ") || word.starts_with("AQAEA") || word.starts_with("ASIA");
        let told = self.stdout.split(['"', ' ', '\n', '…']).chain(self.stderr.split(' '));
        match told.into_iter().find(|word| of_a_secret(word)) {
            None => Ok(()),
            Some(_) => Err("a credential is told".into()),
        }
    }
}

fn block_on(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(test)
}

/// The ways in this state, each with its verdict.
fn all(report: &Report, state: State) -> Vec<String> {
    let those = report.ways.iter().filter(|way| way.state == state);
    those
        .map(|way| match &way.verdict {
            Some(verdict) => format!("{} {verdict}", way.way),
            None => way.way.clone(),
        })
        .collect()
}

fn must_be(got: &[String], expected: &[&str]) -> Result<(), Failed> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("{got:#?}\nare not\n{expected:#?}").into())
    }
}

/// What a job of the lab has wherever it runs: an STS of the lab's, and Docker's default capabilities.
const NOTICES: [&str; 2] = ["sdk-elsewhere", "spoofing"];

fn open() -> Result<(), Failed> {
    block_on(async {
        let job = Job::behind("none").await?;
        let report = job.audit(&["--format", "json"]).await?.report(1)?;
        must_be(
            &all(&report, State::Open),
            &[
                "imds-v1 ROLE(lab-host)",
                "imds-v2 ROLE(lab-host)",
                "imds-v1-ipv6 ROLE(lab-host)",
                "imds-v2-ipv6 ROLE(lab-host)",
                "iam-info LEAK(iam-info)",
                "identity-credentials LEAK(identity-credentials)",
                "user-data LEAK(user-data)",
                "identity-document LEAK(identity-document)",
                "tags LEAK(tags)",
            ],
        )?;
        must_be(
            &all(&report, State::Notice),
            &["hop-limit", "sdk-elsewhere", "spoofing"],
        )?;
        must_be(&all(&report, State::Unknown), &[])?;
        // Another role than the one that was sanctioned is as open.
        job.audit(&["--expect", OWN]).await?.ended(1)?;
        let wrong = job.audit(&["--allow", "fly"]).await?;
        wrong.ended(2)?;
        if !wrong.stderr.contains("no way `fly`") {
            return Err(wrong.stderr.into());
        }
        Ok(())
    })
}

fn firewalled() -> Result<(), Failed> {
    block_on(async {
        let job = Job::behind("firewall").await?;
        let report = job.audit(&["--expect", "none", "--format", "json"]).await?.report(0)?;
        must_be(&all(&report, State::Notice), &NOTICES)?;
        let answered = report.ways.iter().find(|way| {
            let is_asked = way.verdict.is_some();
            is_asked
                && way
                    .verdict
                    .as_ref()
                    .is_some_and(|verdict| verdict.to_string() != "BLOCKED")
        });
        match answered {
            None => Ok(()),
            Some(way) => Err(format!("{} is answered: {way:?}", way.way).into()),
        }
    })
}

fn proxied() -> Result<(), Failed> {
    block_on(async {
        let job = Job::behind("proxy").await?;
        let report = job
            .audit(&["--expect", OWN, "--identify", "--format", "json"])
            .await?
            .report(0)?;
        let own = |way: &str| format!("{way} ROLE({OWN})");
        let sanctioned = [own("imds-v2"), own("imds-v2-ipv6"), own("sdk")];
        must_be(
            &all(&report, State::Sanctioned),
            &sanctioned.each_ref().map(String::as_str),
        )?;
        must_be(&all(&report, State::Notice), &NOTICES)?;
        must_be(&all(&report, State::Open), &[])?;
        must_be(&all(&report, State::Unknown), &[])?;
        let unsanctioned = job.audit(&["--expect", "none"]).await?;
        unsanctioned.ended(1)?;
        if unsanctioned.stdout.contains(&format!("ROLE({OWN})")) && unsanctioned.stdout.contains("--expect ROLE") {
            Ok(())
        } else {
            Err(unsanctioned.stdout.into())
        }
    })
}

fn hop_limited() -> Result<(), Failed> {
    block_on(async {
        let job = Job::behind("hop-limit").await?;
        let report = job.audit(&["--format", "json"]).await?.report(0)?;
        let told = |name: &str| {
            let way = report.ways.iter().find(|way| way.way == name);
            way.map(|way| format!("{:?} {}", way.verdict, way.note))
                .unwrap_or_default()
        };
        must_be(
            &["imds-v1", "imds-v2", "hop-limit"].map(told),
            &[
                "Some(Deny) status 401",
                "Some(Silent) PUT unanswered",
                "None ends before here",
            ],
        )
    })
}
