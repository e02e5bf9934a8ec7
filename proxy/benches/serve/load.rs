//! Load from inside a job's container: one thread, few system calls for each request, so that it is the server that is measured.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// What is asked: the whole document of credentials.
pub(crate) const LIST: &str = "/latest/meta-data/iam/security-credentials/";
/// The endpoint, which the firewall redirects to the proxy.
pub(crate) const ENDPOINT: &str = "169.254.169.254:80";
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer is less than two kilobytes.
const ANSWER_MAX: usize = 16 * 1024;

/// How connections are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One after the other over the same connection.
    Kept,
    /// A new connection for each request.
    Fresh,
}

/// What one round came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub(crate) answers: u32,
    pub(crate) seconds: f64,
}

impl Rate {
    pub(crate) fn per_second(self) -> f64 {
        f64::from(self.answers) / self.seconds
    }
}

struct Conversation {
    stream: TcpStream,
    answer: Vec<u8>,
}

/// Asks for as long as `lasts`, over so many connections at once.
pub(crate) fn ask_for(
    target: SocketAddr,
    request: &[u8],
    manner: Manner,
    at_once: u64,
    lasts: Duration,
) -> io::Result<Rate> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut open = BTreeMap::new();
    let begun = Instant::now();
    for number in 0..at_once {
        open.insert(number, converse(&poll, number, target, request)?);
    }
    let mut answers = 0;
    let mut ready = Vec::with_capacity(64);
    while begun.elapsed() < lasts {
        ready.clear();
        let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), Some(&wait))?;
        for event in &ready {
            let number = event.data.u64();
            let Some(conversation) = open.get_mut(&number) else {
                continue;
            };
            if !conversation.is_answered()? {
                continue;
            }
            answers += 1;
            match manner {
                Manner::Kept => {
                    conversation.answer.clear();
                    conversation.stream.write_all(request)?;
                }
                Manner::Fresh => {
                    open.remove(&number);
                    open.insert(number, converse(&poll, number, target, request)?);
                }
            }
        }
    }
    Ok(Rate {
        answers,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn converse(
    poll: &impl std::os::fd::AsFd,
    number: u64,
    target: SocketAddr,
    request: &[u8],
) -> io::Result<Conversation> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.write_all(request)?;
    stream.set_nonblocking(true)?;
    epoll::add(poll, &stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
    Ok(Conversation {
        stream,
        answer: Vec::with_capacity(ANSWER_MAX),
    })
}

impl Conversation {
    fn is_answered(&mut self) -> io::Result<bool> {
        let mut part = [0; ANSWER_MAX];
        match self.stream.read(&mut part) {
            Ok(0) => return Err(io::Error::other("the connection ended before its answer")),
            Ok(read) => self.answer.extend_from_slice(part.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        is_whole(&self.answer)
    }
}

fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = std::str::from_utf8(answer.get(..head).unwrap_or_default()).map_err(io::Error::other)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("not an answer to measure: {head}")));
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().ok())?
    });
    let length = length.ok_or_else(|| io::Error::other("an answer without length"))?;
    Ok(answer.len() >= head.len() + 4 + length)
}

/// One request over a connection of its own; the whole answer.
pub(crate) fn exchange(target: &str, request: &str) -> io::Result<String> {
    let target: SocketAddr = target.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A session token of the endpoint.
pub(crate) fn token() -> io::Result<String> {
    let answer = exchange(
        ENDPOINT,
        "PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\nConnection: close\r\n\r\n",
    )?;
    body(&answer).map(str::to_owned)
}

/// The body of a successful answer.
pub(crate) fn body(answer: &str) -> io::Result<&str> {
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body),
        Some(_) | None => Err(io::Error::other(format!("refused: {answer}"))),
    }
}

/// The request that is measured.
pub(crate) fn request(path: &str, token: &str, manner: Manner) -> String {
    let close = match manner {
        Manner::Kept => "",
        Manner::Fresh => "Connection: close\r\n",
    };
    format!("GET {path} HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token: {token}\r\n{close}\r\n")
}
