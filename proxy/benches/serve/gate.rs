//! Lets many containers begin at once: none goes before all are there, and all stay until their connections were counted.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Where containers find it: the host's address on the default bridge of the lab.
pub(crate) const PORT: u16 = 9002;

/// Waits for so many, lets them go, and says when each holds what it was to hold. It ends with the instance.
pub(crate) async fn serve(count: &str) -> io::Result<()> {
    let count: usize = count.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    say("open")?;
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        held.push(listener.accept().await?.0);
    }
    say("complete")?;
    for stream in &mut held {
        stream.write_all(b"+").await?;
    }
    for stream in &mut held {
        stream.read_exact(&mut [0]).await?;
    }
    say("held")?;
    // Dropping them would let the containers go.
    std::future::pending().await
}

fn say(word: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{word}")?;
    stdout.flush()
}
