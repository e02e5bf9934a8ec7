//! The rules of the firewall, from before anything else until the end.

use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::fault::{RunError, list};
use crate::config::Config;
use crate::firewall::Rules;
use crate::health::{Beat, Health};
use crate::metrics::Metrics;
use crate::serve::Listener;

/// Between two looks at the rules. Until then a job without redirect meets the routing's black hole, never the real endpoint.
const VERIFY_EVERY: Duration = Duration::from_secs(5);
/// A look and a repair may take a minute on a host that is busy; whoever has not looked for longer than that does not look any more.
const STUCK_AFTER: Duration = Duration::from_mins(3);

/// The port that was bound.
pub(super) fn port_of(listeners: &[Listener]) -> Result<NonZeroU16, RunError> {
    let address = listeners
        .first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable));
    let address = address
        .and_then(Listener::address)
        .map_err(RunError::system("read the listening address"))?;
    let port = NonZeroU16::new(address.port()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable));
    port.map_err(RunError::system("read the listening port"))
}

/// Puts the rules in place and looks after them from then on, if that is ours to do.
pub(super) async fn close_endpoint(
    config: &Config,
    port: NonZeroU16,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    if config.firewall.manage {
        let rules = Rules::new(config, port)?.with_itself()?;
        rules.apply().await?;
        let differences = rules.verify().await?;
        if !differences.is_empty() {
            return Err(RunError::NotApplied { differences });
        }
        health.tell_verified(true);
        tokio::spawn(keep_firewall(
            rules,
            Arc::clone(metrics),
            Arc::clone(health),
            health.pulse().join("firewall", STUCK_AFTER),
            stop.clone(),
        ));
    }
    Ok(())
}

/// Looks at the rules again and again, and repairs what somebody changed (P18).
async fn keep_firewall(rules: Rules, metrics: Arc<Metrics>, health: Arc<Health>, beat: Beat, stop: CancellationToken) {
    loop {
        beat.go_on();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(VERIFY_EVERY) => {}
        }
        match rules.verify().await {
            Ok(differences) if differences.is_empty() => health.tell_verified(true),
            Ok(differences) => {
                health.tell_verified(false);
                tracing::error!(
                    differences = list(&differences),
                    "the firewall is not as planned; repairing it"
                );
                metrics.count_repair();
                if let Err(error) = rules.apply().await {
                    tracing::error!(%error, "the firewall cannot be repaired");
                }
            }
            Err(error) => tracing::error!(%error, "the firewall cannot be verified"),
        }
    }
}
