//! What runs inside a container: it does what it is told over a Unix socket, one line at a time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

const PATIENCE: Duration = Duration::from_millis(1500);

/// Connects at once, sends a line, and waits for the end of the answer.
pub(crate) fn call_now(words: &[String]) -> ExitCode {
    let endpoint: SocketAddr = words[0].parse().expect("an address");
    let Ok(mut stream) = TcpStream::connect_timeout(&endpoint, Duration::from_secs(5)) else {
        return ExitCode::FAILURE;
    };
    let _ = stream.write_all(b"now\n");
    let _ = stream.read(&mut [0; 64]);
    ExitCode::SUCCESS
}

pub(crate) fn serve() -> ExitCode {
    let listener = UnixListener::bind("/control/socket").expect("the directory is mounted");
    let mut job = Job::default();
    for stream in listener.incoming().flatten() {
        let mut line = String::new();
        let mut reader = BufReader::new(stream);
        if reader.read_line(&mut line).is_err() {
            continue;
        }
        let answer = match job.obey(line.trim()) {
            Ok(text) => format!("ok {text}\n"),
            Err(error) => format!("err {error}\n"),
        };
        let _ = UnixStream::write_all(reader.get_mut(), answer.as_bytes());
    }
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Job {
    streams: HashMap<String, TcpStream>,
    listeners: Vec<TcpListener>,
}

impl Job {
    fn obey(&mut self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let text = |error: std::io::Error| error.to_string();
        match words[..] {
            ["open", name, bind, to, ref options @ ..] => {
                let stream = open(bind, to, options).map_err(text)?;
                let local = stream.local_addr().map_err(text)?;
                self.streams.insert(name.to_owned(), stream);
                Ok(local.to_string())
            }
            ["listen", address] => {
                self.listeners.push(TcpListener::bind(address).map_err(text)?);
                Ok(String::new())
            }
            ["send", name, ref what @ ..] => {
                let what = what.join(" ").replace("\\r\\n", "\r\n");
                self.stream(name)?.write_all(what.as_bytes()).map_err(text)?;
                Ok(String::new())
            }
            ["receive", name] => {
                let mut buffer = [0; 512];
                let length = self.stream(name)?.read(&mut buffer).map_err(text)?;
                Ok(String::from_utf8_lossy(&buffer[..length]).replace("\r\n", "\\r\\n"))
            }
            ["half-close", name] => self
                .stream(name)?
                .shutdown(Shutdown::Write)
                .map(|()| String::new())
                .map_err(text),
            ["reset", name] => {
                let stream = self.streams.remove(name).ok_or("no such stream")?;
                let socket = Socket::from(stream);
                socket.set_linger(Some(Duration::ZERO)).map_err(text)?;
                Ok(String::new())
            }
            _ => Err(format!("cannot {line}")),
        }
    }

    fn stream(&mut self, name: &str) -> Result<&mut TcpStream, String> {
        self.streams.get_mut(name).ok_or_else(|| "no such stream".to_owned())
    }
}

/// `bind` is an address, a port on any address, or `-`. Options: `mapped` makes an IPv6 socket for an IPv4 connection, as Java does;
/// `device=NAME` binds to a device.
fn open(bind: &str, to: &str, options: &[&str]) -> std::io::Result<TcpStream> {
    let is_mapped = options.contains(&"mapped");
    let place = |text: &str| -> SocketAddr {
        let address: SocketAddr = text.parse().expect("an address and a port");
        match address {
            SocketAddr::V4(v4) if is_mapped => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            other => other,
        }
    };
    let to = place(to);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if let Some(device) = options.iter().find_map(|option| option.strip_prefix("device=")) {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if bind != "-" {
        socket.bind(&SockAddr::from(place(bind)))?;
    }
    socket.connect_timeout(&SockAddr::from(to), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}
