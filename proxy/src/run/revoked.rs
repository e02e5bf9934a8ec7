//! Who was revoked before the proxy started.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::fault::RunError;
use crate::config::Config;
use crate::control::Register;
use crate::engine::Engine;
use crate::policy::Revocations;

/// A container that was revoked so long ago, and that the engine does not have, does not come back.
const GONE_FOR: Duration = Duration::from_hours(7 * 24);

/// Reads who was revoked when an earlier proxy ended, and makes sure that it can be kept.
pub(super) fn load(config: &Config) -> Result<(Register, Revocations), RunError> {
    let register = Register::new(config.revocations.clone());
    let Some(path) = register.path() else {
        if config.listen.control.is_some() {
            tracing::warn!(
                "what is revoked is forgotten when the proxy ends: revocations.file does not say where to keep it"
            );
        }
        return Ok((register, Revocations::default()));
    };
    let revoked = register.load().map_err(|source| RunError::Revocations {
        path: path.to_owned(),
        source,
    })?;
    for subject in revoked.iter() {
        tracing::info!(%subject, "still revoked");
    }
    // An operator should not learn from the first order that it cannot be kept.
    register.keep(|| Arc::new(revoked.clone()))?;
    Ok((register, revoked))
}

/// Lifts what can mean nobody any more.
pub(super) async fn tidy(
    revoked: &mut Revocations,
    register: &Register,
    engine: &Engine,
    now: SystemTime,
) -> Result<(), RunError> {
    let before = now.checked_sub(GONE_FOR).unwrap_or(SystemTime::UNIX_EPOCH);
    if !revoked.has_containers_of(before) {
        return Ok(());
    }
    let existing = match engine.every().await {
        Ok(existing) => existing,
        Err(error) => {
            tracing::warn!(%error, "containers that were revoked and are gone stay revoked");
            return Ok(());
        }
    };
    let existing: Vec<String> = existing.into_iter().map(|container| container.id).collect();
    let gone = revoked.lift_gone(before, &existing);
    for subject in &gone {
        tracing::info!(%subject, "not revoked any more: the engine does not have it");
    }
    if !gone.is_empty() {
        register.keep(|| Arc::new(revoked.clone()))?;
    }
    Ok(())
}
