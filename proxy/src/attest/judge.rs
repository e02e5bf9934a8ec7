//! What a kernel record proves about a connection (rules A1 to A3). Pure: it sees a record and the question, and no socket.

use super::sock_diag::{Query, Record};
use crate::caller::{Level, Unattested};

/// `TCP_ESTABLISHED`.
pub const ESTABLISHED: u8 = 1;
/// `TCP_FIN_WAIT1`: the client has sent everything and still reads, or nobody holds the socket any more (inode 0).
pub const FIN_WAIT1: u8 = 4;
/// `TCP_FIN_WAIT2`: as `FIN_WAIT1`, and our kernel has acknowledged it.
pub const FIN_WAIT2: u8 = 5;
/// The id of the cgroup v2 root: sockets that no container's process made, and kernels that lost the owner.
const ROOT: u64 = 1;

/// What is left when every doubt is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// The cgroup of the process that created the socket; with [`Level::Cgroup`] never absent.
    pub cgroup_id: Option<u64>,
    /// The socket itself.
    pub cookie: u64,
}

/// Judges the answer to `query`. The level decides about the last rule alone: whether the kernel must name a cgroup.
///
/// # Errors
/// The first of the rules that the record breaks.
pub fn judge(query: &Query, record: Option<&Record>, level: Level) -> Result<Proof, Unattested> {
    let Some(record) = record else {
        return Err(if query.cookie.is_some() {
            Unattested::AnotherSocket
        } else {
            Unattested::NoSuchSocket
        });
    };
    // Without a connected socket the kernel answers with the one that *listens* on that port, on any address (rule A1).
    // Where the client has closed its own direction it still waits for the answer: FIN_WAIT1 and FIN_WAIT2. In every other
    // state nothing that we write reaches a reader.
    if ![ESTABLISHED, FIN_WAIT1, FIN_WAIT2].contains(&record.state) {
        return Err(Unattested::NotEstablished);
    }
    if record.local != query.local || record.remote != query.remote {
        return Err(Unattested::NotEstablished);
    }
    if record.inode == 0 {
        return Err(Unattested::Orphaned);
    }
    if query.cookie.is_some_and(|cookie| cookie != record.cookie) {
        return Err(Unattested::AnotherSocket);
    }
    let cgroup_id = record.cgroup_id.filter(|id| *id > ROOT);
    match (level, cgroup_id) {
        (Level::Cgroup, None) => Err(Unattested::NoCgroup),
        (Level::Cgroup, Some(_)) | (Level::Netns, _) => Ok(Proof {
            cgroup_id,
            cookie: record.cookie,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(query: &Query, record: Option<&Record>) -> Result<Proof, Unattested> {
        super::judge(query, record, Level::Cgroup)
    }

    fn query() -> Query {
        Query {
            local: "172.17.0.2:40000".parse().unwrap(),
            remote: "169.254.169.254:80".parse().unwrap(),
            interface: 0,
            cookie: None,
        }
    }

    fn record() -> Record {
        let Query { local, remote, .. } = query();
        Record {
            family: 2,
            state: ESTABLISHED,
            local,
            remote,
            inode: 7,
            cookie: 9,
            cgroup_id: Some(4242),
        }
    }

    #[test]
    fn an_established_socket_of_a_cgroup_is_proof() {
        assert_eq!(
            judge(&query(), Some(&record())),
            Ok(Proof {
                cgroup_id: Some(4242),
                cookie: 9
            })
        );
    }

    #[test]
    fn a_client_that_closed_its_own_direction_still_owns_the_connection() {
        for state in [FIN_WAIT1, FIN_WAIT2] {
            assert_eq!(
                judge(&query(), Some(&Record { state, ..record() })),
                Ok(Proof {
                    cgroup_id: Some(4242),
                    cookie: 9
                })
            );
        }
    }

    #[test]
    fn no_other_state_is_proof() {
        for state in (0..=u8::MAX).filter(|state| ![ESTABLISHED, FIN_WAIT1, FIN_WAIT2].contains(state)) {
            assert_eq!(
                judge(&query(), Some(&Record { state, ..record() })),
                Err(Unattested::NotEstablished),
                "{state}"
            );
        }
    }

    #[test]
    fn another_tuple_is_not_proof() {
        let remote = "0.0.0.0:0".parse().unwrap();
        assert_eq!(
            judge(&query(), Some(&Record { remote, ..record() })),
            Err(Unattested::NotEstablished)
        );
        let local = "0.0.0.0:40000".parse().unwrap();
        assert_eq!(
            judge(&query(), Some(&Record { local, ..record() })),
            Err(Unattested::NotEstablished)
        );
    }

    #[test]
    fn a_socket_that_nobody_holds_is_an_orphan() {
        let record = Record {
            inode: 0,
            state: FIN_WAIT1,
            ..record()
        };
        assert_eq!(judge(&query(), Some(&record)), Err(Unattested::Orphaned));
    }

    #[test]
    fn the_root_cgroup_and_no_cgroup_name_nobody() {
        for cgroup_id in [None, Some(0), Some(1)] {
            assert_eq!(
                judge(&query(), Some(&Record { cgroup_id, ..record() })),
                Err(Unattested::NoCgroup)
            );
        }
    }

    #[test]
    fn a_reopened_tuple_is_another_socket() {
        let pinned = Query {
            cookie: Some(8),
            ..query()
        };
        assert_eq!(judge(&pinned, Some(&record())), Err(Unattested::AnotherSocket));
        assert_eq!(judge(&pinned, None), Err(Unattested::AnotherSocket));
        assert_eq!(judge(&query(), None), Err(Unattested::NoSuchSocket));
    }

    #[test]
    fn a_process_id_that_was_used_again_changes_nothing_that_is_judged() {
        // The judge never sees a process id: only the cgroup of the socket's creator counts (rule A5).
        let another_run = Record {
            cgroup_id: Some(4243),
            ..record()
        };
        assert_eq!(judge(&query(), Some(&another_run)).unwrap().cgroup_id, Some(4243));
    }

    proptest! {
        #[test]
        fn proof_needs_every_rule_at_once(
            state in any::<u8>(), inode in 0_u32..3, cookie in 0_u64..4, pinned in proptest::option::of(0_u64..4),
            cgroup_id in proptest::option::of(0_u64..4), port in 39_999_u16..40_002,
        ) {
            let query = Query { cookie: pinned, ..query() };
            let local = std::net::SocketAddr::new(query.local.ip(), port);
            let record = Record { state, inode, cookie, cgroup_id, local, ..record() };
            let sound = [1, 4, 5].contains(&state) && inode != 0 && port == 40_000
                && cgroup_id.is_some_and(|id| id > 1) && pinned.is_none_or(|pin| pin == cookie);
            prop_assert_eq!(judge(&query, Some(&record)).is_ok(), sound);
        }

        #[test]
        fn a_weaker_level_forgives_the_missing_cgroup_and_nothing_else(
            state in any::<u8>(), inode in 0_u32..3, cookie in 0_u64..4, pinned in proptest::option::of(0_u64..4),
            cgroup_id in proptest::option::of(0_u64..4), port in 39_999_u16..40_002, is_there in any::<bool>(),
        ) {
            let query = Query { cookie: pinned, ..query() };
            let local = std::net::SocketAddr::new(query.local.ip(), port);
            let record = Record { state, inode, cookie, cgroup_id, local, ..record() };
            let named = Record { cgroup_id: Some(4242), ..record };
            let at = |record, level| super::judge(&query, is_there.then_some(record), level);
            let (weak, strict) = (at(&record, Level::Netns), at(&record, Level::Cgroup));
            // As if the kernel had named a cgroup: the same socket, or the same refusal.
            prop_assert_eq!(weak.map(|proof| proof.cookie), at(&named, Level::Cgroup).map(|proof| proof.cookie));
            // What the stricter level accepts the weaker one accepts as the same; what it refuses besides has no cgroup.
            match strict {
                Ok(proof) => prop_assert_eq!(weak, Ok(proof)),
                Err(Unattested::NoCgroup) => prop_assert!(weak.is_ok_and(|proof| proof.cgroup_id.is_none())),
                Err(refusal) => prop_assert_eq!(weak, Err(refusal)),
            }
        }
    }
}
