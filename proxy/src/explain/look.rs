//! Asks engine and kernel for what an explanation needs.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Network, Standing};
use crate::attest::{network_of, own_network, survey};
use crate::caller::{Facts, Level, Run, Unattested};
use crate::engine::{Engine, EngineError, Setting};

/// Containers that are looked at for neighbours; a host has room for fewer.
const NEIGHBOURS: usize = 2048;

/// Why a container cannot be explained.
#[derive(Debug, Error)]
pub enum NotExplained {
    /// The text cannot be an id or a name.
    #[error("{0:?} is not the id or name of a container")]
    NotAName(String),
    /// The engine has no such container.
    #[error("the engine has no container {0:?}")]
    Unknown(String),
    /// The engine does not answer.
    #[error("the container engine cannot be used")]
    Engine(#[from] EngineError),
}

/// Learns what there is to know of a container, by its name or the beginning of its id.
///
/// # Errors
/// There is none, or the engine does not answer.
pub async fn look(engine: &Engine, container: &str, level: Level) -> Result<(Facts, Standing), NotExplained> {
    // It becomes part of a path of the engine's API.
    let is_name = container.len() <= 256
        && container.starts_with(|c: char| c.is_ascii_alphanumeric())
        && container
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !is_name {
        return Err(NotExplained::NotAName(container.to_owned()));
    }
    let unknown = || NotExplained::Unknown(container.to_owned());
    let setting = engine.setting(container).await?.ok_or_else(unknown)?;
    let inspected = engine.inspect(&setting.id).await?.ok_or_else(unknown)?;
    let image = engine.image(&inspected.image_id).await?;
    let surveyed = if inspected.is_running {
        survey(&inspected.id, inspected.pid, level)
    } else {
        Err(Unattested::NotRunning)
    };
    let facts = Facts {
        run: Run {
            container_id: inspected.id,
            started_at: inspected.started_at,
            cgroup_id: surveyed.as_ref().map(|surveyed| surveyed.cgroup_id).unwrap_or_default(),
        },
        labels: inspected.labels,
        env: inspected.env,
        image_env: image.env,
        image_labels: image.labels,
        image_id: inspected.image_id,
        repo_digests: image.repo_digests,
    };
    let others: Vec<Setting> = engine.settings(NEIGHBOURS).await?;
    let strangers: Vec<&Setting> = others
        .iter()
        .filter(|other| other.id != setting.id && !other.is_of_job_of(&setting))
        .collect();
    let network = match (&surveyed, own_network()) {
        _ if setting.network_mode == "none" => Network::Without,
        (Ok(surveyed), Ok(host)) if surveyed.network == host => Network::Host,
        _ if setting.network_mode == "host" => Network::Host,
        _ => Network::Own,
    };
    let same_namespace = match (&surveyed, network) {
        (Ok(surveyed), Network::Own) => others
            .iter()
            .filter(|other| other.id != setting.id && (level == Level::Netns || !other.is_of_job_of(&setting)))
            .filter(|other| network_of(other.pid).ok() == Some(surveyed.network))
            .map(|other| other.name.clone())
            .collect(),
        (Ok(_) | Err(_), _) => Vec::new(),
    };
    let names: BTreeMap<String, String> = engine
        .networks()
        .await?
        .into_iter()
        .map(|network| (network.id, network.name))
        .collect();
    let count = |id: &String| strangers.iter().filter(|other| other.networks.contains(id)).count();
    let shared = setting
        .networks
        .iter()
        .map(|id| (names.get(id).unwrap_or(id).clone(), count(id)));
    let same_bridge = match network {
        Network::Own => shared.filter(|(_, others)| *others > 0).collect(),
        Network::Host | Network::Without => Vec::new(),
    };
    let standing = Standing {
        name: setting.name,
        cgroup: surveyed.map(|surveyed| surveyed.directory.display().to_string()),
        network,
        same_namespace,
        same_bridge,
    };
    Ok((facts, standing))
}
