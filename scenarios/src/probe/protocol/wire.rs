//! Operations on connections: byte for byte, living across operations, and accepted ones. Pure data.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::probe::bytes::Base64;

/// `raw`: one connection, byte for byte.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// `IP:port`, or `name:port`.
    pub to: String,
    /// What to send.
    #[serde(default)]
    pub send: Base64,
    /// The source: `IP` or `IP:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// How long the connect may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    /// How long reading may take altogether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<u64>,
    /// Whether to end the sending direction after the bytes.
    #[serde(default)]
    pub half_close: bool,
    /// Stop after so many complete HTTP responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<usize>,
}

/// What came of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawAnswer {
    /// How the connect ended.
    pub connect: Connect,
    /// Every byte received.
    #[serde(default)]
    pub received: Base64,
    /// Why reading stopped; absent where nothing was connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The connection's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The other side's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// How a connect ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    /// Connected.
    Ok,
    /// Answered by a reset.
    Refused,
    /// Nothing answered.
    Timeout,
    /// A router or this host said that there is no way.
    Unreachable,
    /// Anything else, in the system's words.
    Error(String),
}

impl fmt::Display for Connect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => formatter.write_str("ok"),
            Self::Refused => formatter.write_str("refused"),
            Self::Timeout => formatter.write_str("timeout"),
            Self::Unreachable => formatter.write_str("unreachable"),
            Self::Error(what) => write!(formatter, "error:{what}"),
        }
    }
}

impl Serialize for Connect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Connect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), text.strip_prefix("error:")) {
            ("ok", _) => Ok(Self::Ok),
            ("refused", _) => Ok(Self::Refused),
            ("timeout", _) => Ok(Self::Timeout),
            ("unreachable", _) => Ok(Self::Unreachable),
            (_, Some(what)) => Ok(Self::Error(what.to_owned())),
            (_, None) => Err(serde::de::Error::custom("not the end of a connect")),
        }
    }
}

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The other side closed.
    Eof,
    /// The connection was reset, while sending or reading.
    Reset,
    /// The time was up and the connection still open.
    Timeout,
    /// As many responses as were asked for have arrived; the connection may still be open.
    Complete,
    /// [`MAX_BYTES`] have arrived.
    Limit,
}

/// `open`: a connection by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The name to use in later operations.
    pub name: String,
    /// `IP:port`, or `name:port`.
    pub to: String,
    /// The source: `IP` or `IP:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// How long the connect may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
}

/// How the connect ended; only after `ok` does the connection exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenAnswer {
    /// How the connect ended.
    pub connect: Connect,
    /// The connection's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
}

/// `send` on an open connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Which connection.
    pub name: String,
    /// What to send.
    #[serde(default)]
    pub data: Base64,
    /// Whether to end the sending direction after it.
    #[serde(default)]
    pub half_close: bool,
}

/// Whether the bytes went out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendAnswer {
    /// `false` where the other side has reset the connection.
    pub sent: bool,
}

/// `receive` on an open connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// Which connection.
    pub name: String,
    /// How long reading may take altogether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<u64>,
    /// Stop after so many complete HTTP responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<usize>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiveAnswer {
    /// The bytes since the last `receive`.
    pub received: Base64,
    /// Why reading stopped.
    pub end: End,
}

/// `close` an open connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// Which connection.
    pub name: String,
    /// Whether to end it by a reset.
    #[serde(default)]
    pub reset: bool,
}

/// `offer`: whoever comes to this place in the file system next gets an open connection, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Which connection. It stays open here.
    pub name: String,
    /// The path of a socket file, which must not exist yet.
    pub at: String,
}

/// `take`: fetches a connection that another process offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// The name that it has here in later operations.
    pub name: String,
    /// The path of the socket file.
    pub at: String,
}

/// `listen` in the background.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The name to use in later operations.
    pub name: String,
    /// `IP:port`.
    pub at: String,
    /// What each connection is answered once it has sent a request head (or its first bytes and an end); without it, they are only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Base64>,
}

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenAnswer {
    /// The address, with the port that the system chose for port 0.
    pub at: String,
}

/// `accepted`: what a listener has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Which listener.
    pub name: String,
    /// Wait until so many connections have ended.
    #[serde(default)]
    pub at_least: usize,
    /// For no longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// The connections that a listener has accepted, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AcceptedAnswer {
    /// At most 1,024; 64 KiB of each.
    pub connections: Vec<Accept>,
}

/// One accepted connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accept {
    /// Who connected.
    pub peer: String,
    /// What it sent.
    pub received: Base64,
}

/// `unlisten`: stop a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlisten {
    /// Which listener.
    pub name: String,
}

/// `knock`: one datagram.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knock {
    /// `IP:port`, or an address alone for `icmp`.
    pub to: String,
    /// `udp` or `icmp` (an echo request).
    pub protocol: String,
    /// How long to wait for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// What came of a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnockAnswer {
    /// Whether it came through.
    pub outcome: Knocked,
    /// What was seen, in the system's words.
    pub said: String,
}

/// Whether a datagram came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Knocked {
    /// The address answered, if only that no such port is there.
    Reached,
    /// Somebody on the way said that there is no way.
    Stopped,
    /// Nothing came back.
    Nothing,
}
