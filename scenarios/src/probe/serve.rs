//! Serves the protocol: reads request lines, carries them out side by side, writes reply lines as they end.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::host::Host;
use super::protocol::{Failure, FailureKind, MAX_LINE, Outcome, Reply, Request};

/// How many operations run at once; the next waits.
const MAX_RUNNING: usize = 256;

/// Serves until the input ends and every operation has been answered.
pub async fn serve(
    input: impl AsyncBufRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
    host: Host,
) -> io::Result<()> {
    let host = Arc::new(host);
    let (replies, writing) = mpsc::channel(MAX_RUNNING);
    let mut tasks = JoinSet::new();
    let writer = tokio::spawn(write(output, writing));
    let read = read(input, &host, &replies, &mut tasks).await;
    while tasks.join_next().await.is_some() {}
    drop(replies);
    let wrote = writer.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    read.and(wrote)
}

async fn read(
    mut input: impl AsyncBufRead + Unpin,
    host: &Arc<Host>,
    replies: &mpsc::Sender<Reply>,
    tasks: &mut JoinSet<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    // Ends with the input, which the other side holds.
    while let Some(whole) = next_line(&mut input, &mut line).await? {
        let request = if whole {
            serde_json::from_slice::<Request>(&line).map_err(|error| (id_of(&line), error.to_string()))
        } else {
            Err((0, format!("a request line is longer than {MAX_LINE} bytes")))
        };
        let request = match request {
            Ok(request) => request,
            Err(_) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Err((id, message)) => {
                let failure = Failure {
                    kind: FailureKind::Request,
                    message,
                };
                let reply = Reply {
                    id,
                    outcome: Outcome::Err(failure),
                };
                if replies.send(reply).await.is_err() {
                    return Ok(());
                }
                continue;
            }
        };
        if tasks.len() >= MAX_RUNNING {
            tasks.join_next().await;
        }
        while tasks.try_join_next().is_some() {}
        let (host, replies) = (Arc::clone(host), replies.clone());
        tasks.spawn(async move {
            let outcome = match host.perform(request.operation).await {
                Ok(answer) => Outcome::Ok(answer),
                Err(failure) => Outcome::Err(failure),
            };
            // Nobody listens any more: the container is going down.
            let _ = replies
                .send(Reply {
                    id: request.id,
                    outcome,
                })
                .await;
        });
    }
    Ok(())
}

/// The id of a request that is otherwise broken, so that whoever waits for it learns why.
fn id_of(line: &[u8]) -> u64 {
    serde_json::from_slice::<serde_json::Value>(line)
        .ok()
        .and_then(|value| value.get("id")?.as_u64())
        .unwrap_or(0)
}

/// Reads a line into `line`; `Some(false)` where it was too long, of which the rest is skipped.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let mut fits = true;
    loop {
        let available = input.fill_buf().await?;
        if available.is_empty() {
            return Ok((!line.is_empty() || !fits).then_some(fits));
        }
        let newline = available.iter().position(|byte| *byte == b'\n');
        let taken = newline.unwrap_or(available.len());
        if line.len() + taken > MAX_LINE {
            fits = false;
            line.clear();
        }
        if fits {
            line.extend(available.iter().take(taken));
        }
        input.consume(newline.map_or(taken, |at| at + 1));
        if newline.is_some() {
            return Ok(Some(fits));
        }
    }
}

async fn write(mut output: impl AsyncWrite + Unpin, mut replies: mpsc::Receiver<Reply>) -> io::Result<()> {
    while let Some(reply) = replies.recv().await {
        let mut line = serde_json::to_vec(&reply)?;
        line.push(b'\n');
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
