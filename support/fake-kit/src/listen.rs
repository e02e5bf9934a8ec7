//! Where a fake listens: TCP addresses and Unix sockets. It must not know what is served there.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

use crate::connection::Connection;

/// A place to listen: `127.0.0.1:0`, `[::]:80` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket file, which only its owner may use.
    Unix(PathBuf),
}

/// A text that is no place to listen.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is neither an address with a port, such as 127.0.0.1:0 or [::]:80, nor unix:PATH")]
pub struct UnknownListen {
    text: String,
}

impl FromStr for Listen {
    type Err = UnknownListen;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownListen { text: text.to_owned() };
        match text.strip_prefix("unix:") {
            Some("") => Err(unknown()),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text.parse().map(Self::Tcp).map_err(|_| unknown()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A place that could not be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {listen}")]
pub struct BindError {
    listen: Listen,
    source: io::Error,
}

impl Listen {
    /// Takes the place. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The place is taken, not there, or not permitted.
    pub async fn bind(&self) -> Result<Bound, BindError> {
        let failed = |source| BindError {
            listen: self.clone(),
            source,
        };
        match self {
            Self::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                Ok(Bound(Listener::Tcp(listener)))
            }
            Self::Unix(path) => {
                remove_stale(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                // A job that finds the file must not be able to steer the fake.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
                Ok(Bound(Listener::Unix(listener, SocketFile(path.clone()))))
            }
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens there",
            )),
            Err(_) => std::fs::remove_file(path),
        },
        // Anything else than a socket stays, and bind says that it is in the way.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A place that is taken: connections wait in its queue from now on.
#[derive(Debug)]
pub struct Bound(pub(crate) Listener);

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Removes the socket file when the listener goes.
#[derive(Debug)]
pub(crate) struct SocketFile(pub(crate) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "socket file was not removed");
        }
    }
}

impl Bound {
    /// Where it listens, with the port that was taken.
    ///
    /// # Errors
    /// The kernel refused to say.
    pub fn listen(&self) -> io::Result<Listen> {
        match &self.0 {
            Listener::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Listener::Unix(_, file) => Ok(Listen::Unix(file.0.clone())),
        }
    }

    /// The line that says that it serves: `listening on http://ADDR` or `listening on unix:PATH`.
    ///
    /// # Errors
    /// The kernel refused to say where.
    pub fn announcement(&self) -> io::Result<String> {
        Ok(match self.listen()? {
            Listen::Tcp(address) => format!("listening on http://{address}"),
            unix @ Listen::Unix(_) => format!("listening on {unix}"),
        })
    }

    pub(crate) async fn accept(&self) -> io::Result<Connection> {
        match &self.0 {
            Listener::Tcp(listener) => {
                let (stream, source) = listener.accept().await?;
                Connection::tcp(stream, source)
            }
            Listener::Unix(listener, file) => {
                let (stream, _) = listener.accept().await?;
                Ok(Connection::unix(stream, &file.0.display().to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_shown_alike() {
        for text in ["127.0.0.1:0", "[::]:80", "unix:/run/control.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "unix:", "localhost:80", "80", "127.0.0.1"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listen = Listen::Unix(path.clone());
        let bound = listen.bind().await.unwrap();
        assert!(listen.bind().await.is_err());
        drop(bound);
        assert!(!path.exists());
    }
}
