//! Looks at the machine for [`Requirements`](crate::Requirements): finds programs, and tries what the kernel can do.
//!
//! Everything is tried on a thread in namespaces of its own, which are gone when it ends.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Stdio,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{
    ambient, capture,
    cgroup::Hierarchies,
    namespace::on_own_thread,
    requirement::{Feature, Machine, PROGRAMS},
};

const NOTHING: Option<&str> = None;

impl Machine {
    /// This machine, as this process may use it.
    #[must_use]
    pub fn observe() -> Self {
        let root = rustix::process::geteuid().is_root();
        let programs = PROGRAMS
            .iter()
            .map(|(program, _)| *program)
            .filter(|program| ambient::find(program).is_some());
        let failed = if root {
            on_own_thread(|| Ok(try_features())).unwrap_or_else(|error| vec![(Feature::Namespaces, error.to_string())])
        } else {
            Vec::new()
        };
        Self {
            linux: cfg!(target_os = "linux"),
            root,
            cgroup2: cgroup2_is_writable(),
            programs: programs.map(str::to_owned).collect(),
            failed,
        }
    }
}

fn cgroup2_is_writable() -> bool {
    let hierarchies = Hierarchies::of_the_machine();
    let unified = hierarchies
        .as_ref()
        .ok()
        .and_then(|hierarchies| hierarchies.unified().ok());
    unified.is_some_and(|root| rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_ok())
}

/// Leaves the calling thread in other namespaces.
fn try_features() -> Vec<(Feature, String)> {
    // A PID namespace dies with the first process in it, so that one is tried on a thread that starts none.
    let processes = on_own_thread(|| Ok(unshare(CloneFlags::CLONE_NEWPID)));
    if let Err(error) = processes
        .map_err(io::Error::other)
        .and_then(|done| Ok(done?))
        .and_then(|()| leave())
    {
        return vec![(Feature::Namespaces, error.to_string())];
    }
    let mut failed = Vec::new();
    for feature in Feature::ALL {
        let tried = match feature {
            Feature::Namespaces => Ok(()),
            Feature::Overlay => overlay(),
            Feature::Veth => run(
                "ip",
                &["link", "add", "up0", "type", "veth", "peer", "name", "instance0"],
                "",
            ),
            Feature::Bridge => run("ip", &["link", "add", "bridge0", "type", "bridge"], ""),
            Feature::Nftables => run("nft", &["-f", "-"], NAT),
            Feature::Ipv6 => fs::metadata("/proc/thread-self/net/if_inet6").map(drop),
            Feature::PacketSocket => capture::open().map(drop),
        };
        if let Err(error) = tried {
            failed.push((feature, error.to_string()));
        }
    }
    failed
}

/// The same kinds of rules as in an instance.
const NAT: &str = "table inet lab { chain source { type nat hook postrouting priority srcnat - 10; \
                   fib saddr type != local meta nfproto ipv6 snat ip6 to fd77::3; }\n\
                   chain detour { type nat hook prerouting priority dstnat - 10; tcp dport 80 redirect to :8000; }\n}\n";

fn leave() -> io::Result<()> {
    unshare(
        CloneFlags::CLONE_FS
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    Ok(())
}

fn overlay() -> io::Result<()> {
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NOTHING)?;
    for directory in ["lower", "upper", "work", "merged"] {
        fs::create_dir(Path::new("/run").join(directory))?;
    }
    let options = "lowerdir=/run/lower,upperdir=/run/upper,workdir=/run/work";
    mount(
        Some("overlay"),
        "/run/merged",
        Some("overlay"),
        MsFlags::empty(),
        Some(options),
    )?;
    Ok(())
}

fn run(program: &str, args: &[&str], input: &str) -> io::Result<()> {
    let mut child = ambient::command(Path::new(program))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that fails before it reads says why below.
        pipe.write_all(input.as_bytes()).unwrap_or_default();
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(
        said.trim().lines().next().unwrap_or_default().to_owned(),
    ))
}
