//! The containers of a case while it is played: launched as GitLab Runner would, addressed as `job.kind`, and gone at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerInspectResponse, NetworkDisconnectRequest};
use bollard::query_parameters::{KillContainerOptions, RemoveContainerOptionsBuilder};
use futures_util::StreamExt;

use super::PlayError;
use super::lines::Line;
use crate::runner::{Kind, Member, RunningJob, remove_network};

/// A container that took part: what it may see, and where its traffic was captured.
#[derive(Debug, Clone)]
pub struct Watched {
    /// `job.kind` or `job.alias`.
    pub place: String,
    /// Host-side interfaces it had, by index; the kernel gives an index only once.
    pub interfaces: BTreeSet<u32>,
    /// Canaries that it may see.
    pub own: BTreeSet<String>,
}

/// One container.
#[derive(Debug)]
struct Actor {
    job: String,
    member: Arc<Member>,
    /// The probe in it; none while it is not running.
    line: Option<Line>,
    watched: Watched,
}

/// Everything that a case's steps may name.
#[derive(Debug, Default)]
pub(crate) struct Actors {
    jobs: BTreeMap<String, RunningJob>,
    places: BTreeMap<String, Actor>,
    networks: Vec<String>,
    facts: BTreeMap<String, String>,
    /// Containers that have been removed.
    gone: Vec<Watched>,
}

/// The name that a case's network has on the instance.
pub(crate) fn network_name(case_id: &str, network: &str) -> String {
    format!("{}-{network}", case_id.to_lowercase())
}

/// What the engine says of a container that steps and oracles use.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) pid: Option<u32>,
    values: Vec<(&'static str, String)>,
}

impl Facts {
    fn of(inspected: &ContainerInspectResponse) -> Self {
        let pid = inspected
            .state
            .as_ref()
            .and_then(|state| state.pid)
            .filter(|pid| *pid > 0)
            .and_then(|pid| u32::try_from(pid).ok());
        let endpoint = inspected
            .network_settings
            .as_ref()
            .and_then(|settings| settings.networks.as_ref())
            .and_then(|all| {
                all.values().find(|endpoint| {
                    endpoint
                        .ip_address
                        .as_deref()
                        .is_some_and(|address| !address.is_empty())
                })
            });
        let name = inspected
            .name
            .as_deref()
            .map(|name| ("name", name.trim_start_matches('/').to_owned()));
        let values = endpoint.map(|endpoint| {
            [
                ("ip", &endpoint.ip_address),
                ("ip6", &endpoint.global_ipv6_address),
                ("mac", &endpoint.mac_address),
                ("gateway", &endpoint.gateway),
            ]
            .into_iter()
            .filter_map(|(name, value)| {
                value
                    .clone()
                    .filter(|value| !value.is_empty())
                    .map(|value| (name, value))
            })
            .collect::<Vec<_>>()
        });
        Self {
            pid,
            values: values.unwrap_or_default().into_iter().chain(name).collect(),
        }
    }
}

impl Actors {
    /// Takes a launched job in: its containers become places.
    pub(super) fn enter(&mut self, name: &str, job: RunningJob, places: Vec<(String, Arc<Member>)>) {
        for (place, member) in places {
            let watched = Watched {
                place: place.clone(),
                interfaces: BTreeSet::new(),
                own: BTreeSet::new(),
            };
            self.places.insert(
                place,
                Actor {
                    job: name.to_owned(),
                    member,
                    line: None,
                    watched,
                },
            );
        }
        self.jobs.insert(name.to_owned(), job);
    }

    /// A network of the case's that has to go at the end.
    pub(super) fn note_network(&mut self, name: String) {
        self.networks.push(name);
    }

    /// The places of a job, in order.
    pub(super) fn places_of(&self, job: &str) -> Vec<String> {
        self.places
            .iter()
            .filter(|(_, actor)| actor.job == job)
            .map(|(place, _)| place.clone())
            .collect()
    }

    /// The container at a place.
    pub(super) fn member(&self, place: &str) -> Option<Arc<Member>> {
        self.places.get(place).map(|actor| Arc::clone(&actor.member))
    }

    /// Begins to watch a container that runs: its probe, its addresses, its interfaces.
    pub(super) async fn look(&mut self, place: &str) -> Result<Facts, PlayError> {
        let member = self.member(place).ok_or_else(|| missing(place))?;
        let inspected = member
            .inspect()
            .await
            .map_err(|error| PlayError::lab("looking at a container", &error))?;
        let facts = Facts::of(&inspected);
        for (name, value) in &facts.values {
            self.facts.insert(format!("{place}.{name}"), value.clone());
        }
        Ok(facts)
    }

    /// Takes down how to speak with a place, and what may be seen there.
    pub(super) fn connect_line(&mut self, place: &str, line: Line, interfaces: Vec<u32>, own: BTreeSet<String>) {
        if let Some(actor) = self.places.get_mut(place) {
            actor.line = Some(line);
            actor.watched.interfaces.extend(interfaces);
            actor.watched.own = own;
        }
    }

    /// Two containers in one network namespace have one wire: what either may see is on it.
    pub(super) fn share_wire(&mut self, place: &str, other: &str) {
        let own: BTreeSet<String> = [place, other]
            .iter()
            .filter_map(|place| self.places.get(*place))
            .flat_map(|actor| actor.watched.own.iter().cloned())
            .collect();
        for place in [place, other] {
            if let Some(actor) = self.places.get_mut(place) {
                actor.watched.own.clone_from(&own);
            }
        }
    }

    /// How to speak with a place.
    pub(super) fn line(&self, place: &str) -> Option<Line> {
        self.places.get(place)?.line.clone()
    }

    /// The job and kind of a place.
    pub(super) fn job_and_kind(&self, place: &str) -> Option<(String, String)> {
        let actor = self.places.get(place)?;
        Some((actor.job.clone(), actor.member.kind.as_str().to_owned()))
    }

    /// What every container is called in steps and on the engine.
    pub(crate) fn names(&self) -> Vec<(String, String)> {
        self.places
            .iter()
            .map(|(place, actor)| (place.clone(), actor.member.name.clone()))
            .collect()
    }

    /// The value of `job.kind.fact`.
    pub(super) fn known(&self, name: &str) -> Option<String> {
        self.facts.get(name).cloned()
    }

    /// Everything that took part.
    pub(super) fn watched(&self) -> Vec<Watched> {
        self.places
            .values()
            .map(|actor| actor.watched.clone())
            .chain(self.gone.iter().cloned())
            .collect()
    }

    /// Runs ip(8) in a container, as root there, with the capabilities it was given, and gives what it said.
    pub(super) async fn run_ip(&self, docker: &Docker, place: &str, args: &[String]) -> Result<String, PlayError> {
        let member = self.member(place).ok_or_else(|| missing(place))?;
        let what = || format!("ip {} in {place}", args.join(" "));
        let command = std::iter::once("/sbin/ip".to_owned())
            .chain(args.iter().cloned())
            .collect();
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command),
            ..CreateExecOptions::<String>::default()
        };
        let exec = docker
            .create_exec(&member.id, options)
            .await
            .map_err(|error| PlayError::lab(what(), &error))?;
        let mut said = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = docker
            .start_exec(&exec.id, None)
            .await
            .map_err(|error| PlayError::lab(what(), &error))?
        {
            while let Some(Ok(chunk)) = output.next().await {
                said.extend_from_slice(&chunk.into_bytes());
            }
        }
        let ended = docker
            .inspect_exec(&exec.id)
            .await
            .map_err(|error| PlayError::lab(what(), &error))?;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if ended.exit_code == Some(0) {
            return Ok(said);
        }
        Err(PlayError::Lab {
            what: what(),
            why: said,
        })
    }

    /// Ends a job as the runner does (disconnect by force, remove), or one container.
    pub(super) async fn remove(&mut self, docker: &Docker, place: &str) -> Result<(), PlayError> {
        if let Some(job) = self.jobs.remove(place) {
            for place in self.places_of(place) {
                self.gone.extend(self.places.remove(&place).map(|actor| actor.watched));
            }
            return job
                .cleanup()
                .await
                .map_err(|error| PlayError::lab(format!("removing job {place}"), &error));
        }
        let actor = self.places.remove(place).ok_or_else(|| missing(place))?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = docker.remove_container(&actor.member.id, Some(options)).await;
        self.gone.push(actor.watched);
        removed.map_err(|error| PlayError::lab(format!("removing {place}"), &error))
    }

    /// SIGKILL to a container's first process.
    pub(super) async fn kill(&mut self, docker: &Docker, place: &str) -> Result<(), PlayError> {
        let actor = self.places.get_mut(place).ok_or_else(|| missing(place))?;
        actor.line = None;
        actor.member.forget();
        docker
            .kill_container(&actor.member.id, None::<KillContainerOptions>)
            .await
            .map_err(|error| PlayError::lab(format!("killing {place}"), &error))
    }

    /// Nobody is spoken with any more: the engine has ended, and every container with it.
    pub(super) fn silence(&mut self) {
        for actor in self.places.values_mut() {
            actor.line = None;
            actor.member.forget();
        }
    }

    /// Takes a container out of a network, or out of all of them.
    pub(super) async fn disconnect(
        &mut self,
        docker: &Docker,
        place: &str,
        network: Option<&str>,
    ) -> Result<(), PlayError> {
        let member = self.member(place).ok_or_else(|| missing(place))?;
        let networks = match network {
            Some(network) => vec![network.to_owned()],
            None => {
                let inspected = member
                    .inspect()
                    .await
                    .map_err(|error| PlayError::lab("looking at a container", &error))?;
                inspected
                    .network_settings
                    .and_then(|settings| settings.networks)
                    .unwrap_or_default()
                    .into_keys()
                    .collect()
            }
        };
        for network in networks {
            let request = NetworkDisconnectRequest {
                container: member.id.clone(),
                force: Some(true),
            };
            docker
                .disconnect_network(&network, request)
                .await
                .map_err(|error| PlayError::lab(format!("disconnecting {place} from {network}"), &error))?;
        }
        Ok(())
    }

    /// Removes everything. Each removal is tried, whatever became of the one before.
    pub(super) async fn clean_up(&mut self, docker: &Docker) -> Result<(), PlayError> {
        let mut first = None;
        for (name, job) in std::mem::take(&mut self.jobs) {
            if let Err(error) = job.cleanup().await {
                first.get_or_insert(PlayError::lab(format!("removing job {name}"), &error));
            }
        }
        for network in std::mem::take(&mut self.networks) {
            if let Err(error) = remove_network(docker, &network).await {
                first.get_or_insert(PlayError::lab(format!("removing network {network}"), &error));
            }
        }
        first.map_or(Ok(()), Err)
    }
}

/// A place that is not there (any more).
pub(super) fn missing(place: &str) -> PlayError {
    PlayError::Lab {
        what: format!("using {place}"),
        why: "no such container is running".to_owned(),
    }
}

/// The containers of a launched job with the names that steps use.
pub(super) fn places(job: &str, running: &RunningJob, aliases: &[String]) -> Vec<(String, Arc<Member>)> {
    let mut services = aliases.iter();
    running
        .members
        .iter()
        .filter_map(|member| {
            let name = match member.kind {
                Kind::Build | Kind::Predefined | Kind::Wait => member.kind.as_str(),
                Kind::Service => services.next()?.as_str(),
                // It has ended before anything else began.
                Kind::CacheInit => return None,
            };
            Some((format!("{job}.{name}"), Arc::clone(member)))
        })
        .collect()
}
