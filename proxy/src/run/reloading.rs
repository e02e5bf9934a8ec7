//! Reads the configuration again while the proxy serves.

use std::error::Error as _;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::ambient;
use crate::caller::Attestor;
use crate::config::Config;
use crate::credentials::AssumeRole;
use crate::reload::{self, Loaded, Origin};
use crate::serve::Service;
use crate::supervisor::{Supervisor, Word};
use crate::watch::FileWatch;

/// What the service manager shows after a reload that changed nothing.
const NOT_RELOADED: &str = "serving; the last reload was refused, and the policy of before is in force: see the log";

/// What the service manager shows of a proxy that serves.
pub(super) fn status(rules: usize) -> String {
    format!("serving: {} in force", count(rules, "rule"))
}

/// What makes the proxy read its configuration again.
pub(super) struct Occasions {
    /// SIGHUP.
    pub(super) hangup: Signal,
    /// The file has changed.
    pub(super) watch: Option<FileWatch>,
}

/// Reads the configuration again at each SIGHUP, and when the file has changed if the operator wants that: its rules take the place of
/// those in force, or nothing changes at all.
pub(super) async fn follow_file<A: Attestor, S: AssumeRole>(
    occasions: Occasions,
    (loaded, origin): (&Loaded, &Origin),
    service: Arc<Service<A, S>>,
    supervisor: &Supervisor,
    stop: CancellationToken,
    announce: &impl Fn(&str),
) {
    let Occasions { mut hangup, mut watch } = occasions;
    let Loaded { config, warnings, .. } = loaded;
    let mut known = warnings.clone();
    loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = hangup.recv() => if received.is_none() { return },
            () = changed => tracing::info!("the configuration file has changed"),
        }
        let since = ambient::monotonic_microseconds();
        supervisor.tell(Word::Reloading { since }, None).await;
        let Some(new) = read_again(config, origin) else {
            service.metrics.count_reload(false);
            supervisor.tell(Word::Ready, Some(NOT_RELOADED)).await;
            announce("policy not reloaded: the one of before stays in force");
            continue;
        };
        let Loaded {
            config: new, warnings, ..
        } = new;
        for warning in warnings.iter().filter(|warning| !known.contains(warning)) {
            tracing::warn!("{warning}");
        }
        known = warnings;
        let replaced = service.replace_policy(&new);
        tracing::info!(
            rules = replaced.rules,
            withdrawn = replaced.withdrawn.join(", "),
            forgotten = replaced.forgotten,
            "the policy is replaced"
        );
        service.metrics.count_reload(true);
        supervisor.tell(Word::Ready, Some(&status(replaced.rules))).await;
        announce(&format!("policy reloaded: {} in force", count(replaced.rules, "rule")));
    }
}

/// The configuration as it is now, if it can take over. Faults are told in the words of `check`.
fn read_again(config: &Config, origin: &Origin) -> Option<Loaded> {
    match origin.read() {
        Ok(new) => match reload::compare(config, &new.config) {
            Ok(()) => return Some(new),
            Err(needs_restart) => tracing::error!("{}: {needs_restart}", origin.path.display()),
        },
        Err(unusable) => match unusable.faults() {
            Some(faults) => faults.0.iter().for_each(|fault| tracing::error!("{fault}")),
            None => tracing::error!(cause = unusable.source().map(ToString::to_string), "{unusable}"),
        },
    }
    None
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
