//! The private Docker engine of an instance.
//!
//! Responsible for its configuration, its readiness and for noticing its death. It must not know what runs in its containers.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, Docker};
use serde::Serialize;
use thiserror::Error;
use tokio::{net::UnixDatagram, sync::watch, time::timeout};

use crate::{
    plan,
    process::{Process, ProcessError, Site},
    program::Program,
};

/// An engine is ready in 0.2 to 0.4 s; on a machine that is busy with other instances it takes longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// It gives its containers three seconds to stop before it kills them.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// Seconds that one request of a client may take.
const CLIENT_TIMEOUT_SECONDS: u64 = 120;

/// The engine runs itself again three to five times for each container, and collecting garbage is a third of what each of those 30 ms costs. It
/// collects only when it nears a limit, which the daemon itself reaches and those never do.
const MEMORY: [(&str, &str); 2] = [("GOGC", "off"), ("GOMEMLIMIT", "256MiB")];

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Its files could not be written.
    #[error("the engine's {path} cannot be made")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It could not be run.
    #[error("the engine cannot be run")]
    Process(#[from] ProcessError),
    /// It ended before it was ready.
    #[error("the engine ended before it was ready: {said}")]
    Ended {
        /// The end of what it logged.
        said: String,
    },
    /// It was not ready in time.
    #[error("the engine was not ready within {READY_WITHIN:?}: {said}")]
    NotReady {
        /// The end of what it logged.
        said: String,
    },
    /// It answered wrongly.
    #[error("the engine does not answer")]
    Api(#[from] bollard::errors::Error),
}

/// What is known of an engine. Compare two readings to learn whether it died in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineState {
    /// Whether it runs.
    pub alive: bool,
    /// How many engines were started.
    pub started: u32,
    /// How many of them ended although nobody had asked.
    pub died: u32,
}

/// Where an engine keeps what.
#[derive(Debug)]
pub(crate) struct EngineSpec {
    pub(crate) state: PathBuf,
    pub(crate) cgroup: String,
    pub(crate) default_bridge_v6: Option<String>,
}

/// The running engine.
#[derive(Debug)]
pub(crate) struct Engine {
    process: Process,
    /// Set before the engine is asked to end, so that its end is not taken for a death.
    asked: Arc<watch::Sender<bool>>,
}

/// The engine's configuration file. Without one of its own it would read the machine's `/etc/docker/daemon.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Configuration<'a> {
    data_root: &'a str,
    exec_root: &'a str,
    pidfile: &'a str,
    hosts: [String; 2],
    storage_driver: &'a str,
    exec_opts: [&'a str; 1],
    cgroup_parent: String,
    bip: &'a str,
    ipv6: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed_cidr_v6: Option<&'a str>,
    dns: [String; 1],
    log_driver: &'a str,
    live_restore: bool,
    shutdown_timeout: u32,
}

impl EngineSpec {
    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state.join("docker.sock")
    }

    fn notify_socket(&self) -> PathBuf {
        self.state.join("ready.sock")
    }

    fn configuration(&self) -> Configuration<'_> {
        Configuration {
            // The data root must be absolute, a relative one spins; on the instance's own tmpfs it vanishes with the instance.
            data_root: "/run/docker-data",
            exec_root: "/run/docker",
            pidfile: "/run/docker.pid",
            // The second is where programs on a host look for an engine.
            hosts: [
                format!("unix://{}", self.socket().display()),
                "unix:///run/docker.sock".to_owned(),
            ],
            storage_driver: "overlay2",
            // With systemd as the driver the engine would ask the machine's systemd.
            exec_opts: ["native.cgroupdriver=cgroupfs"],
            cgroup_parent: format!("/{}", self.cgroup),
            bip: plan::DEFAULT_BRIDGE_V4,
            ipv6: self.default_bridge_v6.is_some(),
            fixed_cidr_v6: self.default_bridge_v6.as_deref(),
            dns: [plan::UPSTREAM_V4.to_string()],
            log_driver: "json-file",
            live_restore: false,
            shutdown_timeout: 3,
        }
    }

    /// A client of the engine.
    pub(crate) fn client(&self) -> Result<Docker, EngineError> {
        Ok(Docker::connect_with_unix(
            &self.socket().display().to_string(),
            CLIENT_TIMEOUT_SECONDS,
            API_DEFAULT_VERSION,
        )?)
    }
}

impl Engine {
    /// Starts an engine and waits until it serves.
    pub(crate) async fn start(
        spec: &EngineSpec,
        site: &Site<'_>,
        states: &Arc<watch::Sender<EngineState>>,
    ) -> Result<Self, EngineError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| EngineError::File { path, source }
        };
        let configuration = spec.state.join("daemon.json");
        let text = serde_json::to_vec_pretty(&spec.configuration()).map_err(|error| EngineError::File {
            path: configuration.clone(),
            source: error.into(),
        })?;
        fs::write(&configuration, text).map_err(file(&configuration))?;
        let notify = spec.notify_socket();
        // One engine ran here before where this one is started again.
        fs::remove_file(&notify).unwrap_or_default();
        let ready = UnixDatagram::bind(&notify).map_err(file(&notify))?;
        let program = Program::new("dockerd")
            .arg("--config-file")
            .arg(&configuration)
            .env("NOTIFY_SOCKET", notify.as_os_str());
        let program = MEMORY
            .iter()
            .fold(program, |program, (name, value)| program.env(name, value));
        let process = Process::start(site, &program)?;
        let asked = Arc::new(watch::Sender::new(false));
        note_end(&process, Arc::clone(&asked), Arc::clone(states));
        let engine = Self { process, asked };
        match timeout(READY_WITHIN, engine.serves(&ready)).await {
            Ok(true) => Ok(engine),
            Ok(false) => Err(EngineError::Ended {
                said: engine.process.last_words(),
            }),
            Err(_) => Err(EngineError::NotReady {
                said: engine.process.last_words(),
            }),
        }
    }

    /// Waits for the engine's own word that it serves; false when it ended instead.
    async fn serves(&self, ready: &UnixDatagram) -> bool {
        let mut exit = self.process.exits();
        let mut buffer = [0_u8; 4096];
        loop {
            tokio::select! {
                _ = exit.wait_for(Option::is_some) => return false,
                received = ready.recv(&mut buffer) => {
                    let Ok(length) = received else { return false };
                    let said = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                    if said.lines().any(|line| line == "READY=1") {
                        return true;
                    }
                }
            }
        }
    }

    /// Ends it as an operator would; its containers end with it.
    pub(crate) async fn stop(&self) -> Result<(), EngineError> {
        self.asked.send_replace(true);
        self.process.stop(STOPPED_WITHIN).await?;
        Ok(())
    }

    /// Ends it as a crash would; its containers live on.
    pub(crate) async fn kill(&self) -> Result<(), EngineError> {
        self.process.kill().await?;
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Process's own drop kills it, which is not a death that anybody should hear of.
        self.asked.send_replace(true);
    }
}

fn note_end(process: &Process, asked: Arc<watch::Sender<bool>>, states: Arc<watch::Sender<EngineState>>) {
    states.send_modify(|state| {
        state.alive = true;
        state.started += 1;
    });
    let number = states.borrow().started;
    let mut exit = process.exits();
    tokio::spawn(async move {
        if exit.wait_for(Option::is_some).await.is_ok() {
            states.send_modify(|state| {
                // The next engine may have been started in the meantime, and it is alive.
                state.alive &= state.started != number;
                state.died += u32::from(!*asked.borrow());
            });
        }
    });
}
