//! The self-test: before anybody is served, and again and again while the proxy serves.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::fault::RunError;
use super::stopped_within;
use crate::ambient;
use crate::attest::KernelAttestor;
use crate::audit::{AuditLog, Proof};
use crate::credentials::write_time;
use crate::engine::Engine;
use crate::firewall::ENDPOINTS;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::selftest::{self, Canary, SelfTestError};
use crate::serve::{Accept as _, Listener};

/// After one that failed: a busy host is no reason for an hour of alarm. Doubled after each that fails.
const AGAIN: Duration = Duration::from_mins(1);
/// For a proof that is broken off to take away what it has made: a busy host makes and removes a container in seconds, and `docker stop` gives
/// ten before it kills.
const FAREWELL: Duration = Duration::from_secs(8);

/// Proves that callers can be told apart, before anybody is served.
pub(super) async fn prove(
    engine: &Engine,
    attestor: &KernelAttestor,
    listeners: &mut [Listener],
) -> Result<(), RunError> {
    let Some(first) = listeners.first_mut() else {
        return Ok(());
    };
    let [endpoint, _] = ENDPOINTS;
    selftest::prove(engine, attestor, async || first.accept().await, endpoint, &nonce()).await?;
    tracing::info!("self-test passed: the kernel tells callers apart");
    Ok(())
}

/// What a self-test needs while the proxy serves, and who hears of it.
pub(super) struct Proofs {
    pub(super) engine: Engine,
    pub(super) canary: Canary,
    /// How often.
    pub(super) every: Duration,
    /// Whether strangers are refused: not while everybody is observed.
    pub(super) is_enforcing: bool,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) audit: AuditLog,
    pub(super) clock: SharedTimeSource,
}

impl Proofs {
    /// Proves it again and again. A proof that fails is told to everybody who watches, and nobody is served otherwise because of it.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut failures: u32 = 0;
        self.health.expect_proofs(self.every);
        while !stopped_within(pause(self.every, failures), &stop).await {
            let [endpoint, _] = ENDPOINTS;
            let nonce = nonce();
            let proof = selftest::repeat(&self.engine, &self.canary, endpoint, &nonce, self.is_enforcing, &stop);
            let farewell = async {
                stop.cancelled().await;
                sleep(FAREWELL).await;
            };
            let proof = tokio::select! {
                proof = proof => proof,
                () = farewell => {
                    tracing::warn!("the self-test's container stays until the next start: the engine took too long to remove it");
                    return;
                }
            };
            if matches!(proof, Err(SelfTestError::BrokenOff)) {
                return;
            }
            failures = if proof.is_ok() { 0 } else { failures.saturating_add(1) };
            self.tell(proof);
        }
    }

    fn tell(&self, proof: Result<(), SelfTestError>) {
        let now = self.clock.now();
        let proof = proof.map_err(|error| words(&error));
        match &proof {
            Ok(()) => {
                tracing::info!("self-test passed: callers are told apart, and a stranger is refused");
                self.metrics.show_proven(now);
            }
            Err(why) => {
                tracing::error!(why, "the self-test failed while the proxy serves");
                self.metrics.count_unproven();
            }
        }
        self.audit.record_proof(&Proof {
            time: write_time(now).unwrap_or_default(),
            self_test: if proof.is_ok() { "passed" } else { "failed" },
            detail: proof.as_ref().err().cloned(),
        });
        self.health.tell_proof(proof);
    }
}

/// Until the next proof.
fn pause(every: Duration, failures: u32) -> Duration {
    match failures {
        0 => every,
        _ => every.min(AGAIN.saturating_mul(1 << (failures - 1).min(16))),
    }
}

/// An error with all its causes, in one line.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _infallible = write!(words, ": {error}");
        cause = error.source();
    }
    words.replace(char::is_control, " ")
}

fn nonce() -> String {
    let mut nonce = String::new();
    for byte in ambient::random::<16>() {
        let _infallible = write!(nonce, "{byte:02x}");
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_that_failed_is_made_again_soon_and_never_more_often_than_the_operator_says() {
        let hour = Duration::from_hours(1);
        let minutes: Vec<u64> = (0..9).map(|failures| pause(hour, failures).as_secs() / 60).collect();
        assert_eq!(minutes, [60, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(Duration::from_secs(10), 1), Duration::from_secs(10));
        assert_eq!(pause(hour, u32::MAX), hour);
    }

    #[test]
    fn why_it_failed_is_one_line() {
        let error = SelfTestError::Image(std::io::Error::other("a\nb"));
        assert_eq!(
            words(&error),
            "reading the program's own files for the self-test's image: a b"
        );
    }
}
