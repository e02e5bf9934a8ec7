//! A run of the lab: it sweeps what dead runs left, takes a lock, and makes instances.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use thiserror::Error;

use crate::{
    Instance, InstanceError, InstanceSpec, Leftover, RunId, StateError, Swept,
    cgroup::Hierarchies,
    leftover::leftovers,
    state::{DYING_SECONDS, RunState},
};

/// Where runs keep their state unless told otherwise. Short, for sockets; not below `/run`, of which an instance has its own.
pub const DEFAULT_STATE_ROOT: &str = "/tmp/lab";

/// How to open a lab.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// A directory that only this user can write; made where it does not exist.
    pub state_root: PathBuf,
    /// The name of the run, which no other living run may have.
    pub run: RunId,
}

impl LabOptions {
    /// A lab at the usual place.
    #[must_use]
    pub fn new(run: RunId) -> Self {
        Self {
            state_root: DEFAULT_STATE_ROOT.into(),
            run,
        }
    }
}

/// Why there is no lab.
#[derive(Debug, Error)]
pub enum LabError {
    /// Its state cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The machine's mounts cannot be read.
    #[error("the machine's cgroups cannot be found")]
    Machine(#[source] io::Error),
    /// The runtime ends.
    #[error("the runtime is shutting down")]
    Runtime,
}

/// A run of the lab. Several may live on a machine at once.
#[derive(Debug)]
pub struct Lab {
    run: RunId,
    state: Arc<RunState>,
    hierarchies: Hierarchies,
    instances: AtomicU32,
    swept: Vec<Swept>,
}

impl Lab {
    /// Sweeps dead runs and begins a new one.
    ///
    /// # Errors
    /// When the state root cannot be used or the run's name is taken.
    pub async fn open(options: LabOptions) -> Result<Self, LabError> {
        let opened = tokio::task::spawn_blocking(move || {
            let hierarchies = Hierarchies::of_the_machine().map_err(LabError::Machine)?;
            let (state, swept) = RunState::open(&options.state_root, &options.run, &hierarchies)?;
            Ok(Self {
                run: options.run,
                state: Arc::new(state),
                hierarchies,
                instances: AtomicU32::new(0),
                swept,
            })
        });
        opened.await.map_err(|_| LabError::Runtime)?
    }

    /// The name of the run.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// What opening it removed of dead runs.
    #[must_use]
    pub fn swept(&self) -> &[Swept] {
        &self.swept
    }

    /// Everything of this run that exists on the machine: while instances live, theirs; after their teardown, the run's state directory.
    ///
    /// # Errors
    /// When the machine cannot be read.
    pub fn leftovers(&self) -> io::Result<Vec<Leftover>> {
        leftovers(self.state.root(), &self.run)
    }

    /// Starts an instance. Any number may be started at once.
    ///
    /// # Errors
    /// When the machine cannot make it; nothing of it is left then.
    pub async fn instance(&self, spec: &InstanceSpec) -> Result<Instance, InstanceError> {
        let number = self.instances.fetch_add(1, Ordering::Relaxed) + 1;
        Instance::start(
            spec,
            Arc::clone(&self.state),
            number,
            &self.run,
            self.hierarchies.clone(),
        )
        .await
    }

    /// Ends the run: removes everything of it, instances that were not torn down included.
    ///
    /// # Errors
    /// When the kernel does not let go of something; the next lab to be opened sweeps that.
    pub async fn close(self) -> Result<(), LabError> {
        let closed = tokio::task::spawn_blocking(move || {
            self.hierarchies
                .remove(&self.run.cgroup_prefix(), DYING_SECONDS)
                .map_err(|source| StateError::Cgroups {
                    run: self.run.clone(),
                    source,
                })?;
            self.state.remove()
        });
        Ok(closed.await.map_err(|_| LabError::Runtime)??)
    }
}
