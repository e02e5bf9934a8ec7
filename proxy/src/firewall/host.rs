//! Who on the host itself may ask the endpoints that give credentials. Host-network containers and rootless engines leave through OUTPUT,
//! where no redirect and no forward filter sees them (IDENT-11), so that only cgroups that are named get through: the proxy's own, and
//! those of the operator. A user id or a mark would prove nothing: a container's default capabilities let it take any of them.
//!
//! This table is written and listed as text: `nft`'s JSON knows no level of a cgroup (nftables 1.0.6).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::difference::Difference;
use super::programs::{FirewallError, NFT};
use crate::attest::cgroup::{self, Hierarchy};

/// The table's name, in the family `inet`.
const TABLE: &str = "metadata_proxy_host";
/// Where `nft` looks cgroups up, whatever is mounted where.
const NFT_ROOT: &str = "/sys/fs/cgroup";
/// Where the proxy goes if it was started in the root cgroup, which is everybody's.
const OWN_GROUP: &str = "/metadata-proxy";
/// Besides the metadata endpoint: the credentials of ECS tasks and of EKS pods (NET-20).
const CLOSED: [&str; 5] = [
    "ip daddr 169.254.169.254",
    "ip daddr 169.254.170.2",
    "ip daddr 169.254.170.23",
    "ip6 daddr fd00:ec2::254",
    "ip6 daddr fd00:ec2::23",
];

/// The rules for the host itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlan {
    hierarchy: Hierarchy,
    itself: Option<String>,
    named: Vec<String>,
}

/// One cgroup as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    path: String,
    level: usize,
    id: u64,
}

impl HostPlan {
    /// Plans for the cgroups that the operator named. What a running proxy has let through for itself stays.
    ///
    /// # Errors
    /// There is no cgroup v2 hierarchy where `nft` can find it.
    pub fn new(named: &[String]) -> Result<Self, FirewallError> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").map_err(FirewallError::Cgroup)?;
        let hierarchy = Hierarchy::find(&mountinfo)
            .filter(|hierarchy| {
                hierarchy
                    .directory("/")
                    .is_some_and(|directory| directory.starts_with(NFT_ROOT))
            })
            .ok_or_else(|| FirewallError::Cgroup(io::ErrorKind::Unsupported.into()))?;
        Ok(Self {
            hierarchy,
            itself: None,
            named: named.to_vec(),
        })
    }

    /// Lets the calling process through as well: its own cgroup, which must not be everybody's.
    ///
    /// # Errors
    /// The kernel does not tell or change the cgroup of this process.
    pub fn with_itself(mut self) -> Result<Self, FirewallError> {
        let text = fs::read_to_string("/proc/self/cgroup").map_err(FirewallError::Cgroup)?;
        let own =
            cgroup::unified_path(&text).ok_or_else(|| FirewallError::Cgroup(io::ErrorKind::Unsupported.into()))?;
        let own = if own == "/" {
            self.enter(OWN_GROUP).map_err(FirewallError::Cgroup)?;
            OWN_GROUP
        } else {
            own
        };
        self.itself = Some(own.to_owned());
        Ok(self)
    }

    fn enter(&self, group: &str) -> io::Result<()> {
        let directory = self.hierarchy.directory(group).ok_or(io::ErrorKind::Unsupported)?;
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::write(directory.join("cgroup.procs"), std::process::id().to_string())
    }

    /// The cgroup as it is now; None if there is none. One that is made again is another one: its rule is stale, and closed, until then.
    fn group(&self, path: &str) -> Option<Group> {
        let directory = self.hierarchy.directory(path)?;
        let below = directory.strip_prefix(self.hierarchy.directory("/")?).ok()?;
        Some(Group {
            path: directory.strip_prefix(NFT_ROOT).ok()?.to_str()?.to_owned(),
            level: below.components().count(),
            id: cgroup::id(&directory).ok()?,
        })
        .filter(|group| group.level > 0)
    }

    /// The table, line by line, as `nft` lists it.
    fn lines(&self, itself: Option<&Group>) -> Vec<String> {
        let admit = |group: &Group| format!("socket cgroupv2 level {} \"{}\" accept", group.level, group.path);
        let mut lines = vec![format!("table inet {TABLE} {{"), "chain proxy_itself {".to_owned()];
        lines.extend(itself.map(admit));
        lines.extend(["}".to_owned(), "chain named_by_operator {".to_owned()]);
        lines.extend(
            self.named
                .iter()
                .filter_map(|path| self.group(path))
                .map(|group| admit(&group)),
        );
        lines.extend(["}".to_owned(), "chain credential_endpoints {".to_owned()]);
        lines.extend(["jump proxy_itself", "jump named_by_operator", "reject", "}"].map(ToOwned::to_owned));
        lines.push("chain host_output {".to_owned());
        // Before connection tracking: it looks at no state, so that a connection of before is cut as well.
        lines.push("type filter hook output priority -300; policy accept;".to_owned());
        lines.extend(CLOSED.map(|endpoint| format!("{endpoint} jump credential_endpoints")));
        lines.extend(["}".to_owned(), "}".to_owned()]);
        lines
    }

    fn itself(&self) -> Option<Group> {
        self.itself.as_ref().and_then(|path| self.group(path))
    }
}

impl std::fmt::Display for HostPlan {
    /// The commands, exactly as they are applied.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let missing = self.named.iter().filter(|path| self.group(path).is_none());
        for path in missing {
            writeln!(f, "# there is no cgroup {path} now")?;
        }
        write!(
            f,
            "nft -f - <<'END'\n{}END\n",
            transaction(&self.lines(self.itself().as_ref()))
        )
    }
}

/// One transaction that replaces the table, whatever was in it.
fn transaction(lines: &[String]) -> String {
    format!("table inet {TABLE}\ndelete table inet {TABLE}\n{}\n", lines.join("\n"))
}

/// Puts the rules for the host in place.
///
/// # Errors
/// `nft` is missing or refuses.
pub async fn close_host(plan: &HostPlan) -> Result<(), FirewallError> {
    let itself = match plan.itself() {
        Some(group) => Some(group),
        // A proxy that runs has its rule already, and only it knows which.
        None => list().await?.as_deref().and_then(admitted_itself),
    };
    run(&["-f", "-"], &transaction(&plan.lines(itself.as_ref())))
        .await
        .map(drop)
}

/// Compares what is live with the plan.
///
/// # Errors
/// `nft` is missing or refuses.
pub async fn verify_host(plan: &HostPlan) -> Result<Vec<Difference>, FirewallError> {
    let Some(live) = list().await? else {
        return Ok(vec![Difference::HostTableMissing]);
    };
    let itself = match &plan.itself {
        Some(_) => plan.itself(),
        None => admitted_itself(&live),
    };
    Ok(differences(&plan.lines(itself.as_ref()), &live, id_of))
}

/// Lets the whole host through again.
///
/// # Errors
/// `nft` is missing or refuses.
pub async fn open_host() -> Result<(), FirewallError> {
    run(
        &["-f", "-"],
        &format!("table inet {TABLE}\ndelete table inet {TABLE}\n"),
    )
    .await
    .map(drop)
}

async fn run(arguments: &[&str], input: &str) -> Result<String, FirewallError> {
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let printed = NFT.run(&arguments, input).await?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

async fn list() -> Result<Option<String>, FirewallError> {
    let tables = run(&["list", "tables", "inet"], "").await?;
    if tables.lines().any(|line| line.trim() == format!("table inet {TABLE}")) {
        run(&["-y", "list", "table", "inet", TABLE], "").await.map(Some)
    } else {
        Ok(None)
    }
}

/// The rule that a proxy made for itself.
fn admitted_itself(live: &str) -> Option<Group> {
    let mut lines = live
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "chain proxy_itself {")
        .skip(1);
    let (level, path) = admitted(lines.next()?)?;
    Some(Group {
        path: path.to_owned(),
        level: level.parse().ok().filter(|level| *level > 0)?,
        id: id_of(path)?,
    })
}

/// The level and the path of a rule that lets a cgroup through.
fn admitted(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("socket cgroupv2 level ")?;
    let (level, rest) = rest.split_once(" \"")?;
    Some((level, rest.strip_suffix("\" accept")?))
}

/// The id of the cgroup that `nft` names by this path. It finds the name by the id, in whatever hierarchy has it first.
fn id_of(path: &str) -> Option<u64> {
    cgroup::id(&Path::new(NFT_ROOT).join(PathBuf::from(path))).ok()
}

fn differences(planned: &[String], live: &str, id_of: impl Fn(&str) -> Option<u64>) -> Vec<Difference> {
    let live: Vec<&str> = live.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_same = |planned: &str, live: &str| match (admitted(planned), admitted(live)) {
        (Some((level, path)), Some((live_level, live_path))) => {
            level == live_level && id_of(path).is_some_and(|id| id_of(live_path) == Some(id))
        }
        // Older releases say with what.
        _ if planned == "reject" => live == "reject" || live.starts_with("reject with icmpx "),
        _ => planned == live,
    };
    let longest = planned.len().max(live.len());
    (0..longest)
        .map(|line| (planned.get(line), live.get(line)))
        .filter(|(planned, live)| !matches!((planned, live), (Some(planned), Some(live)) if is_same(planned, live)))
        .map(|(planned, live)| Difference::HostRule {
            planned: planned.cloned(),
            live: live.map(|line| (*line).to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str =
        "24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn plan() -> HostPlan {
        HostPlan {
            hierarchy: Hierarchy::find(MOUNTS).unwrap(),
            itself: None,
            named: vec!["/no/such.service".into()],
        }
    }

    fn group(path: &str, level: usize) -> Group {
        Group {
            path: path.into(),
            level,
            id: 1,
        }
    }

    #[test]
    fn only_the_proxy_and_what_the_operator_named_gets_through() {
        let own = group("unified/system.slice/metadata-proxy.service", 2);
        insta::assert_snapshot!(transaction(&plan().lines(Some(&own))), @r#"
        table inet metadata_proxy_host
        delete table inet metadata_proxy_host
        table inet metadata_proxy_host {
        chain proxy_itself {
        socket cgroupv2 level 2 "unified/system.slice/metadata-proxy.service" accept
        }
        chain named_by_operator {
        }
        chain credential_endpoints {
        jump proxy_itself
        jump named_by_operator
        reject
        }
        chain host_output {
        type filter hook output priority -300; policy accept;
        ip daddr 169.254.169.254 jump credential_endpoints
        ip daddr 169.254.170.2 jump credential_endpoints
        ip daddr 169.254.170.23 jump credential_endpoints
        ip6 daddr fd00:ec2::254 jump credential_endpoints
        ip6 daddr fd00:ec2::23 jump credential_endpoints
        }
        }
        "#);
    }

    #[test]
    fn what_is_listed_as_it_was_meant_differs_in_nothing() {
        let planned = plan().lines(Some(&group("a/b", 2)));
        let live: String = planned.iter().map(|line| format!("\t{line}\n\n")).collect();
        let id = |path: &str| (path == "a/b").then_some(7);
        assert_eq!(differences(&planned, &live, id), []);
        assert_eq!(
            differences(
                &planned,
                &live.replace("reject", "reject with icmpx type port-unreachable"),
                id
            ),
            []
        );
        // Another hierarchy has a directory of the same number, and nft found that one first.
        assert_eq!(differences(&planned, &live.replace("a/b", "c"), |_| Some(7)), []);
    }

    #[test]
    fn a_rule_that_is_stale_changed_or_gone_is_named() {
        let planned = plan().lines(Some(&group("a/b", 2)));
        let live = planned.join("\n");
        let id = |path: &str| match path {
            "a/b" => Some(7),
            "other" => Some(8),
            _ => None,
        };
        for (from, to) in [
            ("\"a/b\"", "12345"),
            ("\"a/b\"", "\"other\""),
            ("\"a/b\"", "\"gone\""),
            ("level 2", "level 1"),
            ("reject", "accept"),
            ("output priority -300", "output priority 300"),
            ("chain proxy_itself", "flags dormant\nchain proxy_itself"),
            ("reject\n", ""),
        ] {
            assert_ne!(
                differences(&planned, &live.replacen(from, to, 1), id),
                [],
                "{from} {to}"
            );
        }
        assert_ne!(differences(&planned, &live, |_| None), [], "the cgroup is gone");
    }

    #[test]
    fn the_rule_of_a_running_proxy_is_found() {
        let lines = plan().lines(Some(&group("unified", 3))).join("\n");
        let found = admitted_itself(&lines);
        assert_eq!(found.as_ref().map(|group| group.level), id_of("unified").map(|_| 3));
        assert_eq!(admitted_itself(&plan().lines(None).join("\n")), None);
    }
}
