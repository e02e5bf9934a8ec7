//! Connections that ask again and again, and how long that takes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Failure;

/// Nothing on loopback takes this long.
const LIMIT: Duration = Duration::from_secs(60);

/// What is asked, and how.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) request: String,
    pub(crate) connections: usize,
    /// On each connection, one after the other; without it, a connection for each.
    pub(crate) keep_alive: bool,
    /// Of all connections together.
    pub(crate) requests: usize,
}

/// Requests in a second.
pub(crate) async fn rate(address: SocketAddr, load: &Load) -> Result<f64, Failure> {
    let share = load.requests / load.connections.max(1);
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..load.connections {
        let load = load.clone();
        tasks.spawn(async move { tokio::time::timeout(LIMIT, ask(address, &load, share)).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended???;
    }
    let done = u32::try_from(share * load.connections)?;
    Ok(f64::from(done) / begun.elapsed().as_secs_f64())
}

async fn ask(address: SocketAddr, load: &Load, share: usize) -> Result<(), Failure> {
    let mut kept: Option<TcpStream> = None;
    let mut buffer = vec![0; 8192];
    for _ in 0..share {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(load.request.as_bytes()).await?;
        whole(&mut stream, &mut buffer).await?;
        kept = load.keep_alive.then_some(stream);
    }
    Ok(())
}

/// Reads one answer, which must be a success and say how long it is; its body.
pub(crate) async fn whole(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<String, Failure> {
    let mut filled = 0;
    loop {
        let count = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        filled += count;
        let text = String::from_utf8_lossy(buffer.get(..filled).unwrap_or_default());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().ok())?
            });
            if !head.starts_with("HTTP/1.1 200") {
                return Err(format!("not a success: {head}").into());
            }
            if body.len() >= length.ok_or("an answer without a length")? {
                return Ok(body.to_owned());
            }
        }
        if count == 0 {
            return Err("the connection ended early".into());
        }
    }
}
