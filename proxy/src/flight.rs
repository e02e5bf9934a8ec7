//! Something that is done once while many wait for it, and that goes on when they leave. Knows nothing of what it is.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Where the end of it will be told, to everybody who has a copy.
#[derive(Debug)]
pub(crate) struct Flight<T>(watch::Receiver<Option<T>>);

/// Why there is no end to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoEnd {
    /// It panicked, or the program ends.
    Gone,
    /// It goes on.
    Late,
}

impl<T> Clone for Flight<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Begins it, as a task of its own.
    pub(crate) fn launch(work: impl Future<Output = T> + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move { sender.send_replace(Some(work.await)) });
        Self(receiver)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// There is none within that time, or ever.
    pub(crate) async fn end(mut self, within: Duration) -> Result<T, NoEnd> {
        match timeout(within, self.0.wait_for(Option::is_some)).await {
            Ok(Ok(end)) => end.clone().ok_or(NoEnd::Gone),
            Ok(Err(_closed)) => Err(NoEnd::Gone),
            Err(_elapsed) => Err(NoEnd::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::time::sleep;

    use super::{Flight, NoEnd};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn everybody_hears_of_the_end_also_who_comes_after_it() {
        let flight = Flight::launch(async {
            sleep(SECOND).await;
            7
        });
        let (first, second) = tokio::join!(flight.clone().end(2 * SECOND), flight.clone().end(2 * SECOND));
        assert_eq!((first, second), (Ok(7), Ok(7)));
        assert_eq!(flight.end(Duration::ZERO).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_when_everybody_has_left() {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let flight = Flight::launch(async move {
            sleep(2 * SECOND).await;
            told.store(true, Ordering::SeqCst);
        });
        assert_eq!(flight.end(SECOND).await, Err(NoEnd::Late));
        assert!(!is_over.load(Ordering::SeqCst));
        sleep(2 * SECOND).await;
        assert!(is_over.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_no_end() {
        let flight: Flight<()> = Flight::launch(async { panic!("as a library might") });
        assert_eq!(flight.end(SECOND).await, Err(NoEnd::Gone));
    }
}
