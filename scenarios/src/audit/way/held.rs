//! Ways that a job's process holds already, or reaches without the network. Pure data.

use super::{Way, way};

pub(in crate::audit) const KEYS: Way = way(
    "environment-keys",
    "LIFE-24",
    "AWS_ACCESS_KEY_ID and the others",
    "keys in the environment: in every process of the job, and in logs soon",
    "no keys in CI variables; a role by ID token or by a proxy",
);
pub(in crate::audit) const WEB_IDENTITY: Way = way(
    "web-identity",
    "OIDC-17",
    "AWS_ROLE_ARN, its token's file",
    "the environment's role can be had with the token that lies here",
    "a trust policy that names project and ref; --expect the role that it is to give",
);
pub(in crate::audit) const POD_TOKEN: Way = way(
    "pod-token",
    "OIDC-20",
    "a pod's token where EKS puts one",
    "a token of the runner's pod: its service account's role can be had",
    "automountServiceAccountToken=false for jobs; a service account of their own",
);
pub(in crate::audit) const ID_TOKENS: Way = way(
    "id-tokens",
    "OIDC-17",
    "ID tokens in the environment",
    "roles that trust the issuer can be had, as far as their trust policies go",
    "trust policies that name aud, project and ref; id_tokens only in jobs that use them",
);
pub(in crate::audit) const ELSEWHERE: Way = way(
    "sdk-elsewhere",
    "IMG-09",
    "endpoints of SDKs set elsewhere",
    "SDKs in this job send requests, and tokens, where the environment says",
    "no such variables in images and in the runner's environment, but for those that are meant",
);
pub(in crate::audit) const NO_PROXY: Way = way(
    "no-proxy",
    "NET-23",
    "HTTP_PROXY without NO_PROXY",
    "some SDKs send metadata requests with their tokens to the web proxy",
    "NO_PROXY=169.254.169.254,169.254.170.2,[fd00:ec2::254]",
);
pub(in crate::audit) const SDK_FILES: Way = way(
    "aws-files",
    "IMG-10",
    "~/.aws, the SDKs' files",
    "the SDKs' files hold credentials, or say where some are",
    "no ~/.aws in images and caches",
);
pub(in crate::audit) const ENGINE_SOCKET: Way = way(
    "engine-socket",
    "IDENT-35",
    "sockets of container engines",
    "whoever has the engine's socket is root on the host, and has its credentials",
    "no such volume in config.toml; builds without an engine, or a host of their own",
);
pub(in crate::audit) const HOST_NETWORK: Way = way(
    "host-network",
    "IDENT-11",
    "the host's network interfaces",
    "in the host's network neither FORWARD rules nor hop limits apply",
    "no network_mode = \"host\"",
);
pub(in crate::audit) const HOST_PROCESSES: Way = way(
    "host-processes",
    "NET-35",
    "/proc of the host",
    "the host's processes are to be seen, with their environments for root",
    "no pid_mode = \"host\", no volume of /proc",
);
pub(in crate::audit) const CAPABILITIES: Way = way(
    "capabilities",
    "NET-35",
    "the effective capabilities",
    "with these a process leaves its container",
    "privileged = false, cap_drop",
);
pub(in crate::audit) const SPOOFING: Way = way(
    "spoofing",
    "IDENT-16",
    "NET_RAW, NET_ADMIN",
    "on a shared bridge a neighbour's address can be taken, and answers read",
    "a bridge for each job or a filter for each port; cap_drop = [\"NET_RAW\"]",
);
pub(in crate::audit) const HOST_FILES: Way = way(
    "host-files",
    "NET-35",
    "mounts of the host's file system",
    "the host's files lie open: keys, engine, configuration",
    "no volume of / or of the engine's directories in config.toml",
);
pub(in crate::audit) const CGROUPS: Way = way(
    "cgroups",
    "NET-36",
    "cgroups that can be written to",
    "with CAP_SYS_ADMIN a release agent runs as root on the host",
    "no volume of /sys/fs/cgroup, privileged = false",
);
