//! Removes a job's containers and network as the runner does (docker.go:1266-1330, 1777-1838).

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::NetworkDisconnectRequest;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RemoveVolumeOptions};
use futures_util::future::join_all;

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("not everything of the job could be removed: {}", left.join("; "))]
pub struct CleanupError {
    /// Each with the engine's reason.
    pub left: Vec<String>,
}

/// Containers side by side, then volumes, then the network with whatever somebody else put into it.
pub(super) async fn clean(
    docker: &Docker,
    containers: &[&str],
    volumes: &[String],
    network: Option<&str>,
) -> Result<(), CleanupError> {
    let mut left = Vec::new();
    let removals = containers
        .iter()
        .map(|id| async move { (*id, remove_container(docker, id).await) });
    for (id, removed) in join_all(removals).await {
        if let Err(error) = removed {
            left.push(format!("container {id}: {error}"));
        }
    }
    for volume in volumes {
        if let Err(error) = gone(docker.remove_volume(volume, None::<RemoveVolumeOptions>).await) {
            left.push(format!("volume {volume}: {error}"));
        }
    }
    if let Some(network) = network
        && let Err(error) = remove_network(docker, network).await
    {
        left.push(format!("network {network}: {error}"));
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(CleanupError { left })
    }
}

/// Disconnects from every network by force, then removes; a container that is gone is as good.
pub(super) async fn remove_container(docker: &Docker, id: &str) -> Result<(), Error> {
    let inspected = docker.inspect_container(id, None).await;
    let networks = inspected
        .ok()
        .and_then(|container| container.network_settings?.networks)
        .unwrap_or_default();
    for network in networks.into_keys() {
        let request = NetworkDisconnectRequest {
            container: id.to_owned(),
            force: Some(true),
        };
        // A stopped container has no endpoint to disconnect, and the host's network cannot be left: the removal itself decides.
        let _ = docker.disconnect_network(&network, request).await;
    }
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    gone(docker.remove_container(id, Some(options)).await)
}

async fn remove_network(docker: &Docker, name: &str) -> Result<(), Error> {
    let inspected = docker.inspect_network(name, None).await;
    let containers = inspected
        .ok()
        .and_then(|network| network.containers)
        .unwrap_or_default();
    for id in containers.keys() {
        remove_container(docker, id).await?;
    }
    gone(docker.remove_network(name).await)
}

fn gone(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        outcome => outcome,
    }
}
