//! How a person gets into an instance that is up.

use std::fmt;

use super::Stage;

/// The ways in, for a person on this machine who is root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// The engine's address.
    pub docker_host: String,
    /// The instance's first process, as this machine numbers it.
    pub first_process: u32,
    /// Where the programs of the instance keep configuration and logs.
    pub state: String,
}

impl Stage {
    /// How to get in.
    pub fn entrance(&self) -> Entrance {
        Entrance {
            docker_host: self.instance.docker_host(),
            first_process: self.instance.first_process(),
            state: self.instance.state_dir().display().to_string(),
        }
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The upstream network belongs to the same instance: processes and files are the host's.
        let enter = format!(
            "nsenter --target {} --mount --uts --ipc --pid --net",
            self.first_process
        );
        writeln!(f, "  engine    DOCKER_HOST={} docker ps --all", self.docker_host)?;
        writeln!(f, "  host      {enter}")?;
        writeln!(f, "  upstream  {enter} ip netns exec upstream sh")?;
        write!(f, "  logs      {}", self.state)
    }
}
