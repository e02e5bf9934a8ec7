//! Reading until the end, a time, a number of responses or a bound, and saying which it was.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::http::complete_responses;
use super::protocol::{End, MAX_BYTES};

/// Reads within `time`; stops early after `responses` complete HTTP responses.
pub(super) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    time: Duration,
    responses: Option<usize>,
) -> (Vec<u8>, End) {
    let deadline = Instant::now() + time;
    let mut received = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        if responses.is_some_and(|wanted| complete_responses(&received, wanted)) {
            return (received, End::Complete);
        }
        let read = match tokio::time::timeout_at(deadline, stream.read(&mut chunk)).await {
            Err(_) => return (received, End::Timeout),
            Ok(Ok(0)) => return (received, End::Eof),
            Ok(Ok(read)) => read,
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => return (received, End::Timeout),
            // Whatever else the kernel reports (reset, broken pipe, an ICMP error), the other side ended it without a close.
            Ok(Err(_)) => return (received, End::Reset),
        };
        let room = MAX_BYTES - received.len();
        received.extend(chunk.iter().take(read.min(room)));
        if received.len() == MAX_BYTES {
            return (received, End::Limit);
        }
    }
}

/// Sends everything within `time`; `false` where the other side has reset the connection or takes nothing.
pub(super) async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    half_close: bool,
    time: Duration,
) -> bool {
    let sending = async {
        stream.write_all(bytes).await?;
        if half_close { stream.shutdown().await } else { Ok(()) }
    };
    matches!(tokio::time::timeout(time, sending).await, Ok(Ok(())))
}
