//! What runs in the containers: one thing each, with its result as JSON on stdout.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::load::{self, ENDPOINT, LIST, Manner, Rate};

/// Rounds of each kind; one server after the other in each, so that a change of the machine's pace meets both.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(1000);

/// The two servers side by side.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) manner: String,
    pub(crate) at_once: u64,
    pub(crate) bare: Vec<Rate>,
    pub(crate) proxy: Vec<Rate>,
}

/// Obeys the words behind the program's name. None: they are not for a container.
pub(crate) fn obey(words: &[&str]) -> Option<io::Result<()>> {
    Some(match words {
        ["show"] => show(),
        ["compare", bare] => compare(bare),
        ["first"] => first(),
        ["burst", count] => burst(count),
        ["hold", gate, count] => hold(gate, count),
        _ => return None,
    })
}

fn path() -> io::Result<(String, String)> {
    let token = load::token()?;
    let list = load::exchange(ENDPOINT, &load::request(LIST, &token, Manner::Fresh))?;
    Ok((format!("{LIST}{}", load::body(&list)?), token))
}

fn show() -> io::Result<()> {
    let (path, token) = path()?;
    let answer = load::exchange(ENDPOINT, &load::request(&path, &token, Manner::Fresh))?;
    say(load::body(&answer)?)
}

fn compare(bare: &str) -> io::Result<()> {
    let (path, token) = path()?;
    let bare: SocketAddr = bare.parse().map_err(io::Error::other)?;
    let proxy: SocketAddr = ENDPOINT.parse().map_err(io::Error::other)?;
    for (manner, name, at_once) in [
        (Manner::Kept, "kept", 8),
        (Manner::Kept, "kept", 1),
        (Manner::Fresh, "new", 8),
        (Manner::Fresh, "new", 1),
    ] {
        let request = load::request(&path, &token, manner);
        let mut comparison = Comparison {
            manner: name.to_owned(),
            at_once,
            bare: Vec::new(),
            proxy: Vec::new(),
        };
        for _ in 0..ROUNDS {
            for (target, rates) in [(bare, &mut comparison.bare), (proxy, &mut comparison.proxy)] {
                rates.push(load::ask_for(target, request.as_bytes(), manner, at_once, ROUND)?);
            }
        }
        say(&comparison)?;
    }
    Ok(())
}

/// Microseconds for the first credentials of a container that the proxy knows already.
fn first() -> io::Result<()> {
    let (path, token) = path()?;
    let request = load::request(&path, &token, Manner::Fresh);
    let begun = Instant::now();
    load::body(&load::exchange(ENDPOINT, &request)?)?;
    say(&begun.elapsed().as_micros())
}

/// So many requests at once; how many were answered with credentials.
fn burst(count: &str) -> io::Result<()> {
    let count: usize = count.parse().map_err(io::Error::other)?;
    let (path, token) = path()?;
    let request = load::request(&path, &token, Manner::Fresh);
    let address: SocketAddr = ENDPOINT.parse().map_err(io::Error::other)?;
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(TcpStream::connect(address)?);
    }
    for stream in &mut open {
        stream.write_all(request.as_bytes())?;
    }
    let mut answered = 0;
    for mut stream in open {
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        answered += usize::from(load::body(&answer).is_ok());
    }
    say(&answered)
}

/// Waits at the gate until everybody is there, opens so many connections and keeps them until the gate closes.
fn hold(gate: &str, count: &str) -> io::Result<()> {
    let count: usize = count.parse().map_err(io::Error::other)?;
    let address: SocketAddr = ENDPOINT.parse().map_err(io::Error::other)?;
    let mut gate = TcpStream::connect(gate)?;
    let mut word = [0];
    gate.read_exact(&mut word)?;
    let open: io::Result<Vec<TcpStream>> = (0..count).map(|_| TcpStream::connect(address)).collect();
    let open = open?;
    gate.write_all(&word)?;
    // Ends when the gate does.
    let _ended = gate.read(&mut word);
    drop(open);
    Ok(())
}

fn say<T: Serialize + ?Sized>(result: &T) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, result)?;
    stdout.write_all(b"\n")
}
