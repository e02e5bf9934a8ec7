//! What a scenario says to the probe and what the probe answers: JSON lines, one reply for each request.
//!
//! Pure data, shared by the program and by the runner's side. It must not know sockets, containers or engines.

mod client;
mod surroundings;
mod wire;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use client::{
    Assume, Assumed, Began, Http, HttpAnswer, Imds, ImdsAnswer, ImdsStep, Keys, Sdk, SdkAnswer, SdkAssumed,
    SdkCredentials, SdkIdentity,
};
pub use surroundings::{
    Address, Done, Env, EnvAnswer, Interface, Interfaces, InterfacesAnswer, Ping, Resolve, ResolveAnswer,
};
pub use wire::{
    Accept, Accepted, AcceptedAnswer, Close, Connect, End, Knock, KnockAnswer, Knocked, Listen, ListenAnswer, Offer,
    Open, OpenAnswer, Raw, RawAnswer, Receive, ReceiveAnswer, Send, SendAnswer, Take, Unlisten,
};

/// The most bytes one operation sends, receives or keeps: far above any metadata answer, far below what hurts a small machine.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The longest request line: [`MAX_BYTES`] in base64 and room for the rest of the object.
pub const MAX_LINE: usize = 6 * 1024 * 1024;
/// The longest any operation waits for anything, in milliseconds.
pub const MAX_MS: u64 = 30_000;
/// How long a connect may take when the request does not say, in milliseconds.
pub const CONNECT_MS: u64 = 2_000;
/// How long a read may take when the request does not say, in milliseconds.
pub const READ_MS: u64 = 3_000;

/// One line on the probe's standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Repeated in the reply. Replies come in the order in which operations end.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub operation: Operation,
}

/// One line on the probe's standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The id of the request; 0 where a line was so broken that it had none.
    pub id: u64,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Success with the operation's own answer, or the reason why the operation could not be carried out.
///
/// A refused connection is an answer, not a failure: failures are requests that make no sense and the SDK's own errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The operation's answer.
    Ok(Value),
    /// Why there is none.
    Err(Failure),
}

/// Why an operation has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// The whole chain of causes.
    pub message: String,
}

/// The kinds of failure that a probe reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The request cannot be understood or breaks a bound.
    Request,
    /// A name (of a connection, a listener, a host) is unknown or already taken.
    Name,
    /// The operating system refused (a bind, a listen, an address change).
    System,
    /// The SDK's chain found no credentials.
    Credentials,
    /// STS refused, or could not be asked.
    Sts,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Request => "request",
            Self::Name => "name",
            Self::System => "system",
            Self::Credentials => "credentials",
            Self::Sts => "sts",
        })
    }
}

/// An operation whose answer has a type.
pub trait Ask: Into<Operation> {
    /// What the probe answers.
    type Answer: DeserializeOwned;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident => $answer:ty,)*) => {
        /// What a probe can do. The tag is `op`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "op", rename_all = "lowercase")]
        pub enum Operation { $($(#[$doc])* $name($name),)* }
        $(
            impl From<$name> for Operation { fn from(operation: $name) -> Self { Self::$name(operation) } }
            impl Ask for $name { type Answer = $answer; }
        )*
    };
}

operations! {
    /// Connect, send these bytes, read what comes.
    Raw => RawAnswer,
    /// One HTTP/1.1 request, its path sent as given.
    Http => HttpAnswer,
    /// The usual metadata client's flow.
    Imds => ImdsAnswer,
    /// The unmodified SDK's default chain and `GetCallerIdentity`.
    Sdk => SdkAnswer,
    /// Asks STS for a role.
    Assume => Assumed,
    /// Opens a connection that lives on.
    Open => OpenAnswer,
    /// Sends on an open connection.
    Send => SendAnswer,
    /// Reads from an open connection.
    Receive => ReceiveAnswer,
    /// Ends an open connection.
    Close => Done,
    /// Offers an open connection to another process.
    Offer => Done,
    /// Takes a connection that another process offers.
    Take => Done,
    /// What the probe got that was told to ask at once.
    Began => ImdsAnswer,
    /// Accepts connections in the background.
    Listen => ListenAnswer,
    /// What a listener has accepted so far.
    Accepted => AcceptedAnswer,
    /// Stops a listener.
    Unlisten => Done,
    /// One datagram: does it reach the address?
    Knock => KnockAnswer,
    /// Adds or removes an address of an interface.
    Address => Done,
    /// The interfaces and default gateways of the container.
    Interfaces => InterfacesAnswer,
    /// The process's environment.
    Env => EnvAnswer,
    /// What a name resolves to.
    Resolve => ResolveAnswer,
    /// Nothing: the probe lives.
    Ping => Done,
}

#[cfg(test)]
mod tests;
