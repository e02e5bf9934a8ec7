//! The instance: network, upstream side and private engine, laid out by the inner run for itself.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

pub(crate) const SOCKET: &str = "unix:///run/docker.sock";
/// What the upstream side answers to everybody who reaches it.
pub(crate) const CANARY: &str = "the-real-endpoint";

/// Runs a command line to its end.
pub(crate) fn run(line: &str) {
    let output = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .output()
        .expect("sh runs");
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn printed(line: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .output()
        .expect("sh runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn lay_out() {
    run("mount -t tmpfs -o mode=0755 tmpfs /run && mkdir -p /run/netns /run/jobs");
    run("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    run("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; ip link set lo up; ip netns add upstream");
    run("ip link add up0 type veth peer name down0 netns upstream && ip link set up0 up");
    run("ip addr add 10.200.0.2/24 dev up0; ip addr add fd77::2/64 dev up0 nodad");
    run(
        "ip -n upstream link set lo up; ip -n upstream link set down0 up; ip -n upstream addr add 10.200.0.1/24 dev down0",
    );
    run("ip -n upstream addr add fd77::1/64 dev down0 nodad; ip -n upstream route add default via 10.200.0.2");
    run("ip -n upstream -6 route add default via fd77::2");
    for address in ["169.254.169.254", "169.254.170.2"] {
        run(&format!(
            "ip -n upstream addr add {address}/32 dev lo; ip route add {address}/32 via 10.200.0.1 src 10.200.0.2"
        ));
    }
    run(
        "ip -n upstream addr add fd00:ec2::254/128 dev lo nodad; ip route add fd00:ec2::254/128 via fd77::1 src fd77::2",
    );
    thread::spawn(serve_upstream);
}

/// The real endpoint, as far as a firewall can tell: whoever reaches it gets the canary, again for every line.
fn serve_upstream() {
    let namespace = fs::File::open("/run/netns/upstream").expect("it was made");
    setns(&namespace, CloneFlags::CLONE_NEWNET).expect("root may");
    let listener = TcpListener::bind("[::]:80").expect("nobody else is here");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            let mut stream = stream;
            let mut buffer = [0; 512];
            while stream.read(&mut buffer).is_ok_and(|length| length > 0) {
                if stream.write_all(CANARY.as_bytes()).is_err() {
                    return;
                }
            }
        });
    }
}

pub(crate) fn start_engine(group: &str) -> Child {
    fs::write("/run/daemon.json", "{}").expect("/run is ours");
    let log = fs::File::create("/run/dockerd.log").expect("/run is ours");
    let child = Command::new("dockerd")
        .args([
            "--config-file",
            "/run/daemon.json",
            "--data-root",
            "/run/data",
            "--exec-root",
            "/run/exec",
        ])
        .args([
            "--pidfile",
            "/run/docker.pid",
            "--host",
            SOCKET,
            "--storage-driver",
            "overlay2",
        ])
        .args([
            "--cgroup-parent",
            &format!("/{group}"),
            "--ipv6",
            "--fixed-cidr-v6",
            "fd17::/64",
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be cloned"))
        .stderr(log)
        .spawn()
        .expect("dockerd starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !Path::new("/run/docker.sock").exists() {
        assert!(
            Instant::now() < deadline,
            "dockerd: {}",
            fs::read_to_string("/run/dockerd.log").unwrap_or_default()
        );
        thread::sleep(Duration::from_millis(20));
    }
    child
}
