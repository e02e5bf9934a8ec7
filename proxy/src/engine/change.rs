//! The engine's event stream, reduced to what moves containers and addresses. An event is a hint: it comes late, and can be missed.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bollard::models::EventMessage;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::lines::Lines;
use super::way::{ENDLESS, Way};

/// `{"type":["container","network"]}`, as a query writes it.
const FILTERS: &str = "%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%7D";
/// Until the engine says that it will tell.
const PATIENCE: Duration = Duration::from_secs(10);

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
    changes: Pin<Box<dyn Stream<Item = Change> + Send>>,
}

impl Changes {
    /// Asks when it is first waited for.
    pub(super) fn new(way: Way, version: &str) -> Self {
        let following = Following {
            way,
            path: format!("/{version}/events?filters={FILTERS}"),
            body: None,
            lines: Lines::default(),
            read: VecDeque::new(),
        };
        Self {
            changes: Box::pin(stream::unfold(following, |mut following| async move {
                following.next().await.map(|change| (change, following))
            })),
        }
    }

    /// The next change; None when the stream is broken and nothing can be relied upon any more.
    pub async fn next(&mut self) -> Option<Change> {
        self.changes.next().await
    }
}

/// The engine's answer, as far as it has been read.
struct Following {
    way: Way,
    path: String,
    body: Option<Incoming>,
    lines: Lines,
    /// None: what cannot be read.
    read: VecDeque<Option<Change>>,
}

impl Following {
    async fn next(&mut self) -> Option<Change> {
        if self.body.is_none() {
            let request = Request::get(&self.path).body(Empty::<Bytes>::new()).ok()?;
            let answer = timeout(PATIENCE, self.way.send(request, ENDLESS)).await.ok()?.ok()?;
            if answer.status() != StatusCode::OK {
                return None;
            }
            self.body = Some(answer.into_body());
        }
        loop {
            if let Some(change) = self.read.pop_front() {
                return change;
            }
            let frame = self.body.as_mut()?.frame().await?.ok()?;
            let (lines, read) = (&mut self.lines, &mut self.read);
            lines.push(frame.data_ref()?, |line| match line.map(read_line) {
                Some(Ok(None)) => {}
                Some(Ok(Some(change))) => read.push_back(Some(change)),
                Some(Err(_)) => read.push_back(None),
                // Whatever it told is missed, as any event can be: its author must not end the stream for everybody.
                None => tracing::warn!("the engine told of something in more than 1 MiB; it is left out"),
            });
        }
    }
}

fn read_line(line: &[u8]) -> serde_json::Result<Option<Change>> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line).map(|event| Change::read(&event))
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
