//! One instance: the namespaces, the engine in them, and what a caller can do with it.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bollard::Docker;
use thiserror::Error;
use tokio::sync::{Mutex, watch};

use crate::{
    RunId,
    cgroup::{self, CgroupError, Hierarchies},
    cradle::{Cradle, CradleError},
    engine::{Engine, EngineError, EngineSpec, EngineState},
    namespace::{HeldNamespaces, NamespaceError, Namespaces, Place},
    plan,
    process::{Output, Process, ProcessError, Site},
    program::Program,
    state::{self, RunState, StateError},
};

/// How long the kernel may take to end every process of an instance.
const ENDED_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take to empty the cgroups after that.
const EMPTY_SECONDS: u32 = 10;

/// What an instance shall be like.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// What it is called in messages.
    pub name: String,
    /// Addresses that the upstream side owns and the host routes there.
    pub upstream_addresses: Vec<IpAddr>,
    /// IPv6 subnet of the default bridge; none leaves it without IPv6.
    pub default_bridge_v6: Option<String>,
}

impl InstanceSpec {
    /// An instance whose default bridge has both IP versions, with these addresses upstream.
    pub fn new(name: impl Into<String>, upstream_addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            name: name.into(),
            upstream_addresses: upstream_addresses.into_iter().collect(),
            default_bridge_v6: Some(plan::DEFAULT_BRIDGE_V6.to_owned()),
        }
    }
}

/// Why an instance could not be made, used or removed.
#[derive(Debug, Error)]
pub enum InstanceError {
    /// Its state directory refused.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its cgroups refused.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its namespaces could not be laid out or ended.
    #[error(transparent)]
    Cradle(#[from] CradleError),
    /// Its namespaces cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Its engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A host with its own engine. It belongs to the runtime on which it was started. End it with [`Instance::teardown`]; merely dropped, its
/// processes die but its state directory and cgroups stay until the next lab is opened.
#[derive(Debug)]
pub struct Instance {
    name: String,
    docker: Docker,
    ground: Ground,
}

/// What an instance stands on, whether its engine runs or not.
#[derive(Debug)]
struct Ground {
    state: PathBuf,
    cgroup: String,
    cgroup_procs: PathBuf,
    hierarchies: Hierarchies,
    namespaces: Namespaces,
    engine_spec: EngineSpec,
    engine: Mutex<Option<Engine>>,
    engine_states: Arc<watch::Sender<EngineState>>,
    programs: AtomicU32,
    cradle: Cradle,
    /// Holds the run's lock: a lab that is dropped before its instances must not make them look dead.
    _run: Arc<RunState>,
}

impl Ground {
    fn site(&self, place: Place, logs: Option<PathBuf>) -> Site<'_> {
        Site {
            namespaces: &self.namespaces,
            place,
            cgroup_procs: &self.cgroup_procs,
            logs,
        }
    }

    async fn start_engine(&self) -> Result<(), InstanceError> {
        let mut slot = self.engine.lock().await;
        let state = *self.engine_states.borrow();
        if slot.is_none() || !state.alive {
            let site = self.site(Place::Host, Some(self.state.join(format!("dockerd-{}", state.started))));
            *slot = Some(Engine::start(&self.engine_spec, &site, &self.engine_states).await?);
        }
        Ok(())
    }

    async fn client(&self) -> Result<Docker, InstanceError> {
        self.start_engine().await?;
        Ok(self
            .engine_spec
            .client()?
            .negotiate_version()
            .await
            .map_err(EngineError::Api)?)
    }

    async fn end(self) -> Result<(), InstanceError> {
        drop(self.engine.lock().await.take());
        self.cradle.end(ENDED_WITHIN).await?;
        let (hierarchies, cgroup, state) = (self.hierarchies.clone(), self.cgroup.clone(), self.state.clone());
        // Its handles would keep the namespaces alive.
        drop(self);
        blocking(move || {
            hierarchies.remove_exactly(&cgroup, EMPTY_SECONDS)?;
            state::remove_tree(&state)?;
            Ok(())
        })
        .await
    }
}

impl Instance {
    pub(crate) async fn start(
        spec: &InstanceSpec,
        run_state: Arc<RunState>,
        number: u32,
        run: &RunId,
        hierarchies: Hierarchies,
    ) -> Result<Self, InstanceError> {
        let ground = {
            let (spec, cgroup) = (spec.clone(), run.cgroup(number));
            blocking(move || {
                let state = run_state.instance(number)?;
                lay_out(&spec, run_state, state, cgroup, hierarchies)
            })
            .await?
        };
        match ground.client().await {
            Ok(docker) => Ok(Self {
                name: spec.name.clone(),
                docker,
                ground,
            }),
            Err(error) => {
                // The first fault is the one worth telling; what this cannot remove is swept later.
                ground.end().await.unwrap_or_default();
                Err(error)
            }
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it keeps sockets, logs and configuration. Programs in the instance see it under the same path; containers do not.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.ground.state
    }

    /// A client of its engine, which speaks a version that both sides know.
    #[must_use]
    pub fn docker(&self) -> Docker {
        self.docker.clone()
    }

    /// Its engine's address, as `DOCKER_HOST` wants it.
    #[must_use]
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.ground.engine_spec.socket().display())
    }

    /// The kernel's numbers for its namespaces.
    ///
    /// # Errors
    /// When a handle is unusable.
    pub fn namespaces(&self) -> io::Result<HeldNamespaces> {
        self.ground.namespaces.held()
    }

    pub(crate) fn namespace_handles(&self) -> &Namespaces {
        &self.ground.namespaces
    }

    /// Process id of its first process, as this process numbers it: `/proc/ID/root` is its file system.
    #[must_use]
    pub fn first_process(&self) -> u32 {
        self.ground.cradle.id()
    }

    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, place: Place, program: &Program) -> Result<Process, InstanceError> {
        let number = self.ground.programs.fetch_add(1, Ordering::Relaxed);
        let logs = self
            .ground
            .state
            .join(format!("{number:03}-{}", file_name(&program.label)));
        Ok(Process::start(&self.ground.site(place, Some(logs)), program)?)
    }

    /// Runs a program to its end. After `within` it is killed.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub async fn run(&self, place: Place, program: &Program, within: Duration) -> Result<Output, InstanceError> {
        let process = Process::start(&self.ground.site(place, None), program)?;
        Ok(process.finish(within).await?)
    }

    /// Whether its engine runs.
    #[must_use]
    pub fn engine_alive(&self) -> bool {
        self.engine_state().alive
    }

    /// What is known of its engine. Two readings with the same `started` and `died` have the same engine between them.
    #[must_use]
    pub fn engine_state(&self) -> EngineState {
        *self.ground.engine_states.borrow()
    }

    /// Told whenever the engine starts, ends or dies.
    #[must_use]
    pub fn watch_engine(&self) -> watch::Receiver<EngineState> {
        self.ground.engine_states.subscribe()
    }

    /// Stops the engine as an operator would, and starts it again.
    ///
    /// # Errors
    /// When it does not end or does not come back.
    pub async fn restart_engine(&self) -> Result<(), InstanceError> {
        self.stop_engine().await?;
        self.start_engine().await
    }

    /// Stops the engine as an operator would: its containers end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop_engine(&self) -> Result<(), InstanceError> {
        let mut place = self.ground.engine.lock().await;
        if let Some(engine) = place.take() {
            engine.stop().await?;
            self.noted().await;
        }
        Ok(())
    }

    /// Kills the engine as a crash would: its containers live on, and its death is noted.
    ///
    /// # Errors
    /// When the kernel does not end it.
    pub async fn kill_engine(&self) -> Result<(), InstanceError> {
        let mut place = self.ground.engine.lock().await;
        if let Some(engine) = place.take() {
            engine.kill().await?;
            self.noted().await;
        }
        Ok(())
    }

    /// Waits until the end of the engine is noted, so that a caller who asks next is told.
    async fn noted(&self) {
        self.watch_engine()
            .wait_for(|state| !state.alive)
            .await
            .map(drop)
            .unwrap_or_default();
    }

    /// Starts the engine where none runs.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn start_engine(&self) -> Result<(), InstanceError> {
        self.ground.start_engine().await
    }

    /// Ends every process of the instance and removes its cgroups and its state. Nothing of it is left afterwards.
    ///
    /// # Errors
    /// When the kernel does not let go of something; the next lab to be opened sweeps that.
    pub async fn teardown(self) -> Result<(), InstanceError> {
        self.ground.end().await
    }
}

/// Makes everything but the engine; what a failure leaves is removed at once.
fn lay_out(
    spec: &InstanceSpec,
    run_state: Arc<RunState>,
    state: PathBuf,
    cgroup: String,
    hierarchies: Hierarchies,
) -> Result<Ground, InstanceError> {
    let parts = || {
        let cgroup_procs = cgroup::create(&hierarchies, &cgroup)?;
        let (cradle, namespaces) = Cradle::create(&state, &cgroup_procs, &spec.upstream_addresses)?;
        Ok((cgroup_procs, cradle, namespaces))
    };
    let (cgroup_procs, cradle, namespaces) = match parts() {
        Ok(parts) => parts,
        Err(error) => {
            hierarchies
                .remove_exactly(&cgroup, EMPTY_SECONDS)
                .map(drop)
                .unwrap_or_default();
            state::remove_tree(&state).unwrap_or_default();
            return Err(error);
        }
    };
    let engine_spec = EngineSpec {
        state: state.clone(),
        cgroup: cgroup.clone(),
        default_bridge_v6: spec.default_bridge_v6.clone(),
    };
    Ok(Ground {
        state,
        cgroup,
        cgroup_procs,
        hierarchies,
        namespaces,
        engine_spec,
        engine: Mutex::new(None),
        engine_states: Arc::new(watch::Sender::new(EngineState::default())),
        programs: AtomicU32::new(0),
        cradle,
        _run: run_state,
    })
}

/// Runs what blocks beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InstanceError> + Send + 'static,
) -> Result<T, InstanceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(NamespaceError::Thread.into()),
    }
}

fn file_name(label: &str) -> String {
    label
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '-'
            }
        })
        .take(40)
        .collect()
}
