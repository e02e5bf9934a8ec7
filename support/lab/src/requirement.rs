//! What a machine needs to run the lab, and what it lacks. Pure over a view of the machine.

use std::{collections::BTreeSet, fmt};

/// A view of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Whether its kernel is Linux.
    pub linux: bool,
    /// Whether this process is root.
    pub root: bool,
    /// Whether a cgroup2 hierarchy is mounted and can be written.
    pub cgroup2: bool,
    /// Programs that were looked for and found.
    pub programs: BTreeSet<String>,
    /// What was tried and failed, each with what the system said.
    pub failed: Vec<(Feature, String)>,
}

/// Something of the kernel that the lab uses, tried rather than looked up: a feature may be a module, or forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// New mount, PID, network, UTS and IPC namespaces.
    Namespaces,
    /// A tmpfs, with an overlay file system on it.
    Overlay,
    /// Pairs of virtual interfaces.
    Veth,
    /// Bridges.
    Bridge,
    /// nftables with NAT and route lookups, in the `inet` family.
    Nftables,
    /// IPv6.
    Ipv6,
    /// Packet sockets with a large buffer.
    PacketSocket,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Namespaces,
        Self::Overlay,
        Self::Veth,
        Self::Bridge,
        Self::Nftables,
        Self::Ipv6,
        Self::PacketSocket,
    ];

    fn what(self) -> &'static str {
        match self {
            Self::Namespaces => "new namespaces",
            Self::Overlay => "an overlay file system on a tmpfs",
            Self::Veth => "virtual interface pairs (veth)",
            Self::Bridge => "bridges",
            Self::Nftables => "nftables with NAT and fib in the inet family",
            Self::Ipv6 => "IPv6",
            Self::PacketSocket => "packet sockets",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Namespaces | Self::PacketSocket => "run on a host, or in a container started with --privileged",
            Self::Overlay => "modprobe overlay",
            Self::Veth => "modprobe veth",
            Self::Bridge => "modprobe bridge br_netfilter",
            Self::Nftables => "modprobe -a nf_tables nft_chain_nat nft_fib_inet",
            Self::Ipv6 => "boot without ipv6.disable=1",
        }
    }
}

/// Programs that the lab runs, each with the Debian package that has it.
pub const PROGRAMS: [(&str, &str); 11] = [
    ("sh", "dash"),
    ("cat", "coreutils"),
    ("readlink", "coreutils"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("dockerd", "docker.io"),
    ("containerd", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("runc", "runc"),
];

/// Something that a machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub what: String,
    /// The Debian package that has it, where a package does.
    pub package: Option<&'static str>,
    /// What to do: a command where one does it.
    pub remedy: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (remedy: {})", self.what, self.remedy)
    }
}

/// What the lab needs of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Requirements;

impl Requirements {
    /// Everything that this machine lacks; nothing when it can run the lab. Tries the kernel's features in namespaces of its own.
    #[must_use]
    pub fn check() -> Vec<Lack> {
        Self::judge(&Machine::observe())
    }

    /// Everything that a machine of which this is known lacks.
    #[must_use]
    pub fn judge(machine: &Machine) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let mut lack = |what: String, package, remedy: String| lacks.push(Lack { what, package, remedy });
        if !machine.linux {
            lack(
                "Linux".to_owned(),
                None,
                "run it in a privileged container of a Docker engine".to_owned(),
            );
            return lacks;
        }
        if !machine.root {
            lack("root".to_owned(), None, "run as root (sudo -E)".to_owned());
        }
        if !machine.cgroup2 {
            let remedy = "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified";
            lack("a writable cgroup2 file system".to_owned(), None, remedy.to_owned());
        }
        for (program, package) in PROGRAMS {
            if !machine.programs.contains(program) {
                let remedy = format!("apt-get install --no-install-recommends {package}");
                lack(format!("program {program}"), Some(package), remedy);
            }
        }
        for (feature, said) in &machine.failed {
            lack(format!("{}: {said}", feature.what()), None, feature.remedy().to_owned());
        }
        lacks
    }

    /// One command that installs all packages among what is lacking.
    #[must_use]
    pub fn install_command(lacks: &[Lack]) -> Option<String> {
        let packages: BTreeSet<&str> = lacks.iter().filter_map(|lack| lack.package).collect();
        let list = packages.into_iter().collect::<Vec<_>>().join(" ");
        (!list.is_empty()).then(|| format!("apt-get install --no-install-recommends {list}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Machine {
        let programs = PROGRAMS.iter().map(|(program, _)| (*program).to_owned()).collect();
        Machine {
            linux: true,
            root: true,
            cgroup2: true,
            programs,
            failed: Vec::new(),
        }
    }

    fn judged(machine: &Machine) -> String {
        Requirements::judge(machine)
            .iter()
            .map(|lack| format!("{lack}\n"))
            .collect()
    }

    #[test]
    fn a_complete_machine_lacks_nothing() {
        assert_eq!(Requirements::judge(&complete()), []);
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once_with_its_remedy() {
        let mut machine = Machine {
            root: false,
            cgroup2: false,
            ..complete()
        };
        machine.programs.remove("dockerd");
        machine.programs.remove("nft");
        machine.failed.push((Feature::Overlay, "No such device".to_owned()));
        insta::assert_snapshot!(judged(&machine), @r"
        root (remedy: run as root (sudo -E))
        a writable cgroup2 file system (remedy: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified)
        program nft (remedy: apt-get install --no-install-recommends nftables)
        program dockerd (remedy: apt-get install --no-install-recommends docker.io)
        an overlay file system on a tmpfs: No such device (remedy: modprobe overlay)
        ");
        let command = Requirements::install_command(&Requirements::judge(&machine)).unwrap();
        assert_eq!(command, "apt-get install --no-install-recommends docker.io nftables");
    }

    #[test]
    fn another_system_is_told_one_thing() {
        insta::assert_snapshot!(judged(&Machine::default()), @"Linux (remedy: run it in a privileged container of a Docker engine)");
    }
}
