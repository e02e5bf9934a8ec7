//! Takes orders from a socket file. Bounded in size, time and number, although only root can get here.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Order, Reply};
use crate::socket_file;

/// An order is a hundred bytes; an ARN may have a few hundred more.
const ORDER_BYTES: u64 = 4096;
/// For an order to come and for its reply to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// After an accept that failed.
const RESPITE: Duration = Duration::from_millis(50);

/// Who gave an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub user: u32,
    /// The process, if the kernel tells.
    pub process: Option<i32>,
}

/// Binds, and obeys until it is stopped, one order after the other.
///
/// # Errors
/// The socket cannot be made.
pub fn serve(
    path: &Path,
    obey: impl Fn(Order, Peer) -> Reply + Send + Sync + 'static,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = socket_file::bind(path)?;
    let obey = Arc::new(obey);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    // One at a time: who dawdles holds up the next order for a few seconds, and no job.
                    if let Err(error) = timeout(PATIENCE, attend(stream, Arc::clone(&obey)))
                        .await
                        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                    {
                        tracing::warn!(%error, "an order was not read or not answered");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "an order was not accepted");
                    tokio::time::sleep(RESPITE).await;
                }
            }
        }
    });
    Ok(())
}

async fn attend(
    mut stream: UnixStream,
    obey: Arc<impl Fn(Order, Peer) -> Reply + Send + Sync + 'static>,
) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let own = rustix::process::geteuid().as_raw();
    let peer = Peer {
        user: credentials.uid(),
        process: credentials.pid(),
    };
    // The mode of the file says the same; whoever loosened it did not mean this.
    let reply = if peer.user == 0 || peer.user == own {
        let mut text = Vec::new();
        (&mut stream).take(ORDER_BYTES).read_to_end(&mut text).await?;
        match serde_json::from_slice(&text) {
            // It may wait for a disk. Once begun it is carried out, even if nobody waits for the reply any more.
            Ok(order) => tokio::task::spawn_blocking(move || obey(order, peer))
                .await
                .unwrap_or_else(|_| Reply::Refused {
                    why: "the order was not carried out to its end: the proxy's log says why".to_owned(),
                }),
            Err(error) => Reply::Refused {
                why: format!("the order cannot be read: {error}"),
            },
        }
    } else {
        Reply::Refused {
            why: "only root and the proxy's own user may give orders".to_owned(),
        }
    };
    // Texts and numbers always serialise.
    let mut line = serde_json::to_string(&reply).unwrap_or_default();
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::policy::Target;

    async fn exchange(path: &Path, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        // What is too long is not read to its end, so that its connection may be reset.
        let read = stream.read_to_string(&mut text).await;
        assert!(read.is_ok() || bytes.len() > 4096);
        text
    }

    #[tokio::test]
    async fn an_order_is_obeyed_and_anything_else_is_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/control.sock");
        let stop = CancellationToken::new();
        let obey = |order, _: Peer| {
            assert_eq!(order, Order::Revoke(Target::Job(302)));
            Reply::Done {
                is_change: true,
                forgotten: 1,
                revoked: Vec::new(),
                unkept: None,
            }
        };
        serve(&path, obey, stop.clone()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let told = exchange(&path, br#"{"revoke":{"job":302}}"#).await;
        assert_eq!(told, "{\"done\":{\"is_change\":true,\"forgotten\":1,\"revoked\":[]}}\n");
        for bad in [&b""[..], b"{", br#"{"revoke":{"world":1}}"#, b"\xff\xfe", &[b' '; 5000]] {
            let told = exchange(&path, bad).await;
            assert!(bad.len() > 4096 || told.contains("cannot be read"), "{told}");
        }
        // What went wrong before holds up nobody.
        assert!(exchange(&path, br#"{"revoke":{"job":302}}"#).await.contains("done"));
        stop.cancel();
    }
}
