//! One network namespace as seen through sockets that were opened inside it, and the thread that enters namespaces to open them.
//! A runtime's worker thread never changes its namespace: whatever ran next on it would be in the wrong one.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::addresses::{self, Addresses};
use super::judge::{Proof, judge};
use super::netlink;
use super::readiness;
use super::sock_diag::{Diag, Query};
use crate::caller::{Connection, Level, Unattested};

/// A connection that was found: the proof, the question that finds it again, and the token of the address that it comes from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) proof: Proof,
    pub(crate) query: Query,
    pub(crate) address: CancellationToken,
}

/// Sockets into one network namespace. They keep it alive: drop this as soon as its container ends (rule A2).
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) number: u64,
    level: Level,
    diag: Diag,
    asking: Mutex<OwnedFd>,
    addresses: Addresses,
    following: OnceLock<tokio::task::AbortHandle>,
}

impl Namespace {
    /// Finds the socket of a connection, as its owner sees it: own address and port, and where it wanted to go.
    pub(crate) fn find(&self, connection: &Connection) -> Result<Found, Unattested> {
        let address = self
            .addresses
            .token(connection.client.ip())
            .ok_or(Unattested::UnknownAddress)?;
        let (local, remote) = (connection.client, connection.original_destination);
        let mut refusal = match self.ask(local, remote, 0) {
            Ok((proof, query)) => return Ok(Found { proof, query, address }),
            Err(refusal) => refusal,
        };
        if !matches!(refusal, Unattested::NoSuchSocket | Unattested::NotEstablished) {
            return Err(refusal);
        }
        // A socket that is bound to a device is found only with the device's index; without it, perhaps a listener (rule A8).
        for interface in self.interfaces()? {
            match self.ask(local, remote, interface) {
                Ok((proof, query)) => return Ok(Found { proof, query, address }),
                Err(Unattested::NoSuchSocket) => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }

    fn ask(&self, local: SocketAddr, remote: SocketAddr, interface: u32) -> Result<(Proof, Query), Unattested> {
        let query = Query {
            local,
            remote,
            interface,
            cookie: None,
        };
        let proof = self.judge(&query)?;
        Ok((
            proof,
            Query {
                cookie: Some(proof.cookie),
                ..query
            },
        ))
    }

    /// Asks the kernel once and judges the answer.
    pub(crate) fn judge(&self, query: &Query) -> Result<Proof, Unattested> {
        // The kernel cannot be asked any more: whatever was true before is a doubt now.
        let record = self.diag.ask(query).map_err(|_| Unattested::Raced)?;
        judge(query, record.as_ref(), self.level)
    }

    fn interfaces(&self) -> Result<Vec<u32>, Unattested> {
        let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        addresses::interfaces(&*asking).map_err(|_| Unattested::Raced)
    }

    /// Takes in what the kernel has notified about addresses.
    pub(crate) fn refresh(&self) {
        self.addresses.refresh();
    }

    /// Cancels whatever relies on one of its addresses.
    pub(crate) fn withdraw(&self) {
        self.addresses.withdraw();
    }

    /// Lets the runtime wake us when an address goes, so that connections end without waiting for a request.
    fn follow(self: &Arc<Self>) -> io::Result<()> {
        let socket = readiness::watch(self.addresses.as_fd().try_clone_to_owned()?)?;
        let namespace = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            while let Ok(mut ready) = socket.readable().await {
                ready.clear_ready();
                match namespace.upgrade() {
                    Some(namespace) => namespace.refresh(),
                    None => return,
                }
            }
        });
        let _ = self.following.set(task.abort_handle());
        Ok(())
    }
}

impl AsFd for Namespace {
    /// Readable when the kernel has notified something about addresses.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.addresses.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The task holds a second descriptor of a socket that keeps the namespace alive.
        if let Some(task) = self.following.get() {
            task.abort();
        }
    }
}

struct Visit {
    namespace: File,
    number: u64,
    reply: oneshot::Sender<io::Result<Namespace>>,
}

/// The thread that goes into other network namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    visits: mpsc::Sender<Visit>,
}

impl Entrance {
    /// Starts the thread; it ends with the last clone of this value. What is found in the namespaces is judged by this level.
    pub(crate) fn start(level: Level) -> io::Result<Self> {
        let (visits, waiting) = mpsc::channel::<Visit>();
        let home = File::open("/proc/thread-self/ns/net")?;
        thread::Builder::new().name("namespaces".to_owned()).spawn(move || {
            for visit in waiting {
                let opened = enter_and_open(&visit.namespace, visit.number, level);
                drop(visit.namespace);
                // A thread that cannot come back would keep a dead container's namespace, and open the next one from there.
                let back = move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network));
                let _ = visit.reply.send(opened);
                if back.is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { visits })
    }

    /// Opens sockets in the namespace.
    pub(crate) async fn open(&self, namespace: File, number: u64) -> io::Result<Arc<Namespace>> {
        let (reply, answer) = oneshot::channel();
        let visit = Visit {
            namespace,
            number,
            reply,
        };
        self.visits.send(visit).map_err(|_| io::ErrorKind::BrokenPipe)?;
        let opened = Arc::new(answer.await.map_err(|_| io::ErrorKind::BrokenPipe)??);
        opened.follow()?;
        Ok(opened)
    }
}

fn enter_and_open(namespace: &File, number: u64, level: Level) -> io::Result<Namespace> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(Namespace {
        number,
        level,
        diag: Diag::open()?,
        asking: Mutex::new(netlink::open(None)?),
        addresses: Addresses::open()?,
        following: OnceLock::new(),
    })
}
