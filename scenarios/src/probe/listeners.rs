//! Listeners in the background, by name, and what they accepted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::bytes::Base64;
use super::connect::{bounded, listener};
use super::protocol::{
    Accept, Accepted, AcceptedAnswer, Done, Failure, FailureKind, Listen, ListenAnswer, MAX_MS, READ_MS, Unlisten,
};
use super::receive;

/// How many connections one listener accepts in its life.
const MAX_ACCEPTED: usize = 1024;
/// How much of one connection is kept.
const MAX_KEPT: usize = 64 * 1024;
/// How long an answered client may take to close.
const DRAIN_MS: u64 = 1_000;
/// How many listeners there may be.
const MAX_LISTENERS: usize = 64;

struct Listening {
    accepted: watch::Receiver<Vec<Accept>>,
    task: JoinHandle<()>,
}

/// Every listener.
#[derive(Default)]
pub(super) struct Listeners {
    listening: Mutex<HashMap<String, Listening>>,
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message }
}

impl Listeners {
    pub(super) async fn listen(&self, listen: Listen) -> Result<ListenAnswer, Failure> {
        let at: SocketAddr = listen
            .at
            .parse()
            .map_err(|_| failure(FailureKind::Request, "at is not IP:port".to_owned()))?;
        let mut listening = self.listening.lock().await;
        if listening.contains_key(&listen.name) || listening.len() >= MAX_LISTENERS {
            return Err(failure(
                FailureKind::Name,
                format!("listener {} exists, or there are too many", listen.name),
            ));
        }
        let system = |error: std::io::Error| failure(FailureKind::System, format!("cannot listen at {at}: {error}"));
        let socket = listener(at).map_err(system)?;
        let at = socket.local_addr().map_err(system)?.to_string();
        let (sender, accepted) = watch::channel(Vec::new());
        let answer = listen.answer.map(|answer| answer.0);
        let task = tokio::spawn(accept(socket, answer, sender));
        listening.insert(listen.name, Listening { accepted, task });
        Ok(ListenAnswer { at })
    }

    pub(super) async fn accepted(&self, wanted: Accepted) -> Result<AcceptedAnswer, Failure> {
        let receiver = {
            let listening = self.listening.lock().await;
            listening.get(&wanted.name).map(|one| one.accepted.clone())
        };
        let mut receiver =
            receiver.ok_or_else(|| failure(FailureKind::Name, format!("no listener {}", wanted.name)))?;
        let enough = receiver.wait_for(|accepted| accepted.len() >= wanted.at_least);
        let connections = match tokio::time::timeout(bounded(wanted.wait_ms, READ_MS), enough).await {
            Ok(Ok(accepted)) => Some(accepted.clone()),
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(AcceptedAnswer {
            connections: connections.unwrap_or_else(|| receiver.borrow().clone()),
        })
    }

    pub(super) async fn unlisten(&self, unlisten: &Unlisten) -> Result<Done, Failure> {
        let removed = self.listening.lock().await.remove(&unlisten.name);
        let listening = removed.ok_or_else(|| failure(FailureKind::Name, format!("no listener {}", unlisten.name)))?;
        listening.task.abort();
        // The port is free only once the task is really gone.
        let _ = listening.task.await;
        Ok(Done {})
    }
}

async fn accept(socket: TcpListener, answer: Option<Vec<u8>>, accepted: watch::Sender<Vec<Accept>>) {
    let answer = answer.map(Arc::new);
    let accepted = Arc::new(accepted);
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..MAX_ACCEPTED {
        let Ok((stream, peer)) = socket.accept().await else {
            break;
        };
        let (answer, accepted) = (answer.clone(), Arc::clone(&accepted));
        connections.spawn(async move {
            let received = converse(stream, answer.as_deref().map(Vec::as_slice)).await;
            accepted.send_modify(|list| {
                list.push(Accept {
                    peer: peer.to_string(),
                    received: Base64(received),
                });
            });
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Reads a request head, or all there is where nothing is to be answered; answers; closes.
async fn converse(mut stream: TcpStream, answer: Option<&[u8]>) -> Vec<u8> {
    let time = Duration::from_millis(if answer.is_some() { READ_MS } else { MAX_MS });
    let deadline = tokio::time::Instant::now() + time;
    let mut received = Vec::new();
    let mut chunk = vec![0; 4096];
    while received.len() < MAX_KEPT {
        if answer.is_some() && received.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
        match tokio::time::timeout_at(deadline, stream.read(&mut chunk)).await {
            Ok(Ok(read)) if read > 0 => received.extend(chunk.iter().take(read)),
            Ok(_) | Err(_) => break,
        }
    }
    if let Some(answer) = answer {
        receive::send(&mut stream, answer, true, Duration::from_millis(READ_MS)).await;
        // Closing with unread bytes would be a reset, which can overtake the answer: read what is still coming.
        let (rest, _) = receive::receive(&mut stream, Duration::from_millis(DRAIN_MS), None).await;
        let room = MAX_KEPT.saturating_sub(received.len());
        received.extend(rest.into_iter().take(room));
    }
    received
}
