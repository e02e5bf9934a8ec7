//! An open connection as a thing that one process hands to another: SCM_RIGHTS over a socket file. Knows nothing of what is spoken on it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

/// Gives the descriptor to the first visitor.
pub(super) async fn give(door: &UnixListener, descriptor: BorrowedFd<'_>, within: Duration) -> io::Result<()> {
    let giving = async {
        let (visitor, _) = door.accept().await?;
        visitor.writable().await?;
        let descriptors = [descriptor];
        visitor.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut buffer = SendAncillaryBuffer::new(&mut space);
            buffer.push(SendAncillaryMessage::ScmRights(&descriptors));
            // Rights travel with a byte: without one nothing is sent.
            sendmsg(visitor.as_fd(), &[IoSlice::new(b"!")], &mut buffer, SendFlags::empty())?;
            Ok(())
        })
    };
    tokio::time::timeout(within, giving).await?
}

/// Takes the descriptor that is given behind this socket file.
pub(super) async fn take(at: &str, within: Duration) -> io::Result<OwnedFd> {
    let taking = async {
        let door = UnixStream::connect(at).await?;
        loop {
            door.readable().await?;
            let taken = door.try_io(Interest::READABLE, || receive(door.as_fd()));
            match taken {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => return taken,
            }
        }
    };
    tokio::time::timeout(within, taking).await?
}

fn receive(door: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        door,
        &mut [IoSliceMut::new(&mut byte)],
        &mut buffer,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptor = buffer.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.ok_or_else(|| io::Error::other("nothing was given"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn what_is_given_is_the_same_connection() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("door");
        let door = UnixListener::bind(&at).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (given, taken) = tokio::join!(give(&door, client.as_fd(), SOON), take(at.to_str().unwrap(), SOON));
        given.unwrap();
        let mut taken = std::net::TcpStream::from(taken.unwrap());
        assert_eq!(taken.local_addr().unwrap(), client.local_addr().unwrap());
        taken.write_all(b"x").unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[tokio::test]
    async fn where_nobody_gives_nothing_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("door");
        assert!(take(at.to_str().unwrap(), SOON).await.is_err());
    }
}
