//! The packet socket of a capture. It must not know how frames are kept.

use std::{
    io::{self, IoSliceMut, PipeReader, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt,
        socket, sockopt,
    },
};

use super::frame::{Direction, Frame};

/// Room for bursts while the capturing thread does not run: two full cores of small requests for some seconds, or 32 MiB at once, which are counted where they
/// leave the container, on the bridge and where they leave the host.
const RECEIVE_BUFFER: usize = 256 * 1024 * 1024;
/// The largest frame between two namespaces: segmentation offload hands over up to 64 KiB at once, and twice that leaves no doubt.
const LARGEST_FRAME: usize = 128 * 1024;
/// `PACKET_OUTGOING` of `linux/if_packet.h`.
const OUTGOING: u8 = 4;

/// Makes a packet socket that sees every frame in the network namespace of the calling thread.
pub(super) fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    setsockopt(&fd, sockopt::RxqOvfl, &1)?;
    Ok(fd)
}

/// A packet socket with the pipe that wakes or ends its reader.
pub(super) struct Tap {
    socket: OwnedFd,
    wake: PipeReader,
    buffer: Vec<u8>,
    control: Vec<u8>,
    dropped: u64,
}

/// Why [`Tap::wait`] returned.
pub(super) struct Event {
    /// The other end of the pipe is gone.
    pub(super) closed: bool,
}

impl Tap {
    pub(super) fn new(socket: OwnedFd, wake: PipeReader) -> Self {
        Self {
            socket,
            wake,
            buffer: vec![0; LARGEST_FRAME],
            control: nix::cmsg_space!(u32),
            dropped: 0,
        }
    }

    /// Waits until a frame has come or somebody wants something.
    pub(super) fn wait(&mut self) -> io::Result<Event> {
        loop {
            let mut fds = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let woken = fds.get(1).and_then(PollFd::any).unwrap_or(false);
            // One read takes what many callers wrote; their orders are all taken after it.
            let closed = woken && matches!(self.wake.read(&mut [0_u8; 256]), Ok(0) | Err(_));
            return Ok(Event { closed });
        }
    }

    /// The next frame, if one has come.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let received = recvmsg::<LinkAddr>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            );
            let (length, address) = match received {
                Ok(message) => {
                    for control in message.cmsgs().into_iter().flatten() {
                        if let ControlMessageOwned::RxqOvfl(dropped) = control {
                            self.dropped = u64::from(dropped);
                        }
                    }
                    (message.bytes, message.address)
                }
                Err(Errno::EAGAIN) => return Ok(None),
                // An interface went away; the socket goes on.
                Err(Errno::EINTR | Errno::ENETDOWN) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let Some(address) = address else { continue };
            let direction = if address.pkttype() == OUTGOING {
                Direction::Sent
            } else {
                Direction::Received
            };
            return Ok(Some(Frame {
                number: 0,
                interface: u32::try_from(address.ifindex()).unwrap_or_default(),
                direction,
                bytes: self.buffer.get(..length).unwrap_or_default().into(),
            }));
        }
    }

    /// How many frames the kernel had no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
