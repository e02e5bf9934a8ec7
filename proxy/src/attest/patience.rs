//! How long a connection that cannot be explained is looked at again. Pure but for the clock.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::caller::Unattested;

/// How long a connection may wait to be explained: requests arrive before the engine knows their container.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks; doubled each time, so that a peer that nobody can explain costs the engine little.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again until the connection is explained, another look is not worth it, or patience ends.
///
/// # Errors
/// The last refusal.
pub(super) async fn look_again<T, F>(first: Unattested, mut look: impl FnMut() -> F) -> Result<T, Unattested>
where
    F: Future<Output = Result<T, Unattested>>,
{
    let deadline = Instant::now() + PATIENCE;
    let (mut refusal, mut pause, mut is_first_time) = (first, PAUSE, true);
    while is_worth_another_look(refusal, is_first_time) {
        if !is_first_time {
            // Also a look that never waits, which no timeout ends.
            if Instant::now() >= deadline {
                break;
            }
            sleep_until(deadline.min(Instant::now() + pause)).await;
            pause *= 2;
        }
        is_first_time = false;
        refusal = match timeout_at(deadline, look()).await {
            Ok(Ok(attested)) => return Ok(attested),
            Ok(Err(refusal)) => refusal,
            Err(_) => break,
        };
    }
    Err(refusal)
}

/// Whether asking the engine again may explain a connection that one look did not.
pub(super) const fn is_worth_another_look(refusal: Unattested, is_first_time: bool) -> bool {
    match refusal {
        // The engine may not know yet.
        Unattested::UnknownAddress | Unattested::NotRunning | Unattested::Raced => true,
        // The address may have moved to another container: look once there, and not again.
        Unattested::NoSuchSocket | Unattested::NotEstablished | Unattested::Orphaned => is_first_time,
        Unattested::DirectConnection
        | Unattested::NoCgroup
        | Unattested::AnotherSocket
        | Unattested::Ambiguous
        | Unattested::SharedNetwork
        | Unattested::Unfiltered
        | Unattested::EngineUnavailable => false,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// What came out, how many looks it took, and how long.
    async fn outcome(
        first: Unattested,
        answers: &[Result<(), Unattested>],
    ) -> (Result<(), Unattested>, usize, Duration) {
        let (mut looks, begun) = (0, Instant::now());
        let look = || {
            let answer = answers.get(looks).or(answers.last()).copied();
            looks += 1;
            async move {
                match answer {
                    Some(answer) => answer,
                    None => pending().await,
                }
            }
        };
        let result = look_again(first, look).await;
        (result, looks, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_never_waits_ends_with_patience() {
        for refusal in [Unattested::UnknownAddress, Unattested::NotRunning, Unattested::Raced] {
            let (result, looks, waited) = outcome(refusal, &[Err(refusal)]).await;
            assert_eq!((result, waited), (Err(refusal), PATIENCE));
            // 10, 20, … 640 ms would be 1270.
            assert_eq!(looks, 8);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_waits_for_ever_ends_with_patience() {
        let (result, looks, waited) = outcome(Unattested::UnknownAddress, &[]).await;
        assert_eq!((result, looks, waited), (Err(Unattested::UnknownAddress), 1, PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_explained_is_not_looked_at_again() {
        let unknown = Err(Unattested::UnknownAddress);
        let (result, looks, waited) = outcome(Unattested::UnknownAddress, &[unknown, unknown, Ok(())]).await;
        assert_eq!((result, looks, waited), (Ok(()), 3, PAUSE * 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_is_not_there_is_looked_for_once_more_and_a_doubt_never() {
        let missing = Err(Unattested::NoSuchSocket);
        let (result, looks, _) = outcome(Unattested::NoSuchSocket, &[missing]).await;
        assert_eq!((result, looks), (missing, 1));
        let shared = Err(Unattested::SharedNetwork);
        let (result, looks, _) = outcome(Unattested::SharedNetwork, &[Ok(())]).await;
        assert_eq!((result, looks), (shared, 0));
    }
}
