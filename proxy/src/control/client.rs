//! Gives one order to a running proxy.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::{Order, Reply};

/// For each step. The proxy answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// A list of all that can be revoked is shorter.
const REPLY_BYTES: u64 = 4 * 1024 * 1024;

/// Why there is no reply.
#[derive(Debug, Error)]
pub enum NoReply {
    /// No proxy listens, or it may not be spoken to.
    #[error("no running proxy answers at {path}; is it running, with this configuration, and are you root?")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else listens there, or another version.
    #[error("the reply cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

/// Gives an order, and waits for the reply.
///
/// # Errors
/// There is none.
pub fn ask(path: &Path, order: &Order) -> Result<Reply, NoReply> {
    let order = serde_json::to_vec(order)?;
    let exchange = || {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&order)?;
        stream.shutdown(Shutdown::Write)?;
        let mut reply = String::new();
        stream.take(REPLY_BYTES).read_to_string(&mut reply)?;
        Ok(reply)
    };
    let reply = exchange().map_err(|source| NoReply::Socket {
        path: path.to_owned(),
        source,
    })?;
    Ok(serde_json::from_str(&reply)?)
}
