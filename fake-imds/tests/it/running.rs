//! Starts the binary, speaks raw bytes to it and JSON to its control socket, and stops it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Nothing on loopback takes this long; a hang fails instead of blocking the run.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) lines: Vec<String>,
    _folder: TempDir,
}

#[expect(clippy::disallowed_methods, reason = "the program under test is named here only")]
fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fake-imds"))
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("c");
        let control = format!("unix:{}", socket.display());
        let mut child = program()
            .args(["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--control", &control])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines: Vec<String> = output.lines().take(3).map(Result::unwrap).collect();
        let address = lines[0].strip_prefix("listening on http://").unwrap().parse().unwrap();
        Self {
            child,
            address,
            socket,
            lines,
            _folder: folder,
        }
    }

    pub(crate) fn world(world: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("world.toml");
        std::fs::write(&file, world).unwrap();
        Self::start(&[&["--world", file.to_str().unwrap()], arguments].concat())
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends the bytes and reads until the end.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    /// A control request; its status and JSON.
    pub(crate) fn control(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)))
    }

    pub(crate) fn fault(&self, fault: &str) {
        let (status, answer) = self.control("POST", "/faults", fault);
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) fn ledger(&self) -> Vec<Value> {
        let (_, page) = self.control("GET", "/ledger", "");
        page["entries"].as_array().unwrap().clone()
    }

    /// Its resident memory in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn terminate(mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The body of an answer.
pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// The answer with its times replaced.
pub(crate) fn timeless(answer: &str) -> String {
    let lines: Vec<String> = answer
        .split("\r\n")
        .map(|line| match line.split_once(": ") {
            Some((name @ ("Date" | "Last-Modified"), date)) => {
                assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
                format!("{name}: TIME")
            }
            Some(_) | None => line.to_owned(),
        })
        .collect();
    lines.join("\r\n")
}
