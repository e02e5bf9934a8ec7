//! Listeners show that they go on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{TestWire, world};
use crate::caller::Connection;
use crate::health::Pulse;
use crate::serve::{Accept, run};

/// What becomes of accepting.
enum Accepting {
    Nobody,
    Fails,
    Panics,
}

impl Accept for Accepting {
    type Wire = TestWire;

    async fn accept(&mut self) -> io::Result<(TestWire, Connection)> {
        match self {
            Self::Nobody => std::future::pending().await,
            Self::Fails => Err(io::ErrorKind::OutOfMemory.into()),
            Self::Panics => panic!("scripted"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_goes_on_whether_anybody_comes_or_not_and_one_that_has_ended_is_stuck() {
    for (listeners, stuck) in [
        (vec![Accepting::Nobody, Accepting::Fails], &[][..]),
        (vec![Accepting::Nobody, Accepting::Panics], &["listener"]),
    ] {
        let world = world();
        let pulse = Pulse::default();
        let (service, stop) = (Arc::clone(&world.service), world.stop.clone());
        let felt = pulse.clone();
        let running = tokio::spawn(async move { run(service, listeners, &felt, stop).await });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(pulse.stuck(), stuck);
        world.stop.cancel();
        running.await.unwrap();
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(pulse.stuck().len(), 2, "nobody goes on");
    }
}
