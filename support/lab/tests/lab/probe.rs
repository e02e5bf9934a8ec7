//! A small program that talks and listens, in containers and beside them. It is this test's own binary.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// `connect ADDRESS TEXT`, `pour ADDRESS BYTES`, `listen ADDRESS…` or `idle`.
pub(crate) fn main(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["connect", address, text] => connect(address, text),
        ["pour", address, bytes] => match bytes.parse() {
            Ok(bytes) => connect(address, &".".repeat(bytes)),
            Err(error) => Err(io::Error::other(error)),
        },
        ["listen", addresses @ ..] => listen(addresses),
        ["idle"] => idle(),
        _ => Err(io::Error::other("unknown words")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn connect(address: &str, text: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    say(&answer)?;
    Ok(())
}

/// Tells whoever connects the address it came from, and says what it heard.
fn listen(addresses: &[&str]) -> io::Result<()> {
    let mut threads = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address)?;
        say(&format!("listening on {address}"))?;
        threads.push(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Err(error) = answer(stream) {
                    complain(&error);
                }
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap_or_default());
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let source = stream.peer_addr()?.ip();
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    if heard.len() > 100 {
        heard = format!("{} bytes", heard.len());
    }
    say(&format!("heard {heard} from {source}"))?;
    write!(stream, "you are {source}, {heard}")
}

fn idle() -> io::Result<()> {
    say("idle")?;
    loop {
        std::thread::park();
    }
}

/// Writes a line at once: whoever waits for it reads a pipe.
fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn complain(error: &io::Error) {
    writeln!(io::stderr(), "probe: {error}").unwrap_or_default();
}
