//! The one place of the runner that reads the clock, the environment and this process's own path.

use std::io;
use std::path::PathBuf;

/// What the runner takes from its surroundings.
#[derive(Debug, Clone)]
pub struct Ambient {
    /// Where the project's programs lie: the build directory this program was started from.
    pub programs: PathBuf,
    /// `NO_COLOR` is set to something.
    pub no_colour: bool,
    /// `REQUIRE_LAB` is set to something: a machine that cannot run the lab is then a failure.
    pub require_lab: bool,
    /// `CARGO`, where cargo runs this program.
    pub cargo: Option<PathBuf>,
    /// `PATH`.
    pub path: Option<std::ffi::OsString>,
    /// The working directory.
    pub directory: PathBuf,
    /// Number of processors.
    pub processors: usize,
}

impl Ambient {
    /// Reads the surroundings.
    ///
    /// # Errors
    /// When the system does not tell where this program lies.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn read() -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut programs = program.parent().map(PathBuf::from).unwrap_or_default();
        // Test programs lie one directory below what they test.
        if programs.ends_with("deps") {
            programs.pop();
        }
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Ok(Self {
            programs,
            no_colour: is_set("NO_COLOR"),
            require_lab: is_set("REQUIRE_LAB"),
            cargo: std::env::var_os("CARGO").map(PathBuf::from),
            path: std::env::var_os("PATH"),
            directory: std::env::current_dir()?,
            processors: std::thread::available_parallelism().map_or(2, usize::from),
        })
    }

    /// The time.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    /// A run's name, at most 12 letters and digits: process number and time, so that two runs never share one.
    pub fn run_name(&self) -> String {
        let milliseconds = self.now().as_millisecond().rem_euclid(0x1000_0000);
        format!("{:05x}{milliseconds:07x}", std::process::id() & 0xf_ffff)
    }
}
