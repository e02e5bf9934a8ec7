//! A running fake-sts, its control API, and SDK clients for it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_async::time::StaticTimeSource;
use serde_json::{Value, json};

pub(crate) const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[role]]
name = "lab-host"
max_session_seconds = 43200
trust = { Statement = { Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" } }
policy = { Statement = { Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" } }

[[role]]
name = "deploy"
trust = { Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/lab-host" }, Action = "sts:AssumeRole", Condition = { StringEquals = { "sts:ExternalId" = "secret-7" } } } }
policy = { Statement = { Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" } }

[[role]]
name = "next"
trust = { Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/deploy" }, Action = "sts:AssumeRole" } }

[[role]]
name = "closed"
trust = { Statement = { Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" } }

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
"#;

/// The binary.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests start the real program, here and nowhere else"
)]
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fake-sts"))
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// A running fake; ends when dropped.
pub(crate) struct Fake {
    process: Child,
    pub(crate) endpoint: String,
    control: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Fake {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_whole(WORLD, arguments)
    }

    pub(crate) fn start_in(world: &str) -> Self {
        Self::start_whole(world, &[])
    }

    /// What `--control` of the subcommands takes.
    pub(crate) fn control_argument(&self) -> String {
        format!("unix:{}", self.folder.path().join("control.sock").display())
    }

    /// Without `--world`.
    pub(crate) fn start_built_in() -> Self {
        Self::start_anyhow(tempfile::tempdir().unwrap(), &[])
    }

    pub(crate) fn start_whole(text: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = folder.path().join("world.toml");
        std::fs::write(&world, text).unwrap();
        Self::start_anyhow(folder, &[&["--world", world.to_str().unwrap()], arguments].concat())
    }

    fn start_anyhow(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let socket = folder.path().join("control.sock");
        let mut process = program()
            .args([
                "--listen",
                "127.0.0.1:0",
                "--control",
                &format!("unix:{}", socket.display()),
            ])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let endpoint = lines
            .next()
            .unwrap()
            .unwrap()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        assert!(lines.next().unwrap().unwrap().starts_with("listening on unix:"));
        let control = reqwest::Client::builder().unix_socket(socket).build().unwrap();
        Self {
            process,
            endpoint,
            control,
            folder,
        }
    }

    /// Asks it to stop and returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().unwrap();
        let request = self.control.request(method, format!("http://fake{path}"));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn ledger(&self) -> Vec<Value> {
        let (_, page) = self.control("GET", "/ledger?since=0", Value::Null).await;
        page["entries"].as_array().unwrap().clone()
    }

    /// Facts of the last request.
    pub(crate) async fn last_facts(&self) -> Value {
        self.ledger().await.last().unwrap()["facts"].clone()
    }

    pub(crate) async fn fault(&self, matches: Value, effect: Value) {
        let (status, answer) = self
            .control(
                "POST",
                "/faults",
                json!({ "match": matches, "times": 1, "effect": effect }),
            )
            .await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Credentials of the instance, as EC2 hands them out.
    pub(crate) async fn host(&self) -> Credentials {
        let wanted = json!({
            "role_arn": "arn:aws:iam::123456789012:role/lab-host",
            "session_name": "i-0123456789abcdef0",
            "via": "instance-profile",
            "duration_seconds": 21600,
            "canary": "host-role"
        });
        let (status, answer) = self.control("POST", "/credentials", wanted).await;
        assert_eq!(status, 200, "{answer}");
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Credentials::new(
            text("access_key_id"),
            text("secret_access_key"),
            Some(text("session_token")),
            None,
            "test",
        )
    }

    pub(crate) fn client(&self, credentials: Credentials) -> Client {
        self.client_at(credentials, None)
    }

    /// A client whose clock is that far ahead of the machine's.
    pub(crate) fn client_at(&self, credentials: Credentials, ahead: Option<Duration>) -> Client {
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(&self.endpoint)
            .retry_config(RetryConfig::disabled())
            .credentials_provider(credentials);
        if let Some(ahead) = ahead {
            config = config.time_source(StaticTimeSource::new(machine_time() + ahead));
        }
        Client::from_conf(config.build())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test runs on the machine's clock"
)]
fn machine_time() -> SystemTime {
    SystemTime::now()
}

pub(crate) fn alice() -> Credentials {
    Credentials::new(
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        None,
        None,
        "test",
    )
}

/// The keys in an answer of AssumeRole.
pub(crate) fn keys(answer: &aws_sdk_sts::operation::assume_role::AssumeRoleOutput) -> Credentials {
    let keys = answer.credentials().unwrap();
    let token = Some(keys.session_token().to_owned());
    Credentials::new(keys.access_key_id(), keys.secret_access_key(), token, None, "test")
}

/// Status and code of an SDK error.
pub(crate) fn refusal<E>(error: &SdkError<E>) -> (u16, String)
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(response) = error.raw_response() else {
        panic!("{}", DisplayErrorContext(error))
    };
    (response.status().as_u16(), error.code().unwrap_or_default().to_owned())
}

/// What a process wrote to a pipe.
pub(crate) fn text(mut pipe: impl std::io::Read) -> String {
    let mut text = String::new();
    BufReader::new(&mut pipe).read_to_string(&mut text).unwrap();
    text
}
