//! What runs in a job's container: the usual flow of a client, told line by line.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const WAIT: Duration = Duration::from_secs(5);
const LIST: &str = "/latest/meta-data/iam/security-credentials/";

/// Where a job that asks on keeps what it met.
pub(crate) const RECORDS: &str = "/records";
/// Between two rounds of a job that asks on: a client does not ask as fast as it can.
const PACE: Duration = Duration::from_millis(5);
/// Rounds of a job that nobody ends. Its container is removed long before.
const ROUNDS_MAX: usize = 100_000;

/// One request and what came of it; status 0 if there was no connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Step {
    /// The body, to a client that looks at the status: what refuses is neither token nor role.
    fn given(&self) -> &str {
        if self.status == 200 { &self.body } else { "" }
    }
}

/// Paths of harmless values, and such as a lenient service would take for something else.
pub(crate) const VALUES: [&str; 8] = [
    "/latest/meta-data/placement/availability-zone",
    "/latest/meta-data/placement/availability-zone/",
    "/2021-07-15/meta-data/instance-type",
    "/latest/meta-data/instance-id",
    "/latest/meta-data/placement/availability-zone/../../iam/security-credentials/lab-host",
    "/latest/meta-data/%2e/instance-type",
    "//latest/meta-data/instance-type",
    "/latest/user-data",
];

/// Runs until somebody ends it, and asks for nothing.
pub(crate) fn idle() -> ExitCode {
    loop {
        std::thread::park();
    }
}

/// Asks for values of the instance.
pub(crate) fn values() -> ExitCode {
    let Ok(address) = "169.254.169.254:80".parse() else {
        return ExitCode::FAILURE;
    };
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let token = ask(address, "token", "PUT", "/latest/api/token", ttl);
    let token = format!("X-aws-ec2-metadata-token: {token}");
    for path in VALUES {
        ask(address, path, "GET", path, &token);
    }
    ExitCode::SUCCESS
}

/// Asks the endpoint for containers, with a token that was given or one of its own.
pub(crate) fn container(token: Option<&String>) -> ExitCode {
    let (Ok(metadata), Ok(address)) = ("169.254.169.254:80".parse(), "169.254.170.2:80".parse()) else {
        return ExitCode::FAILURE;
    };
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let own = ask(metadata, "token", "PUT", "/latest/api/token", ttl);
    let authorization = format!("Authorization: {}", token.unwrap_or(&own));
    ask(address, "credentials", "GET", "/v1/credentials", &authorization);
    ask(address, "unauthorized", "GET", "/v1/credentials", "Accept: */*");
    ask(address, "list", "GET", LIST, &authorization);
    ExitCode::SUCCESS
}

/// Asks for credentials again and again, its own and the host's, and keeps a record that outlives its container.
pub(crate) fn ask_on(name: Option<&String>) -> ExitCode {
    let file = name.map(|name| {
        File::options()
            .append(true)
            .create(true)
            .open(Path::new(RECORDS).join(name))
    });
    let (Some(Ok(mut record)), Ok(address)) = (file, "169.254.169.254:80".parse()) else {
        return ExitCode::FAILURE;
    };
    for _ in 0..ROUNDS_MAX {
        let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
        let token = step(address, "token", "PUT", "/latest/api/token", ttl);
        let header = format!("X-aws-ec2-metadata-token: {}", token.given());
        let list = step(address, "list", "GET", LIST, &header);
        let role = if list.given().is_empty() { "none" } else { list.given() };
        let credentials = step(address, "credentials", "GET", &format!("{LIST}{role}"), &header);
        let other = step(address, "other", "GET", &format!("{LIST}lab-host"), &header);
        for step in [token, list, credentials, other] {
            if tell(&step, &mut record).is_err() {
                return ExitCode::FAILURE;
            }
        }
        std::thread::park_timeout(PACE);
    }
    ExitCode::SUCCESS
}

pub(crate) fn main() -> ExitCode {
    for endpoint in ["169.254.169.254:80", "[fd00:ec2::254]:80"] {
        let Ok(address) = endpoint.parse() else {
            return ExitCode::FAILURE;
        };
        let token = ask(
            address,
            "token",
            "PUT",
            "/latest/api/token",
            "X-aws-ec2-metadata-token-ttl-seconds: 60",
        );
        let token = format!("X-aws-ec2-metadata-token: {token}");
        let role = ask(address, "list", "GET", LIST, &token);
        ask(address, "credentials", "GET", &format!("{LIST}{role}"), &token);
        ask(address, "other", "GET", &format!("{LIST}lab-host"), &token);
        ask(address, "user-data", "GET", "/latest/user-data", &token);
        ask(address, "v1", "GET", LIST, "Accept: */*");
    }
    ExitCode::SUCCESS
}

fn ask(endpoint: SocketAddr, name: &str, method: &str, path: &str, header: &str) -> String {
    let step = step(endpoint, name, method, path, header);
    drop(tell(&step, &mut io::stdout().lock()));
    step.given().to_owned()
}

fn step(endpoint: SocketAddr, name: &str, method: &str, path: &str, header: &str) -> Step {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {endpoint}\r\n{header}\r\nConnection: close\r\n\r\n");
    let (status, body) = exchange(endpoint, &request).unwrap_or_default();
    Step {
        name: name.to_owned(),
        status,
        body,
    }
}

/// One line, written at once.
fn tell(step: &Step, to: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(step)?;
    line.push(b'\n');
    to.write_all(&line)
}

fn exchange(endpoint: SocketAddr, request: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&endpoint, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    Ok((status, body))
}
