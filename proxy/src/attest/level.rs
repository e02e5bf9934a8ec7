//! Which level of attestation this machine can serve: tried on a connection of our own before anybody is attested, so that a level is never
//! weakened in silence, nor the proxy left to refuse everybody.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::cgroup::Hierarchy;
use super::sock_diag::{Diag, DiagError, Query};
use crate::caller::Level;

/// Connecting to ourselves over the loopback interface.
const CONNECT: Duration = Duration::from_secs(1);

/// The hierarchies in which containers are looked for, the best first.
pub(crate) fn hierarchies(mounts: &str, level: Level) -> Vec<Hierarchy> {
    let old = match level {
        Level::Cgroup => None,
        Level::Netns => Hierarchy::find_old(mounts),
    };
    Hierarchy::find(mounts).into_iter().chain(old).collect()
}

/// What the kernel tells of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    /// Nothing.
    Nothing,
    /// That it exists, and what distinguishes it from others.
    Cookie,
    /// The cgroup of its owner too.
    Cgroup,
}

/// What a machine has to attest with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) told: Told,
    pub(crate) has_unified: bool,
    pub(crate) has_old: bool,
}

/// The machine cannot serve the level that is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attestation.level is \"{level}\", and {lack}: {remedy}")]
pub struct Unservable {
    level: Level,
    lack: &'static str,
    remedy: &'static str,
}

impl Offer {
    /// Looks at this machine.
    ///
    /// # Errors
    /// There is no loopback interface, or no file descriptor left.
    pub(crate) fn look(mounts: &str) -> io::Result<Self> {
        Ok(Self {
            told: ask()?,
            has_unified: Hierarchy::find(mounts).is_some(),
            has_old: Hierarchy::find_old(mounts).is_some(),
        })
    }

    /// Whether the level can be served.
    ///
    /// # Errors
    /// What it lacks, and which level would do.
    pub(crate) fn check(&self, level: Level) -> Result<(), Unservable> {
        let Some(lack) = self.lack(level) else {
            return Ok(());
        };
        let remedy = match (level, self.lack(Level::Netns)) {
            (Level::Cgroup, None) => {
                "attestation.level = \"netns\" works here; `check` says what it gives up. Nothing is weakened unless you write that"
            }
            (Level::Cgroup | Level::Netns, _) => "no level works on this machine",
        };
        Err(Unservable { level, lack, remedy })
    }

    fn lack(&self, level: Level) -> Option<&'static str> {
        match level {
            _ if self.told == Told::Nothing => {
                Some("the kernel says nothing of sockets (NETLINK_SOCK_DIAG; the module tcp_diag may be missing)")
            }
            Level::Cgroup if self.told < Told::Cgroup => {
                Some("the kernel names no cgroup of a connection's owner (INET_DIAG_CGROUP_ID, Linux 5.8)")
            }
            Level::Cgroup if !self.has_unified => {
                Some("no cgroup v2 hierarchy is mounted, so that the kernel cannot tell whose a connection is")
            }
            Level::Netns if !self.has_unified && !self.has_old => {
                Some("no cgroup hierarchy is mounted that shows which processes are a container's")
            }
            Level::Cgroup | Level::Netns => None,
        }
    }
}

/// Asks the kernel about a connection of our own.
fn ask() -> io::Result<Told> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let remote = listener.local_addr()?;
    let stream = TcpStream::connect_timeout(&remote, CONNECT)?;
    let query = Query {
        local: stream.local_addr()?,
        remote,
        interface: 0,
        cookie: None,
    };
    let asked = Diag::open().map_err(DiagError::from).and_then(|diag| diag.ask(&query));
    Ok(match asked {
        // Ours may be the root's, which is named as well: what counts is that the kernel names one.
        Ok(Some(record)) if record.cgroup_id.is_some() => Told::Cgroup,
        Ok(Some(_)) => Told::Cookie,
        Ok(None) | Err(_) => Told::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(told: Told, has_unified: bool, has_old: bool) -> Offer {
        Offer {
            told,
            has_unified,
            has_old,
        }
    }

    #[test]
    fn this_kernel_tells_of_our_own_connection() {
        assert!(ask().unwrap() > Told::Nothing);
    }

    #[test]
    fn a_level_that_cannot_be_served_is_a_fault_that_names_the_one_that_can() {
        let told = |offer: Offer, level| offer.check(level).map_err(|fault| fault.to_string());
        assert_eq!(told(offer(Told::Cgroup, true, false), Level::Cgroup), Ok(()));
        insta::assert_snapshot!(
            told(offer(Told::Cookie, true, true), Level::Cgroup).unwrap_err(),
            @r#"attestation.level is "cgroup", and the kernel names no cgroup of a connection's owner (INET_DIAG_CGROUP_ID, Linux 5.8): attestation.level = "netns" works here; `check` says what it gives up. Nothing is weakened unless you write that"#
        );
        insta::assert_snapshot!(
            told(offer(Told::Cgroup, false, true), Level::Cgroup).unwrap_err(),
            @r#"attestation.level is "cgroup", and no cgroup v2 hierarchy is mounted, so that the kernel cannot tell whose a connection is: attestation.level = "netns" works here; `check` says what it gives up. Nothing is weakened unless you write that"#
        );
        insta::assert_snapshot!(
            told(offer(Told::Nothing, true, true), Level::Netns).unwrap_err(),
            @r#"attestation.level is "netns", and the kernel says nothing of sockets (NETLINK_SOCK_DIAG; the module tcp_diag may be missing): no level works on this machine"#
        );
        assert!(told(offer(Told::Cgroup, false, false), Level::Netns).is_err());
    }

    #[test]
    fn what_serves_a_level_serves_the_weaker_one_too() {
        for told in [Told::Nothing, Told::Cookie, Told::Cgroup] {
            for (has_unified, has_old) in [(false, false), (false, true), (true, false), (true, true)] {
                let offer = offer(told, has_unified, has_old);
                assert!(
                    offer.check(Level::Cgroup).is_err() || offer.check(Level::Netns).is_ok(),
                    "{offer:?}"
                );
            }
        }
    }
}
