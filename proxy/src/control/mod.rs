//! What an operator may tell a running proxy, over a socket file that no job reaches: one order, one reply, each a line of JSON.

mod client;
mod listener;
mod register;
mod sessions;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use client::{NoReply, ask};
pub use listener::{Peer, serve};
pub use register::{NotKept, Register, Unreadable};
pub use sessions::refuse_older;

use crate::policy::Target;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// From now on the subject gets nothing.
    Revoke(Target),
    /// The rules alone decide about the subject again.
    Lift(Target),
    /// Nothing but to tell what is revoked.
    List,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It was done.
    Done {
        /// Whether it changed anything: a subject may have been revoked, or not, before.
        is_change: bool,
        /// Sets of credentials that were cached and are forgotten.
        forgotten: usize,
        /// Subjects that are revoked now.
        revoked: Vec<Target>,
        /// Why a restart of the proxy will undo it, if it will. An earlier version does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unkept: Option<String>,
    },
    /// It was not.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// How an order is called in the audit log.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revoke(_) => "revoke",
            Self::Lift(_) => "lift",
            Self::List => "list",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Reply};
    use crate::policy::Target;

    #[test]
    fn orders_and_replies_keep_their_words() {
        // Another version's client may be at the other end.
        let order = Order::Revoke(Target::Job(302));
        assert_eq!(serde_json::to_string(&order).unwrap(), r#"{"revoke":{"job":302}}"#);
        assert_eq!(serde_json::from_str::<Order>(r#""list""#).unwrap(), Order::List);
        let reply = Reply::Done {
            is_change: true,
            forgotten: 2,
            revoked: vec![Target::Role("arn:aws:iam::123456789012:role/a".to_owned())],
            unkept: None,
        };
        assert_eq!(
            serde_json::to_string(&reply).unwrap(),
            r#"{"done":{"is_change":true,"forgotten":2,"revoked":[{"role":"arn:aws:iam::123456789012:role/a"}]}}"#
        );
    }
}
