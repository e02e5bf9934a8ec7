//! One connection from accept to its end: identified once, attested again for each request and before each write, reset when its container goes.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Known, Proxy};
use crate::answer::Answer;
use crate::credentials::Issuer;
use crate::hole::Hole;
use crate::identity::{Connection, Engine, Kernel, Unidentified};
use crate::request::{self, Unreadable};

const IDENTIFICATION: Duration = Duration::from_secs(10);
/// An answer that nobody acknowledges must not be sent again to the next owner of the address (rule A4).
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);
const DRAIN: Duration = Duration::from_secs(1);

/// How a connection is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Reset,
}

impl<E: Engine, K: Kernel, I: Issuer> Proxy<E, K, I> {
    pub(super) async fn attend(&self, mut stream: TcpStream, peer: SocketAddr) {
        let connection = Connection {
            client: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            original_destination: (self.original_destination)(&stream),
        };
        // Latency: answers are written in one piece.
        let _ = stream.set_nodelay(true);
        if !self.switches.open(Hole::AttestOncePerConnection) {
            let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        }
        let mut watch = self.identity.watch();
        let known = timeout(IDENTIFICATION, self.identity.identify(connection))
            .await
            .unwrap_or(Err(Unidentified::Engine));
        let end = match &known {
            Ok(caller) => tokio::select! {
                biased;
                () = self.identity.ended(&mut watch, &caller.facts) => End::Reset,
                end = self.talk(&mut stream, &known) => end,
            },
            Err(_) => self.talk(&mut stream, &known).await,
        };
        match end {
            End::Reset => {
                tracing::info!(client = %connection.client, "connection reset");
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            End::Close => {
                // What is still unread would turn the close into a reset, and the last answer would be lost.
                let _ = stream.shutdown().await;
                let mut rest = [0; 4096];
                let _ = timeout(DRAIN, async {
                    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
                })
                .await;
            }
        }
    }

    async fn talk(&self, stream: &mut TcpStream, known: &Known<K>) -> End {
        let mut buffer = self.take_leftovers();
        loop {
            let request = match request::read(stream, &mut buffer, self.switches.hole).await {
                Ok(request) => request,
                Err(Unreadable::Over) => {
                    self.leave(buffer);
                    return End::Close;
                }
                Err(Unreadable::Malformed) => return write(stream, &Answer::refusal(400).render(false, true)).await,
                Err(Unreadable::TooLarge) => return write(stream, &Answer::refusal(431).render(false, true)).await,
            };
            if !self.is_still(known) {
                return End::Reset;
            }
            let answer = self.answer(&request, known).await;
            // The answer may have taken long, and may be a secret.
            if !self.is_still(known) {
                return End::Reset;
            }
            let close = answer.close || !request.keep_alive;
            if write(stream, &answer.render(request.method == "HEAD", close)).await == End::Reset {
                return End::Reset;
            }
            if close {
                return End::Close;
            }
        }
    }

    /// [`Hole::SharesLeftovers`]: what somebody else's connection ended with.
    fn take_leftovers(&self) -> Vec<u8> {
        std::mem::take(&mut *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn leave(&self, rest: Vec<u8>) {
        if self.switches.open(Hole::SharesLeftovers) && !rest.is_empty() {
            *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner) = rest;
        }
    }

    fn is_still(&self, known: &Known<K>) -> bool {
        known.as_ref().is_ok_and(|caller| match self.identity.confirm(caller) {
            Ok(()) => true,
            Err(reason) => {
                tracing::info!(%reason, "caller is not the one that connected");
                false
            }
        }) || known.is_err()
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> End {
    match timeout(UNACKNOWLEDGED, stream.write_all(bytes)).await {
        Ok(Ok(())) => End::Close,
        Ok(Err(_)) | Err(_) => End::Reset,
    }
}
