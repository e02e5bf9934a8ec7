//! Connections that live across operations, by name.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::Mutex;

use super::bytes::Base64;
use super::connect::{bounded, connect};
use super::protocol::{
    Close, Connect, Done, Failure, FailureKind, MAX_MS, Offer, Open, OpenAnswer, READ_MS, Receive, ReceiveAnswer, Send,
    SendAnswer, Take,
};
use super::{passing, receive};

/// The most connections held open at once: more than any scenario needs, less than the descriptors of a container.
const MAX_CONNECTIONS: usize = 512;

/// The halves are apart so that a send does not wait for a receive that waits for it.
struct Connection {
    read: Mutex<OwnedReadHalf>,
    write: Mutex<OwnedWriteHalf>,
}

/// Every open connection.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<String, Arc<Connection>>>,
}

fn name_failure(message: String) -> Failure {
    Failure {
        kind: FailureKind::Name,
        message,
    }
}

fn system_failure(error: &std::io::Error) -> Failure {
    Failure {
        kind: FailureKind::System,
        message: error.to_string(),
    }
}

impl Connections {
    pub(super) async fn open(&self, open: Open) -> Result<OpenAnswer, Failure> {
        {
            let held = self.open.lock().await;
            if held.contains_key(&open.name) || held.len() >= MAX_CONNECTIONS {
                return Err(name_failure(format!(
                    "connection {} exists, or there are too many",
                    open.name
                )));
            }
        }
        let stream = match connect(&open.to, open.bind.as_deref(), open.connect_ms).await? {
            Ok(stream) => stream,
            Err(connect) => return Ok(OpenAnswer { connect, local: None }),
        };
        let local = stream.local_addr().ok().map(|address| address.to_string());
        self.keep(open.name, stream).await;
        Ok(OpenAnswer {
            connect: Connect::Ok,
            local,
        })
    }

    /// Offers a connection to whoever comes to that place next. It stays open here: from then on two processes have it.
    pub(super) async fn offer(&self, offer: &Offer) -> Result<Done, Failure> {
        let connection = self.find(&offer.name).await?;
        let descriptor = connection.write.lock().await.as_ref().as_fd().try_clone_to_owned();
        let descriptor = descriptor.map_err(|error| system_failure(&error))?;
        let door = UnixListener::bind(&offer.at).map_err(|error| system_failure(&error))?;
        tokio::spawn(async move {
            // Whoever was to take it notices.
            let _ = passing::give(&door, descriptor.as_fd(), Duration::from_millis(MAX_MS)).await;
        });
        Ok(Done {})
    }

    /// Takes a connection that another process offers.
    pub(super) async fn take(&self, take: Take) -> Result<Done, Failure> {
        let descriptor = passing::take(&take.at, Duration::from_millis(MAX_MS)).await;
        let stream = std::net::TcpStream::from(descriptor.map_err(|error| system_failure(&error))?);
        let stream = TcpStream::from_std(stream).map_err(|error| system_failure(&error))?;
        self.keep(take.name, stream).await;
        Ok(Done {})
    }

    async fn keep(&self, name: String, stream: TcpStream) {
        let (read, write) = stream.into_split();
        let connection = Connection {
            read: Mutex::new(read),
            write: Mutex::new(write),
        };
        self.open.lock().await.insert(name, Arc::new(connection));
    }

    async fn find(&self, name: &str) -> Result<Arc<Connection>, Failure> {
        let held = self.open.lock().await;
        held.get(name)
            .cloned()
            .ok_or_else(|| name_failure(format!("no connection {name}")))
    }

    pub(super) async fn send(&self, send: Send) -> Result<SendAnswer, Failure> {
        let connection = self.find(&send.name).await?;
        let mut write = connection.write.lock().await;
        let time = Duration::from_millis(READ_MS);
        Ok(SendAnswer {
            sent: receive::send(&mut *write, &send.data.0, send.half_close, time).await,
        })
    }

    pub(super) async fn receive(&self, wanted: Receive) -> Result<ReceiveAnswer, Failure> {
        let connection = self.find(&wanted.name).await?;
        let mut read = connection.read.lock().await;
        let (received, end) = receive::receive(&mut *read, bounded(wanted.read_ms, READ_MS), wanted.responses).await;
        Ok(ReceiveAnswer {
            received: Base64(received),
            end,
        })
    }

    pub(super) async fn close(&self, close: &Close) -> Result<Done, Failure> {
        let removed = self.open.lock().await.remove(&close.name);
        let connection = removed.ok_or_else(|| name_failure(format!("no connection {}", close.name)))?;
        // Waits for a receive that is under way: the descriptor must be gone when this answers.
        let _read = connection.read.lock().await;
        let write = connection.write.lock().await;
        if close.reset {
            // A linger of zero makes the close a reset.
            socket2::SockRef::from(write.as_ref())
                .set_linger(Some(Duration::ZERO))
                .map_err(|error| system_failure(&error))?;
        }
        Ok(Done {})
    }
}
