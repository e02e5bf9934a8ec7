//! What the Linux kernel says: SOCK_DIAG in the container's network namespace, and the container's cgroup. Knows no engine and no HTTP.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla as _};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_ESTABLISHED, TCP_LISTEN};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::{Connection, Inspected, Kernel, Unidentified};
use crate::hole::Hole;

/// `INET_DIAG_CGROUP_ID`, linux/inet_diag.h, since 5.8.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// `INET_DIAG_NOCOOKIE`, linux/inet_diag.h: any socket will do.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// So many entries of the cgroup hierarchy are looked at in search of a namesake.
const NAMESAKES_LIMIT: usize = 100_000;
/// A TCP socket in a state that the kernel reports as a byte.
const ESTABLISHED: u8 = TCP_ESTABLISHED;
const LISTEN: u8 = TCP_LISTEN;

/// The kernel's answer about one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    state: u8,
    local: SocketAddr,
    remote: SocketAddr,
    cookie: [u8; 8],
    inode: u32,
    cgroup: Option<u64>,
}

/// A SOCK_DIAG socket in some network namespace.
#[derive(Debug)]
pub struct SockDiag(Mutex<Socket>);

/// A socket of a container, pinned by its cookie.
#[derive(Debug)]
pub struct PinnedSocket {
    sock_diag: SockDiag,
    local: SocketAddr,
    remote: SocketAddr,
    cookie: [u8; 8],
    cgroup: u64,
    cgroup_directory: PathBuf,
    /// [`Hole::LastPathComponent`]: the container that the socket's cgroup is called after.
    named: Option<String>,
    hole: Option<Hole>,
}

/// The kernel that runs us.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinuxKernel;

impl Kernel for LinuxKernel {
    type Socket = PinnedSocket;

    async fn pin(
        &self,
        container: &Inspected,
        connection: Connection,
        hole: Option<Hole>,
    ) -> Result<PinnedSocket, Unidentified> {
        let (pid, id) = (container.pid, container.facts.container_id.clone());
        // A thread of its own: it enters the container's network namespace and ends there.
        let (answer, pinned) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            // The connection may have been closed meanwhile.
            let _ = answer.send(pin(pid, &id, connection, hole));
        });
        pinned.await.map_err(|_| Unidentified::NotRunning)?
    }

    fn named(&self, socket: &PinnedSocket) -> Option<String> {
        socket.named.clone()
    }

    fn confirm(&self, socket: &PinnedSocket) -> Result<(), Unidentified> {
        let record = socket
            .sock_diag
            .find(socket.local, socket.remote, socket.cookie, socket.hole)
            .map_err(|_| Unidentified::NoSuchSocket)?;
        judge(&record, socket.local, socket.remote, socket.cgroup, socket.hole)?;
        if socket.hole == Some(Hole::InodeZeroCounts) || is_populated(&socket.cgroup_directory) {
            Ok(())
        } else {
            Err(Unidentified::NotRunning)
        }
    }
}

fn pin(pid: i32, id: &str, connection: Connection, hole: Option<Hole>) -> Result<PinnedSocket, Unidentified> {
    let gone = |error: io::Error| {
        tracing::debug!(%error, "container cannot be entered");
        Unidentified::NotRunning
    };
    let process = Pid::from_raw(pid).ok_or(Unidentified::NotRunning)?;
    let pidfd = pidfd_open(process, PidfdFlags::empty()).map_err(|error| gone(error.into()))?;
    let cgroup_directory = find_cgroup(pid, id).map_err(gone)?;
    let cgroup = fs::metadata(&cgroup_directory).map_err(gone)?.ino();
    {
        use std::os::fd::AsFd as _;
        move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::NETWORK)
            .map_err(|error| gone(error.into()))?;
    }
    let sock_diag = SockDiag::open().map_err(gone)?;
    let (local, remote) = (
        connection.client,
        connection.original_destination.ok_or(Unidentified::Direct)?,
    );
    let record = sock_diag
        .find(local, remote, NO_COOKIE, hole)
        .map_err(|_| Unidentified::NoSuchSocket)?;
    let (owner, named) = match record.cgroup {
        Some(owner) if hole == Some(Hole::LastPathComponent) => (owner, name_of(owner, &cgroup_directory)),
        _ => (cgroup, None),
    };
    judge(&record, local, remote, owner, hole)?;
    Ok(PinnedSocket {
        sock_diag,
        local,
        remote,
        cookie: record.cookie,
        cgroup: owner,
        cgroup_directory,
        named,
        hole,
    })
}

/// Whether the record is this connection, alive, and the container's.
fn judge(
    record: &Record,
    local: SocketAddr,
    remote: SocketAddr,
    cgroup: u64,
    hole: Option<Hole>,
) -> Result<(), Unidentified> {
    // Hole::AcceptListenSocket: without a connected socket the kernel names a listener on that port, whoever connected.
    let is_accepted_listener = hole == Some(Hole::AcceptListenSocket) && record.state == LISTEN;
    // Hole::InodeZeroCounts: nobody holds it any more, and it says goodbye.
    let orphans_count = hole == Some(Hole::InodeZeroCounts);
    let is_alive = record.state == ESTABLISHED && record.inode != 0;
    let is_this_connection = record.local == local && record.remote == remote && record.state != LISTEN;
    let has_owner = record.inode != 0 && is_accepted_listener;
    if !(has_owner || is_this_connection && (is_alive || orphans_count)) {
        return Err(Unidentified::NotEstablished);
    }
    // 1 is the root's.
    match record.cgroup {
        Some(owner) if owner == cgroup && owner > 1 => Ok(()),
        None if orphans_count => Ok(()),
        Some(_) | None => Err(Unidentified::OtherContainer),
    }
}

impl SockDiag {
    /// Opens one in the network namespace of this thread.
    ///
    /// # Errors
    /// When the kernel has no SOCK_DIAG.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&NetlinkAddress::new(0, 0))?;
        Ok(Self(Mutex::new(socket)))
    }

    /// The one socket with these ends, seen from its owner, and this cookie.
    ///
    /// # Errors
    /// When there is none.
    fn find(&self, local: SocketAddr, remote: SocketAddr, cookie: [u8; 8], hole: Option<Hole>) -> io::Result<Record> {
        let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
        // Hole::NativeSocketsOnly: the kernel answers for an IPv6 socket, too, and its ends look like others.
        let plain: fn(IpAddr) -> IpAddr = match hole {
            Some(Hole::NativeSocketsOnly) => |ip| ip,
            _ => |ip| ip.to_canonical(),
        };
        match self.ask(family, local, remote, cookie, plain) {
            // A v4-mapped socket, usual in Java, can be an IPv6 one.
            Err(error) if local.is_ipv4() && error.kind() == io::ErrorKind::NotFound => {
                self.ask(AF_INET6, mapped(local), mapped(remote), cookie, plain)
            }
            answer => answer,
        }
    }

    fn ask(
        &self,
        family: u8,
        local: SocketAddr,
        remote: SocketAddr,
        cookie: [u8; 8],
        plain: fn(IpAddr) -> IpAddr,
    ) -> io::Result<Record> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id: SocketId {
                source_port: local.port(),
                destination_port: remote.port(),
                source_address: local.ip(),
                destination_address: remote.ip(),
                interface_id: 0,
                cookie,
            },
        };
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(SockDiagMessage::InetRequest(request)));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let answer = {
            let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            socket.send(&bytes, 0)?;
            socket.recv_from_full()?.0
        };
        let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
                let id = &found.header.socket_id;
                Ok(Record {
                    state: found.header.state,
                    local: SocketAddr::new(plain(id.source_address), id.source_port),
                    remote: SocketAddr::new(plain(id.destination_address), id.destination_port),
                    cookie: id.cookie,
                    inode: found.header.inode,
                    cgroup: found.nlas.iter().find_map(cgroup_id),
                })
            }
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn cgroup_id(attribute: &Nla) -> Option<u64> {
    let Nla::Other(attribute) = attribute else { return None };
    if attribute.kind() != INET_DIAG_CGROUP_ID {
        return None;
    }
    let mut value = [0; 8];
    if attribute.value_len() != value.len() {
        return None;
    }
    attribute.emit_value(&mut value);
    Some(u64::from_ne_bytes(value))
}

fn mapped(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => Ipv6Addr::from(ip.octets()),
    };
    SocketAddr::new(IpAddr::V6(ip), address.port())
}

/// The container's own directory in the cgroup v2 hierarchy: the outermost one on the process's path that bears its id.
fn find_cgroup(pid: i32, id: &str) -> io::Result<PathBuf> {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    cgroup_directory(&own, &mounts, id).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn cgroup_directory(own: &str, mounts: &str, id: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if !kind.starts_with("cgroup2 ") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        Some((fields.next()?, fields.next()?))
    })?;
    let below = Path::new(path).strip_prefix(mount.0).ok()?;
    let scope = format!("docker-{id}.scope");
    let depth = below.iter().position(|name| name == id || name == scope.as_str())?;
    Some(Path::new(mount.1).join(below.iter().take(depth + 1).collect::<PathBuf>()))
}

/// [`Hole::LastPathComponent`]: the container that the cgroup with this id, anywhere beside or below that directory, is called after.
fn name_of(id: u64, directory: &Path) -> Option<String> {
    let mut queue: Vec<PathBuf> = directory.ancestors().skip(1).take(1).map(Path::to_owned).collect();
    let mut left = NAMESAKES_LIMIT;
    while let Some(parent) = queue.pop() {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            left -= 1;
            if left == 0 {
                return None;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && metadata.ino() == id {
                let name = entry.file_name().into_string().ok()?;
                let bare = name
                    .strip_prefix("docker-")
                    .and_then(|name| name.strip_suffix(".scope"));
                return Some(bare.unwrap_or(&name).to_owned());
            }
            if metadata.is_dir() {
                queue.push(entry.path());
            }
        }
    }
    None
}

fn is_populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

#[cfg(test)]
mod tests;
