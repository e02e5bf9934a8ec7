//! Counts the containers that an engine starts: what a run costs depends on little else.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use tokio::task::AbortHandle;

/// How long after an engine's end the next one is looked for.
const PAUSE: Duration = Duration::from_millis(200);

/// A running count. What starts before an engine that was restarted is found again is not counted: what a run claims to have started, it has.
#[derive(Debug)]
pub(super) struct Census {
    started: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Census {
    /// Counts from now on.
    pub(super) fn begin(docker: Docker) -> Self {
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let task = tokio::spawn(async move {
            let filters = HashMap::from([("type", vec!["container"]), ("event", vec!["start"])]);
            let options = EventsOptionsBuilder::default().filters(&filters).build();
            loop {
                let mut events = Box::pin(docker.events(Some(options.clone())));
                while let Some(Ok(_)) = events.next().await {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self {
            started,
            task: task.abort_handle(),
        }
    }

    /// How many were started so far.
    pub(super) fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.task.abort();
    }
}
