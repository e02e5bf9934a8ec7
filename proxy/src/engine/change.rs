//! The engine's event stream, reduced to what moves containers and addresses. An event is a hint: it comes late, and can be missed.

use std::fmt;
use std::pin::Pin;

use bollard::errors::Error as ApiError;
use bollard::models::EventMessage;
use futures_util::{Stream, StreamExt};

/// What happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It started, or was connected to a network: it may be inspected.
    Arrived {
        /// Full id.
        container: String,
    },
    /// It ended.
    Ended {
        /// Full id.
        container: String,
    },
    /// It lost a network.
    Disconnected {
        /// Full id.
        container: String,
    },
}

impl Change {
    /// Reads one event; None if it moves nothing.
    #[must_use]
    pub fn read(event: &EventMessage) -> Option<Self> {
        let actor = event.actor.as_ref()?;
        let member = || {
            actor
                .attributes
                .as_ref()
                .and_then(|attributes| attributes.get("container"))
                .cloned()
        };
        let kind = event.typ.map(|kind| kind.to_string());
        match (kind.as_deref()?, event.action.as_deref()?) {
            ("container", "start") => Some(Self::Arrived {
                container: actor.id.clone()?,
            }),
            ("container", "die" | "destroy") => Some(Self::Ended {
                container: actor.id.clone()?,
            }),
            ("network", "connect") => Some(Self::Arrived { container: member()? }),
            ("network", "disconnect") => Some(Self::Disconnected { container: member()? }),
            _ => None,
        }
    }
}

/// A stream of changes. It ends when the engine goes away or says something that cannot be read.
pub struct Changes {
    events: Pin<Box<dyn Stream<Item = Result<EventMessage, ApiError>> + Send>>,
}

impl Changes {
    pub(crate) fn new(events: impl Stream<Item = Result<EventMessage, ApiError>> + Send + 'static) -> Self {
        Self {
            events: Box::pin(events),
        }
    }

    /// The next change; None when the stream is broken and nothing can be relied upon any more.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let event = self.events.next().await?.ok()?;
            if let Some(change) = Change::read(&event) {
                return Some(change);
            }
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Change> {
        Change::read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn starts_ends_and_networks_are_changes_and_nothing_else_is() {
        let container = "aa".to_owned();
        assert_eq!(
            read(r#"{"Type":"container","Action":"start","Actor":{"ID":"aa"}}"#),
            Some(Change::Arrived {
                container: container.clone()
            })
        );
        assert_eq!(
            read(r#"{"Type":"container","Action":"die","Actor":{"ID":"aa"}}"#),
            Some(Change::Ended {
                container: container.clone()
            })
        );
        let disconnect =
            r#"{"Type":"network","Action":"disconnect","Actor":{"ID":"nn","Attributes":{"container":"aa"}}}"#;
        assert_eq!(read(disconnect), Some(Change::Disconnected { container }));
        assert_eq!(
            read(r#"{"Type":"container","Action":"exec_start: sh","Actor":{"ID":"aa"}}"#),
            None
        );
        assert_eq!(
            read(r#"{"Type":"network","Action":"disconnect","Actor":{"ID":"nn"}}"#),
            None
        );
    }
}
