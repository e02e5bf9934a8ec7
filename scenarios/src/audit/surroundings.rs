//! What a job's process sees around itself, reduced to what is weighed: no value of a secret is kept that nothing needs. Pure; `look` fills it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

/// The job's environment and the files that matter. Its environment holds secrets: it is neither printed nor told.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The environment of this process.
    pub environment: BTreeMap<String, String>,
    /// A container engine says that this is a container.
    pub engine_marks: bool,
    /// `/proc/self/status`.
    pub status: String,
    /// `/proc/self/mountinfo`.
    pub mounts: String,
    /// `/proc/self/uid_map`.
    pub user_map: String,
    /// How many mounts of a disk's root hold a whole system.
    pub host_roots: usize,
    /// `/proc/net/route`.
    pub routes: String,
    /// `/proc/net/unix`.
    pub unix_sockets: String,
    /// `/proc/2/comm`: the kernel's own second process, where the host's processes are to be seen.
    pub second_process: String,
    /// Which interfaces there are.
    pub interfaces: Vec<String>,
    /// What the SDKs' own files hold: the setting's name, for each that may lead to credentials.
    pub sdk_settings: Vec<String>,
    /// Sockets of container engines that take a connection, by path.
    pub engine_sockets: Vec<String>,
    /// Whether the web identity token that the environment names can be read.
    pub web_identity_token: bool,
    /// Whether there is a token of a pod at a place where Kubernetes on AWS puts one.
    pub pod_token: bool,
    /// The content of `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
    pub authorization_file: Option<String>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// Why this is no place for an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoJob {
    /// Nothing in the environment is a CI system's.
    #[error("no CI job: neither CI_JOB_ID nor CI is set here")]
    NoVariables,
    /// This process is in no container.
    #[error("no container: this is the host itself, or looks like it")]
    NoContainer,
}

/// The second process of a Linux machine, which no container has.
const KERNELS_SECOND: &str = "kthreadd";

impl Surroundings {
    /// A variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether this is a container of a CI job: anywhere else the endpoint may be the operator's own, and is left alone.
    ///
    /// # Errors
    /// What is missing.
    pub fn job(&self) -> Result<(), NoJob> {
        let is_ci = self.variable("CI").is_some_and(|value| value != "false");
        if self.variable("CI_JOB_ID").is_none() && !is_ci {
            return Err(NoJob::NoVariables);
        }
        let says_so = ["container", "KUBERNETES_SERVICE_HOST"];
        let is_contained = self.engine_marks
            || says_so.iter().any(|name| self.variable(name).is_some())
            || self
                .mounts
                .lines()
                .filter_map(Mount::read)
                .any(|mount| mount.at == "/" && mount.kind == "overlay");
        if is_contained { Ok(()) } else { Err(NoJob::NoContainer) }
    }

    /// The job's number, where it is one.
    pub fn job_number(&self) -> Option<&str> {
        let is_number = |id: &&str| id.len() <= 20 && id.bytes().all(|byte| byte.is_ascii_digit());
        self.variable("CI_JOB_ID").filter(is_number)
    }

    /// The default gateway: the first route to 0.0.0.0, in the kernel's hexadecimal.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.routes.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (to, through) = (fields.next()?, fields.next()?);
            let number = u32::from_str_radix(through, 16).ok()?;
            // The kernel prints the address as this machine's processor holds it.
            (to == "00000000" && number != 0).then(|| Ipv4Addr::from(number.to_ne_bytes()))
        })
    }

    /// Whether the host's processes are to be seen.
    pub fn sees_host_processes(&self) -> bool {
        self.second_process.trim() == KERNELS_SECOND
    }

    /// Whether this is the host's own network: bridges of an engine are there, or names that its services bind there.
    pub fn is_in_host_network(&self) -> bool {
        let bridge = |name: &String| name == "docker0" || name.starts_with("br-") || name.starts_with("veth");
        let of_engine = |line: &str| line.contains("@/containerd-shim/") || line.contains("@/org/freedesktop/systemd1");
        self.interfaces.iter().any(bridge) || self.unix_sockets.lines().any(of_engine)
    }

    /// The effective capabilities, as the kernel's bits.
    pub fn capabilities(&self) -> u64 {
        self.status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
            .unwrap_or(0)
    }

    /// Whether this process's capabilities count for nothing outside a user namespace: its users are not the host's.
    pub fn is_in_user_namespace(&self) -> bool {
        let fields: Vec<&str> = self.user_map.split_whitespace().collect();
        !fields.is_empty() && fields != ["0", "0", "4294967295"]
    }

    /// Every mount.
    pub(super) fn mounts(&self) -> impl Iterator<Item = Mount<'_>> {
        self.mounts.lines().filter_map(Mount::read)
    }
}

/// A line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount<'a> {
    /// Which directory of the file system.
    pub(super) root: &'a str,
    /// Where.
    pub(super) at: &'a str,
    /// Whether it may be written to.
    pub(super) is_writable: bool,
    /// The file system's type.
    pub(super) kind: &'a str,
}

/// File systems that lie on a disk.
pub(super) const OF_DISKS: [&str; 4] = ["ext4", "xfs", "btrfs", "zfs"];

impl<'a> Mount<'a> {
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ').skip(3);
        let (root, at, options) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self {
            root,
            at,
            is_writable: options.split(',').any(|option| option == "rw"),
            kind: back.split(' ').next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn around(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            environment: variables
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Surroundings::default()
        }
    }

    #[test]
    fn only_a_container_of_a_ci_job_is_a_job() {
        assert_eq!(around(&[]).job(), Err(NoJob::NoVariables));
        assert_eq!(around(&[("CI", "false")]).job(), Err(NoJob::NoVariables));
        assert_eq!(around(&[("CI_JOB_ID", "1")]).job(), Err(NoJob::NoContainer));
        let marked = Surroundings {
            engine_marks: true,
            ..around(&[("CI", "true")])
        };
        assert_eq!(marked.job(), Ok(()));
        let overlaid = Surroundings {
            mounts: "1 2 0:9 / / rw,relatime master:1 - overlay overlay rw\n".to_owned(),
            ..around(&[("CI_JOB_ID", "1")])
        };
        assert_eq!(overlaid.job(), Ok(()));
        let on_disk = Surroundings {
            mounts: "1 2 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n".to_owned(),
            ..around(&[("CI_JOB_ID", "1")])
        };
        assert_eq!(on_disk.job(), Err(NoJob::NoContainer));
    }

    #[test]
    fn the_gateway_is_the_default_routes() {
        let routes =
            "Iface\tDestination\tGateway\tFlags\neth0\t000011AC\t00000000\t0001\neth0\t00000000\t010011AC\t0003\n";
        let around = Surroundings {
            routes: routes.to_owned(),
            ..Surroundings::default()
        };
        let expected = u32::from_str_radix("010011AC", 16).unwrap().to_ne_bytes();
        assert_eq!(around.gateway(), Some(Ipv4Addr::from(expected)));
        assert_eq!(Surroundings::default().gateway(), None);
    }

    #[test]
    fn a_job_s_number_is_a_number() {
        assert_eq!(around(&[("CI_JOB_ID", "302")]).job_number(), Some("302"));
        assert_eq!(around(&[("CI_JOB_ID", "secret")]).job_number(), None);
    }

    proptest! {
        #[test]
        fn no_file_makes_a_reader_panic(text in "[ -~\n\t]{0,200}") {
            let around = Surroundings { status: text.clone(), mounts: text.clone(), routes: text.clone(), unix_sockets: text, ..Surroundings::default() };
            let _ = (around.job(), around.gateway(), around.capabilities(), around.is_in_host_network(), around.mounts().count());
        }
    }
}
