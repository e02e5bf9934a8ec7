//! All the rules of a host: those for what comes to it, and those for its own processes.

use std::fmt;
use std::num::NonZeroU16;

use super::{Difference, FirewallError, HostPlan, Plan, apply, close_host, open_host, verify, verify_host};
use crate::config::{Config, HostAccess};

/// What a configuration asks for.
#[derive(Debug)]
pub struct Rules {
    plan: Plan,
    /// For the host's own processes; absent: all may ask.
    host: Option<HostPlan>,
}

impl Rules {
    /// The rules for a proxy that listens on this port.
    ///
    /// # Errors
    /// When the host's cgroups cannot be read.
    pub fn new(config: &Config, port: NonZeroU16) -> Result<Self, FirewallError> {
        let host = match &config.firewall.host {
            HostAccess::Closed { cgroups } => Some(HostPlan::new(cgroups)?),
            HostAccess::Open => None,
        };
        Ok(Self {
            plan: Plan::new(port).with_container_endpoint(config.container_credentials.enabled),
            host,
        })
    }

    /// Lets this process ask as well.
    ///
    /// # Errors
    /// When its own cgroup cannot be read.
    pub fn with_itself(self) -> Result<Self, FirewallError> {
        let host = self.host.map(HostPlan::with_itself).transpose()?;
        Ok(Self { host, ..self })
    }

    /// Installs them, or repairs them.
    ///
    /// # Errors
    /// When that cannot be done.
    pub async fn apply(&self) -> Result<(), FirewallError> {
        apply(self.plan).await?;
        match &self.host {
            Some(host) => close_host(host).await,
            None => open_host().await,
        }
    }

    /// How the live rules differ from them.
    ///
    /// # Errors
    /// When the live rules cannot be read.
    pub async fn verify(&self) -> Result<Vec<Difference>, FirewallError> {
        let mut differences = verify(self.plan).await?;
        if let Some(host) = &self.host {
            differences.extend(verify_host(host).await?);
        }
        Ok(differences)
    }
}

impl fmt::Display for Rules {
    /// Both, exactly as they are applied.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plan)?;
        self.host.iter().try_for_each(|host| write!(f, "{host}"))
    }
}
