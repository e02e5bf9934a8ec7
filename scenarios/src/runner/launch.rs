//! Carries a plan out up to the point where the job's first stage can begin: network, services, waiting, predefined, build.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{CreateContainerOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt as _;

use super::cleanup::remove_container;
use super::plan::JobPlan;
use super::requests::{ContainerRequest, Kind, ServiceAddress};
use super::running::{Member, RunningJob};
use crate::probe::channel::ChannelError;

/// Why a job's containers do not run. What was created by then has been removed again.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The engine refused a request.
    #[error("the engine refuses to {action} {name}")]
    Engine {
        /// What was asked.
        action: &'static str,
        /// Of which container or network.
        name: String,
        /// The engine's error.
        #[source]
        source: Error,
    },
    /// A stage's probe could not be reached.
    #[error("cannot begin the stage")]
    Stage(#[from] ChannelError),
}

/// Which containers a scenario wants to see running after the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Created and stopped, as between stages; the scenario begins each stage itself.
    Created,
    /// The build container's stage has begun and stays interactive; predefined is created and stopped.
    Build,
    /// The same without the predefined container: a stopped neighbour that a scenario never looks at costs as much as half a job.
    BuildAlone,
    /// Both stages have begun, which a runner never does; for scenarios that compare the two kinds side by side.
    Both,
}

/// How long a cache-init container may take.
const CACHE_INIT_SECONDS: u64 = 30;

/// Creates everything in the runner's order and begins the stages that the setting asks for.
pub async fn launch(docker: &Docker, plan: &JobPlan, setting: Setting) -> Result<RunningJob, LaunchError> {
    let mut job = RunningJob::new(docker.clone());
    match Box::pin(fill(docker, plan, setting, &mut job)).await {
        Ok(()) => Ok(job),
        Err(error) => {
            // The first error is the one to tell; what cleaning up may add is the engine's same illness.
            let _ = job.cleanup().await;
            Err(error)
        }
    }
}

async fn fill(docker: &Docker, plan: &JobPlan, setting: Setting, job: &mut RunningJob) -> Result<(), LaunchError> {
    if let Some(network) = &plan.network {
        let created = docker.create_network(network.body.clone()).await;
        let created = created.map_err(|source| engine("create network", &network.name, source))?;
        job.network = Some((network.name.clone(), created.id));
    }
    for volume in &plan.volumes {
        let created = docker.create_volume(volume.body.clone()).await;
        created.map_err(|source| engine("create volume", &volume.name, source))?;
        if volume.is_temporary {
            job.volumes.push(volume.name.clone());
        }
        run_to_end(docker, &volume.init, CACHE_INIT_SECONDS).await?;
    }
    let mut services = Vec::new();
    for request in &plan.services {
        let id = create(docker, request).await?;
        let member = Arc::new(Member::new(docker.clone(), request, id.clone()));
        job.members.push(member);
        let started = docker.start_container(&id, None).await;
        started.map_err(|source| engine("start", &request.name, source))?;
        let inspect = docker.inspect_container(&id, None).await;
        let inspect = inspect.map_err(|source| engine("inspect", &request.name, source))?;
        services.push(ServiceAddress {
            name: request.name.clone(),
            ip: first_address(&inspect),
            aliases: request.aliases.clone(),
            ports: request.ports.clone(),
            id,
        });
    }
    for service in &services {
        let Some(mut request) = plan.wait(service) else {
            continue;
        };
        if plan.waits_last {
            // The probe serves until its standard input ends, and here there is none.
            request.body.cmd.get_or_insert_default().push("idle".to_owned());
            let id = create(docker, &request).await?;
            job.members
                .push(Arc::new(Member::new(docker.clone(), &request, id.clone())));
            let started = docker.start_container(&id, None).await;
            started.map_err(|source| engine("start", &request.name, source))?;
        } else {
            run_to_end(docker, &request, plan.wait_seconds.unwrap_or_default()).await?;
        }
    }
    let predefined = (setting != Setting::BuildAlone).then(|| plan.predefined(&services));
    for request in predefined.into_iter().chain([plan.build(&services)]) {
        let id = create(docker, &request).await?;
        let member = Arc::new(Member::new(docker.clone(), &request, id));
        job.members.push(Arc::clone(&member));
        let begins = match request.kind {
            Kind::Build => setting != Setting::Created,
            Kind::Predefined => setting == Setting::Both,
            Kind::Service | Kind::Wait | Kind::CacheInit => false,
        };
        if begins {
            member.begin().await?;
        }
    }
    Ok(())
}

fn engine(action: &'static str, name: &str, source: Error) -> LaunchError {
    LaunchError::Engine {
        action,
        name: name.to_owned(),
        source,
    }
}

async fn create(docker: &Docker, request: &ContainerRequest) -> Result<String, LaunchError> {
    let options = CreateContainerOptionsBuilder::default().name(&request.name).build();
    let mut created = docker
        .create_container(Some(options.clone()), request.body.clone())
        .await;
    if let Err(Error::DockerResponseServerError { status_code: 409, .. }) = created {
        // What a crashed runner left under this name goes first, as the runner itself does it before each creation.
        let removed = remove_container(docker, &request.name).await;
        removed.map_err(|source| engine("remove what is left of", &request.name, source))?;
        created = docker.create_container(Some(options), request.body.clone()).await;
    }
    let created = created.map_err(|source| engine("create", &request.name, source))?;
    Ok(created.id)
}

fn first_address(inspect: &ContainerInspectResponse) -> Option<std::net::IpAddr> {
    let networks = inspect.network_settings.as_ref()?.networks.as_ref()?;
    networks
        .values()
        .find_map(|endpoint| endpoint.ip_address.as_deref()?.parse().ok())
}

/// Runs a wait or cache-init container to its end or its time, and removes it. As with the runner, a service that does not answer fails nothing.
async fn run_to_end(docker: &Docker, request: &ContainerRequest, seconds: u64) -> Result<(), LaunchError> {
    let id = create(docker, request).await?;
    let started = docker.start_container(&id, None).await;
    if started.is_ok() {
        let mut waiting = docker.wait_container(&id, None::<WaitContainerOptions>);
        let _ = tokio::time::timeout(Duration::from_secs(seconds), waiting.next()).await;
    }
    let removed = remove_container(docker, &id).await;
    started.map_err(|source| engine("start", &request.name, source))?;
    removed.map_err(|source| engine("remove", &request.name, source))
}
