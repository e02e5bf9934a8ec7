//! What runs in a job's container: the flow of an SDK, told a line a step.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::{Value, json};

/// The last line.
pub(crate) const END: &str = "the job has ended";
/// Longer than an answer takes on a machine that is busy.
const WAIT: Duration = Duration::from_secs(20);
const LIST: &str = "/latest/meta-data/iam/security-credentials/";
/// What a job asks for that was told no role: it may know the name.
const ROLE: &str = "deploy";

/// One request and what came of it; status 0 if there was no answer.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Step {
    pub(crate) fn read(line: &str) -> Result<Self, Failed> {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let status = value.get("status").and_then(Value::as_u64).unwrap_or_default();
        Ok(Self {
            name: text("name"),
            status: status.try_into()?,
            body: text("body"),
        })
    }
}

pub(crate) fn main(endpoint: &str) -> ExitCode {
    let Ok(endpoint) = endpoint.parse() else {
        return ExitCode::FAILURE;
    };
    let lifetime = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let token = tell(endpoint, "token", "PUT", "/latest/api/token", lifetime).unwrap_or_default();
    let token = format!("X-aws-ec2-metadata-token: {token}");
    let role = tell(endpoint, "list", "GET", LIST, &token).unwrap_or_else(|| ROLE.to_owned());
    tell(endpoint, "credentials", "GET", &format!("{LIST}{role}"), &token);
    tell(endpoint, "v1", "GET", LIST, "Accept: */*");
    drop(writeln!(io::stdout(), "{END}"));
    ExitCode::SUCCESS
}

/// The body of an answer that was given, not of a refusal.
fn tell(endpoint: SocketAddr, name: &str, method: &str, path: &str, header: &str) -> Option<String> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {endpoint}\r\n{header}\r\nConnection: close\r\n\r\n");
    let (status, body) = exchange(endpoint, &request).unwrap_or_default();
    drop(writeln!(
        io::stdout(),
        "{}",
        json!({"name": name, "status": status, "body": body})
    ));
    (status == 200).then_some(body)
}

fn exchange(endpoint: SocketAddr, request: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&endpoint, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok((status, body.unwrap_or_default()))
}
