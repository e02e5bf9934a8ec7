//! Why the proxy does not come to serve.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::attest::StartError;
use crate::control::{NotKept, Unreadable};
use crate::credentials::NoBase;
use crate::engine::EngineError;
use crate::firewall::{Difference, FirewallError};
use crate::gitlab::NoClient;
use crate::instance::NoEndpoint;
use crate::metrics::BindFault;
use crate::selftest::SelfTestError;
use crate::serve::ListenFault;

/// Why the proxy does not serve.
#[derive(Debug, Error)]
pub enum RunError {
    /// The proxy's port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenFault),
    /// Metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] BindFault),
    /// The engine does not answer.
    #[error("the container engine cannot be used")]
    Engine(#[from] EngineError),
    /// Callers cannot be told apart here.
    #[error("callers cannot be attested on this machine")]
    Attest(#[from] StartError),
    /// The firewall cannot be read or written.
    #[error("the firewall cannot be managed")]
    Firewall(#[from] FirewallError),
    /// The rules were applied and are not there.
    #[error("the firewall is not as it was applied: {}", list(differences))]
    NotApplied {
        /// What differs.
        differences: Vec<Difference>,
    },
    /// The proof failed that callers can be told apart.
    #[error("the self-test failed")]
    SelfTest(#[from] SelfTestError),
    /// The client of the real endpoint cannot be made.
    #[error(transparent)]
    Endpoint(#[from] NoEndpoint),
    /// A GitLab server that rules name cannot be asked.
    #[error(transparent)]
    Gitlab(#[from] NoClient),
    /// There are no credentials to ask STS with.
    #[error(transparent)]
    Base(#[from] NoBase),
    /// Decisions cannot be recorded.
    #[error("cannot write audit records to {path}")]
    Audit {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody knows who is revoked: to serve would give back what an operator took away.
    #[error(
        "{} does not say who is revoked; look at it, and give it back as it was, or remove it and revoke again who is to stay revoked",
        path.display()
    )]
    Revocations {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Unreadable,
    },
    /// Nobody will know after a restart.
    #[error("it cannot be kept who is revoked (revocations.file)")]
    Register(#[from] NotKept),
    /// No orders can be taken where the operator wants to give them.
    #[error("cannot make the socket {path} for orders")]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something of the operating system.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

pub(super) fn list(differences: &[Difference]) -> String {
    differences
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl RunError {
    pub(super) fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}
