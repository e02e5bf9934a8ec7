use std::net::{TcpListener, TcpStream};

use super::*;

const CGROUP: u64 = 4711;

fn ends() -> (SocketAddr, SocketAddr) {
    (
        "172.17.0.2:40000".parse().unwrap(),
        "169.254.169.254:80".parse().unwrap(),
    )
}

fn record() -> Record {
    let (local, remote) = ends();
    Record {
        state: ESTABLISHED,
        local,
        remote,
        cookie: [1; 8],
        inode: 9,
        cgroup: Some(CGROUP),
    }
}

fn judged(record: &Record, hole: Option<Hole>) -> Result<(), Unidentified> {
    let (local, remote) = ends();
    judge(record, local, remote, CGROUP, hole)
}

#[test]
fn only_the_established_owned_socket_of_the_container_is_accepted() {
    assert_eq!(judged(&record(), None), Ok(()));
    let other_end = Record {
        remote: "172.17.0.9:80".parse().unwrap(),
        ..record()
    };
    assert_eq!(judged(&other_end, None), Err(Unidentified::NotEstablished));
    assert_eq!(
        judged(&Record { inode: 0, ..record() }, None),
        Err(Unidentified::NotEstablished)
    );
    assert_eq!(
        judged(
            &Record {
                cgroup: None,
                ..record()
            },
            None
        ),
        Err(Unidentified::OtherContainer)
    );
    assert_eq!(
        judged(
            &Record {
                cgroup: Some(1),
                ..record()
            },
            None
        ),
        Err(Unidentified::OtherContainer)
    );
    assert_eq!(
        judged(
            &Record {
                cgroup: Some(8),
                ..record()
            },
            None
        ),
        Err(Unidentified::OtherContainer)
    );
}

#[test]
fn a_listening_socket_counts_only_with_its_switch() {
    let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let listener = Record {
        state: LISTEN,
        remote: any,
        ..record()
    };
    assert_eq!(judged(&listener, None), Err(Unidentified::NotEstablished));
    assert_eq!(judged(&listener, Some(Hole::AcceptListenSocket)), Ok(()));
    assert_eq!(
        judged(
            &Record {
                cgroup: Some(8),
                ..listener
            },
            Some(Hole::AcceptListenSocket)
        ),
        Err(Unidentified::OtherContainer)
    );
}

#[test]
fn the_kernel_tells_the_connection_from_the_listener_and_knows_the_cookie() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let sock_diag = SockDiag::open().unwrap();

    let seen = sock_diag.find(local, remote, NO_COOKIE, None).unwrap();
    assert_eq!((seen.state, seen.local, seen.remote), (ESTABLISHED, local, remote));
    assert_ne!(seen.inode, 0);
    assert_eq!(sock_diag.find(local, remote, seen.cookie, None).unwrap(), seen);

    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let fallback = sock_diag.find(remote, nobody, NO_COOKIE, None).unwrap();
    assert_eq!(fallback.state, LISTEN);
    assert!(sock_diag.find(local, remote, [7; 8], None).is_err());
}

#[test]
fn a_mapped_socket_is_found_by_its_ipv4_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let Ok(client) = TcpStream::connect(mapped(listener.local_addr().unwrap())) else {
        return; // a machine without IPv6 has no mapped sockets
    };
    let port = client.local_addr().unwrap().port();
    let (local, remote) = (SocketAddr::from(([127, 0, 0, 1], port)), listener.local_addr().unwrap());
    let seen = SockDiag::open().unwrap().find(local, remote, NO_COOKIE, None).unwrap();
    assert_eq!((seen.state, seen.local, seen.remote), (ESTABLISHED, local, remote));
}

#[test]
fn the_outermost_directory_with_the_id_is_the_containers_in_both_drivers() {
    let mounts = "30 29 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup rw\n31 29 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw\n";
    let find = |own: &str| cgroup_directory(own, mounts, "abc");
    let expected = Path::new("/sys/fs/cgroup/unified/lab/abc").to_owned();
    assert_eq!(find("4:cpu:/lab/abc\n0::/lab/abc\n"), Some(expected.clone()));
    assert_eq!(find("0::/lab/abc/init/abc\n"), Some(expected));
    let scope = Path::new("/sys/fs/cgroup/unified/system.slice/docker-abc.scope").to_owned();
    assert_eq!(find("0::/system.slice/docker-abc.scope\n"), Some(scope));
    assert_eq!(find("0::/lab/other\n"), None);
    assert_eq!(find("4:cpu:/lab/abc\n"), None);
}
