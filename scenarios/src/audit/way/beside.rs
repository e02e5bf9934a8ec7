//! Ways beside the endpoint itself: its siblings, the host's own ports, and whoever the environment names. Pure data.

use super::{CLOSE_HOST, Way, way};

pub(in crate::audit) const NAT64: Way = way(
    "imds-nat64",
    "NET-18",
    "64:ff9b::a9fe:a9fe, no token",
    "a translator from IPv6 passes the IPv4 rules by",
    "a rule for the translated address; IPv6 closed by default",
);
pub(in crate::audit) const CONTAINERS: Way = way(
    "container-endpoint",
    "NET-20",
    "169.254.170.2, the task's address",
    "the credentials of the task that this container belongs to",
    "a firewall rule for 169.254.170.2; no AWS_CONTAINER_CREDENTIALS_* in jobs",
);
pub(in crate::audit) const FULL_ADDRESS: Way = way(
    "container-full-uri",
    "NET-20",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "the credentials that the environment's address gives",
    "no AWS_CONTAINER_CREDENTIALS_FULL_URI in jobs; or --expect the role that it is to give",
);
pub(in crate::audit) const PODS: Way = way(
    "pod-endpoint",
    "NET-20",
    "169.254.170.23/v1/credentials",
    "the credentials of the pod that this container belongs to",
    "a firewall rule for 169.254.170.23; no pod identity for runners' pods",
);
pub(in crate::audit) const PODS_V6: Way = way(
    "pod-endpoint-ipv6",
    "NET-20",
    "[fd00:ec2::23]/v1/credentials",
    "the credentials of the pod that this container belongs to",
    "a firewall rule for fd00:ec2::/32",
);
pub(in crate::audit) const CONTAINER_AGENT: Way = way(
    "ecs-agent",
    "NET-20",
    "gateway:51678/v1/metadata",
    "the agent tells what runs on this host",
    CLOSE_HOST,
);
/// Ports of the host at which proxies of metadata listen: the common recipes, kube2iam and kiam, plain HTTP, the ECS agent's.
pub(in crate::audit) const GATEWAYS: [(Way, u16); 4] = [
    (
        way(
            "gateway-8000",
            "NET-21",
            "gateway:8000, no token",
            "a proxy serves who asks it directly, where no rule has seen the connection",
            CLOSE_HOST,
        ),
        8000,
    ),
    (
        way(
            "gateway-8181",
            "NET-21",
            "gateway:8181, no token",
            "a proxy serves who asks it directly, where no rule has seen the connection",
            CLOSE_HOST,
        ),
        8181,
    ),
    (
        way(
            "gateway-80",
            "NET-21",
            "gateway:80, no token",
            "a proxy serves who asks it directly, where no rule has seen the connection",
            CLOSE_HOST,
        ),
        80,
    ),
    (
        way(
            "gateway-51679",
            "NET-21",
            "gateway:51679, no token",
            "a proxy serves who asks it directly, where no rule has seen the connection",
            CLOSE_HOST,
        ),
        51679,
    ),
];
pub(in crate::audit) const GATEWAY_ENGINE: Way = way(
    "gateway-engine",
    "NET-27",
    "gateway:2375/version",
    "an engine's API without a password: whoever has it is root on the host",
    "no tcp:// listener of the engine, or one that asks for certificates",
);
pub(in crate::audit) const ENGINE_NAMED: Way = way(
    "docker-host",
    "NET-27",
    "DOCKER_HOST/version",
    "an engine takes orders from this job; a privileged docker:dind is the host",
    "builds without an engine, or rootless; a host of their own for jobs that need one",
);
pub(in crate::audit) const WEB_PROXY: Way = way(
    "http-proxy",
    "NET-23",
    "HTTP_PROXY asked for the list",
    "a proxy on the way out fetches the endpoint: of its own host",
    "the proxy refuses link-local destinations; NO_PROXY=169.254.169.254",
);
pub(in crate::audit) const SDK: Way = way(
    "sdk",
    "NET-01",
    "an SDK's chain, GetCallerIdentity",
    "an unmodified SDK finds credentials here, and STS knows them",
    "what closes the way that it found; see the others",
);
