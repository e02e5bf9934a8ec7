//! A fake that runs, and bytes to and from it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;

/// Longer than an answer takes on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);

/// A running fake; ends when dropped.
pub(crate) struct Fake {
    process: Child,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    /// When it was started; signatures are made for this time.
    pub(crate) started: Timestamp,
    program: std::path::PathBuf,
    control: std::path::PathBuf,
    instance: OnceLock<Credentials>,
    _folder: tempfile::TempDir,
}

/// Credentials of a session of the instance's role.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: String,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Fake {
    #[expect(clippy::disallowed_methods, reason = "the fakes are started here and nowhere else")]
    pub(crate) fn start(program: &Path, world: &Path, started: Timestamp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("control.sock");
        let mut process = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--world"])
            .arg(world)
            .arg("--control")
            .arg(format!("unix:{}", control.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next().expect("a fake says where it listens").unwrap();
        let address = line.strip_prefix("listening on http://").expect(&line).to_owned();
        // The control listener is told after the data listeners.
        assert!(lines.next().is_some_and(|line| line.unwrap().contains("control.sock")));
        Self {
            process,
            address,
            started,
            program: program.to_owned(),
            control,
            instance: OnceLock::new(),
            _folder: folder,
        }
    }

    /// Sends bytes on a connection of their own, and reads until its end.
    pub(crate) fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        converse(stream, request)
    }

    /// An IMDSv2 session token.
    pub(crate) fn session_token(&self) -> String {
        let request = format!(
            "PUT /latest/api/token HTTP/1.1\r\nHost: {}\r\nX-aws-ec2-metadata-token-ttl-seconds: 600\r\n\r\n",
            self.address
        );
        body(&self.exchange(request.as_bytes()))
    }

    /// What the fake's own command makes of these words: a token or an assertion that somebody of the world signs.
    #[expect(clippy::disallowed_methods, reason = "the fakes are started here and nowhere else")]
    pub(crate) fn mint(&self, words: &str) -> Result<String, String> {
        let output = Command::new(&self.program)
            .args(words.split(' '))
            .arg("--control")
            .arg(format!("unix:{}", self.control.display()))
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Credentials as the instance gets them.
    pub(crate) fn instance_credentials(&self) -> Credentials {
        self.instance.get_or_init(|| self.issue(21_600)).clone()
    }

    /// Credentials that no other request has, for so many seconds.
    pub(crate) fn issue(&self, seconds: u32) -> Credentials {
        let asked = format!(
            r#"{{"role_arn":"arn:aws:iam::123456789012:role/lab-host","session_name":"i-0123456789abcdef0","via":"instance-profile","duration_seconds":{seconds},"canary":"host-role"}}"#
        );
        let request = format!(
            "POST /credentials HTTP/1.1\r\nHost: control\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{asked}",
            asked.len()
        );
        let stream = UnixStream::connect(&self.control).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let answer = body(&converse(stream, request.as_bytes()));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

/// The answer: to the end of the connection where it says that it closes, else as long as it says.
fn converse<S: std::io::Read + std::io::Write>(mut stream: S, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&received, request.starts_with(b"HEAD ")) {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        received.extend(buffer.iter().take(count));
    }
    received
}

fn is_whole(received: &[u8], without_body: bool) -> bool {
    let text = String::from_utf8_lossy(received).to_ascii_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    if head.contains("\r\nconnection: close") {
        return false;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
    without_body || received.len() >= head.len() + 4 + length
}

fn body(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default()
}
