//! Tells the service manager what the proxy does, as systemd wants it told (sd_notify): a line or two in a datagram. Nobody has to listen.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::timeout;

/// How long the manager may take to have room for a word. It has megabytes of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The proxy serves, or has taken over what it read again.
    Ready,
    /// It reads its configuration again.
    Reloading {
        /// When it began to, in microseconds of the monotonic clock: the manager tells by it which reload is meant.
        since: u64,
    },
    /// It lets connections end.
    Stopping,
    /// It lives.
    Alive,
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Ready => "READY=1".to_owned(),
            Self::Reloading { since } => format!("RELOADING=1\nMONOTONIC_USEC={since}"),
            Self::Stopping => "STOPPING=1".to_owned(),
            Self::Alive => "WATCHDOG=1".to_owned(),
        }
    }
}

/// Whoever started the proxy and wants to hear of it.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    listens: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// Finds out from the environment where the manager listens, and how often it wants to hear that the proxy lives. `own` is the number of
    /// this process: words of the environment that are for another one are none for us.
    #[must_use]
    pub fn find(variable: impl Fn(&str) -> Option<String>, own: u32) -> Self {
        let Some(place) = variable("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let listens = match address(&place) {
            Ok(listens) => Some(listens),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET is no socket that can be spoken to: the service manager hears nothing");
                None
            }
        };
        let number = |name: &str| variable(name).and_then(|text| text.parse::<u64>().ok());
        let is_ours = variable("WATCHDOG_PID").is_none_or(|text| text.parse() == Ok(own));
        let watchdog = number("WATCHDOG_USEC").filter(|&time| is_ours && time > 0 && listens.is_some());
        Self {
            listens,
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// How often it should hear that the proxy lives: twice in the time after which it takes the proxy for dead.
    #[must_use]
    pub fn pace(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// Tells it, with a status for whoever looks at the service.
    pub async fn tell(&self, word: Word, status: Option<&str>) {
        let Some(listens) = &self.listens else { return };
        let mut text = word.text();
        if let Some(status) = status {
            text.push_str("\nSTATUS=");
            text.push_str(status);
        }
        let sent = timeout(PATIENCE, send(listens, text.as_bytes())).await;
        if let Err(error) = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            tracing::warn!(%error, ?word, "the service manager was not told");
        }
    }

    /// Tells it again and again that the proxy lives, for as long as that is so. What does not live by then is the manager's to end.
    pub async fn assure(&self, stuck: impl Fn() -> Vec<&'static str>) {
        let Some(pace) = self.pace() else {
            return std::future::pending().await;
        };
        loop {
            let stuck = stuck();
            if stuck.is_empty() {
                self.tell(Word::Alive, None).await;
            } else {
                tracing::error!(
                    parts = stuck.join(", "),
                    "parts of the proxy are stuck: the service manager is told no more that it lives"
                );
            }
            tokio::time::sleep(pace).await;
        }
    }
}

/// A path, or a name that is in no file system (`@name`).
fn address(place: &str) -> io::Result<SocketAddr> {
    if let Some(name) = place.strip_prefix('@') {
        SocketAddr::from_abstract_name(name)
    } else if place.starts_with('/') {
        SocketAddr::from_pathname(place)
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// On a socket of its own each time, since the manager may have been started anew.
async fn send(listens: &SocketAddr, text: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(listens)?;
    tokio::net::UnixDatagram::from_std(socket)?.send(text).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;

    fn environment<'e>(pairs: &'e [(&'e str, &'e str)]) -> impl Fn(&str) -> Option<String> + 'e {
        |name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    fn listen(path: &Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// What has arrived.
    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut all = Vec::new();
        let mut bytes = [0; 512];
        while let Ok(length) = socket.recv(&mut bytes) {
            all.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
        all
    }

    #[tokio::test]
    async fn every_word_arrives_as_a_datagram_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = listen(&path);
        let supervisor = Supervisor::find(environment(&[("NOTIFY_SOCKET", path.to_str().unwrap())]), 7);
        assert_eq!(supervisor.pace(), None);
        supervisor.tell(Word::Ready, Some("serving: 1 rule")).await;
        supervisor.tell(Word::Reloading { since: 42 }, None).await;
        supervisor.tell(Word::Stopping, None).await;
        assert_eq!(
            heard(&socket),
            [
                "READY=1\nSTATUS=serving: 1 rule",
                "RELOADING=1\nMONOTONIC_USEC=42",
                "STOPPING=1"
            ]
        );
        // A manager that was started anew listens at the same place.
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        supervisor.tell(Word::Ready, None).await;
        let socket = listen(&path);
        supervisor.tell(Word::Ready, None).await;
        assert_eq!(heard(&socket), ["READY=1"]);
    }

    #[tokio::test]
    async fn a_socket_without_a_file_will_do() {
        let name = format!("metadata-proxy-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let place = format!("@{name}");
        let supervisor = Supervisor::find(environment(&[("NOTIFY_SOCKET", &place)]), 7);
        supervisor.tell(Word::Ready, None).await;
        assert_eq!(heard(&socket), ["READY=1"]);
    }

    #[tokio::test]
    async fn who_does_not_listen_or_is_not_there_keeps_nobody() {
        for pairs in [
            &[][..],
            &[("WATCHDOG_USEC", "1000000")],
            &[("NOTIFY_SOCKET", "vsock:2:9"), ("WATCHDOG_USEC", "1000000")],
            &[("NOTIFY_SOCKET", "relative/path")],
            &[("NOTIFY_SOCKET", "/a\0b")],
        ] {
            let supervisor = Supervisor::find(environment(pairs), 7);
            assert!(supervisor.listens.is_none() && supervisor.pace().is_none(), "{pairs:?}");
            supervisor.tell(Word::Ready, None).await;
        }
        let gone = Supervisor::find(environment(&[("NOTIFY_SOCKET", "/nonexistent/notify")]), 7);
        gone.tell(Word::Ready, None).await;
    }

    #[test]
    fn a_watchdog_counts_that_is_meant_for_this_process() {
        let pace = |more: &[(&str, &str)]| {
            let mut pairs = vec![("NOTIFY_SOCKET", "@x")];
            pairs.extend(more);
            Supervisor::find(environment(&pairs), 7).pace()
        };
        let half = Some(Duration::from_secs(15));
        assert_eq!(pace(&[("WATCHDOG_USEC", "30000000")]), half);
        assert_eq!(pace(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "7")]), half);
        for none in [
            &[][..],
            &[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "8")],
            &[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "x")],
            &[("WATCHDOG_USEC", "0")],
            &[("WATCHDOG_USEC", "-1")],
            &[("WATCHDOG_USEC", "half a minute")],
        ] {
            assert_eq!(pace(none), None, "{none:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_is_stuck_says_no_more_that_it_lives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = listen(&path);
        let pairs = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "30000000")];
        let supervisor = Supervisor::find(environment(&pairs), 7);
        let stuck = Cell::new(Vec::new());
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            let now = stuck.take();
            stuck.set(now.clone());
            now
        };
        let minutes = async |number: u64| {
            // A second less: what happens at the very end may come before or after it.
            let time = Duration::from_secs(number * 60 - 1);
            assert!(timeout(time, supervisor.assure(look)).await.is_err());
        };
        minutes(1).await;
        assert_eq!(heard(&socket), ["WATCHDOG=1"; 4]);
        stuck.set(vec!["listener"]);
        minutes(1).await;
        assert_eq!((heard(&socket).len(), looks.get()), (0, 8));
        stuck.set(Vec::new());
        minutes(1).await;
        assert_eq!(heard(&socket).len(), 4);
    }
}
