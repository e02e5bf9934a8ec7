//! The instance that all cases share: made when the first one runs, removed after the last.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use lab::{Instance, InstanceSpec, Lab, LabOptions, RunId};
use libtest_mimic::Failed;
use scenarios::image::{Base, Images};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::cases::Engine;

/// Where distributions keep the engine.
const DOCKERD: [&str; 4] = [
    "/usr/bin/dockerd",
    "/usr/sbin/dockerd",
    "/usr/local/bin/dockerd",
    "/bin/dockerd",
];

struct Made {
    lab: Lab,
    instance: Instance,
    images: Arc<Images>,
}

/// The shared instance and the runtime that drives it.
pub(crate) struct Machine {
    runtime: Runtime,
    made: Mutex<Option<Made>>,
}

impl Default for Machine {
    #[expect(clippy::expect_used, reason = "a harness that cannot start fails by panicking")]
    fn default() -> Self {
        Self {
            // Without a runtime there is nothing to run.
            runtime: Runtime::new().expect("a runtime"),
            made: Mutex::default(),
        }
    }
}

/// What the machine lacks to run a lab.
pub(crate) fn lacks() -> Option<String> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        return Some("an instance needs root".to_owned());
    }
    let has_engine = DOCKERD.iter().any(|path| Path::new(path).exists());
    (!has_engine).then(|| "an instance needs dockerd".to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the harness is a program, and this is its only setting"
)]
pub(crate) fn is_required() -> bool {
    std::env::var("REQUIRE_LAB").is_ok_and(|value| value == "1")
}

impl Machine {
    /// Runs one case on the shared instance.
    pub(crate) fn run<F>(&self, case: impl FnOnce(Engine) -> F) -> Result<(), Failed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let engine = self.runtime.block_on(self.engine())?;
        self.runtime.block_on(case(engine));
        Ok(())
    }

    async fn engine(&self) -> Result<Engine, Failed> {
        let mut made = self.made.lock().await;
        if made.is_none() {
            *made = Some(make().await?);
        }
        made.as_ref()
            .map(|made| Engine {
                docker: made.instance.docker(),
                images: Arc::clone(&made.images),
                job: 0,
            })
            .ok_or_else(|| Failed::from("no instance"))
    }

    /// Removes the instance.
    pub(crate) fn tear_down(&self) -> Result<(), String> {
        self.runtime.block_on(async {
            let Some(made) = self.made.lock().await.take() else {
                return Ok(());
            };
            made.instance.teardown().await.map_err(|error| error.to_string())?;
            made.lab.close().await.map_err(|error| error.to_string())
        })
    }
}

async fn make() -> Result<Made, Failed> {
    // The process id keeps runs apart that live at the same time.
    let lab = Lab::open(LabOptions::new(RunId::from_bits(u64::from(std::process::id())))).await?;
    let instance = lab.instance(&InstanceSpec::new("runner", [])).await?;
    let base = Base::gather(Path::new(env!("CARGO_BIN_EXE_probe"))).await?;
    let images = Arc::new(Images::new(instance.docker(), base));
    Ok(Made { lab, instance, images })
}
