//! Peers that nobody could explain a moment ago: the engine is not asked about them again at once, however often they call. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How long a peer rests after a search for it found nobody.
const REST: Duration = Duration::from_secs(1);
/// Peers remembered. A job that sends from more addresses than that has its searches bounded by the semaphore alone.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Strangers {
    until: HashMap<IpAddr, Instant>,
}

impl Strangers {
    /// Remembers that a search found nobody.
    pub(crate) fn add(&mut self, peer: IpAddr, now: Instant) {
        if self.until.len() >= MOST {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < MOST {
            self.until.insert(peer, now + REST);
        }
    }

    /// Whether a search for the peer would come too soon.
    pub(crate) fn are_resting(&self, peer: IpAddr, now: Instant) -> bool {
        self.until.get(&peer).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> IpAddr {
        IpAddr::from(u128::try_from(number).unwrap().to_be_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_rests_and_is_searched_for_again_later() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        strangers.add(peer(1), now);
        assert!(strangers.are_resting(peer(1), now));
        assert!(!strangers.are_resting(peer(2), now));
        assert!(!strangers.are_resting(peer(1), now + REST));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_peers_is_bounded_and_room_comes_back() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        for number in 0..2 * MOST {
            strangers.add(peer(number), now);
        }
        assert_eq!(strangers.until.len(), MOST);
        strangers.add(peer(5000), now + REST);
        assert_eq!(strangers.until.len(), 1);
    }
}
