//! Every way that is tried, as data: what it is called, what it means where it is open, what closes it. Pure.

pub(super) mod beside;
pub(super) mod held;

/// One way to credentials, or to what leads to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Its name: stable, since `--allow` and other people's scripts use it.
    pub name: &'static str,
    /// Which attacks of the catalogue it belongs to.
    pub catalogue: &'static str,
    /// What is tried.
    pub tried: &'static str,
    /// What it means where it is open.
    pub means: &'static str,
    /// What closes it.
    pub closes: &'static str,
}

const fn way(
    name: &'static str,
    catalogue: &'static str,
    tried: &'static str,
    means: &'static str,
    closes: &'static str,
) -> Way {
    Way {
        name,
        catalogue,
        tried,
        means,
        closes,
    }
}

const CLOSE_ENDPOINT: &str =
    "a firewall rule by destination for every bridge, before Docker starts; or a metadata proxy";
const CLOSE_V6: &str = "the same rule for fd00:ec2::/32, or HttpProtocolIpv6=disabled";
const CLOSE_ROUTES: &str =
    "a proxy that canonicalises the path once and knows only the routes it serves, without passing anything on";
const CLOSE_DOCUMENTS: &str =
    "a firewall rule by destination for every bridge; or a proxy that knows only the routes it serves";
const CLOSE_HOST: &str = "a firewall rule in INPUT: jobs reach no port of the host";
const HOST_ROLE: &str = "any process of this job has the credentials of this role";
const SPELLING: &str = "who checks the path reads it otherwise than who serves it: this spelling passes the check";
const FORGED: &str = "who asks is believed what it says of itself: a job can pass for another";

/// The baselines: everything else is compared with them.
pub(super) const V1: Way = way(
    "imds-v1",
    "NET-01",
    "IPv4, no token: list, credentials",
    "any process of this job has the credentials of this role, also through one forged GET (SSRF)",
    "HttpTokens=required and a hop limit of 1; or a firewall rule by destination for every bridge",
);
pub(super) const V2: Way = way(
    "imds-v2",
    "NET-02",
    "IPv4, token PUT: list, credentials",
    HOST_ROLE,
    CLOSE_ENDPOINT,
);
pub(super) const V1_V6: Way = way(
    "imds-v1-ipv6",
    "NET-16",
    "IPv6, no token: list, credentials",
    "rules for IPv4 alone leave the endpoint's IPv6 address open",
    CLOSE_V6,
);
pub(super) const V2_V6: Way = way(
    "imds-v2-ipv6",
    "NET-16",
    "IPv6, token PUT: list, credentials",
    "rules for IPv4 alone leave the endpoint's IPv6 address open",
    CLOSE_V6,
);
pub(super) const HOP_LIMIT: Way = way(
    "hop-limit",
    "NET-03",
    "how far the PUT's answer comes",
    "the endpoint's own answers come as far as this container: the hop limit is 2 or more, or this is the host's network",
    "HttpPutResponseHopLimit=1",
);

/// The list and the credentials of roles by other spellings: way and path, in which `{role}` is a role that is known.
pub(super) const SPELLINGS: [(Way, &str); 17] = [
    (
        way(
            "path-no-slash",
            "HTTP-03",
            "the list without its last slash",
            SPELLING,
            CLOSE_ROUTES,
        ),
        "/latest/meta-data/iam/security-credentials",
    ),
    (
        way(
            "path-after-role",
            "HTTP-02",
            "a segment after the role",
            "a route of one segment is passed by: the rest goes to the host's service",
            CLOSE_ROUTES,
        ),
        "/latest/meta-data/iam/security-credentials/{role}/x",
    ),
    (
        way("path-dot", "HTTP-04", "/./latest/…", SPELLING, CLOSE_ROUTES),
        "/./latest/meta-data/iam/security-credentials/",
    ),
    (
        way(
            "path-dot-dot",
            "HTTP-04",
            "…/meta-data/x/../iam/…",
            SPELLING,
            CLOSE_ROUTES,
        ),
        "/latest/meta-data/x/../iam/security-credentials/",
    ),
    (
        way("path-encoded-dot", "HTTP-05", "/%2e/latest/…", SPELLING, CLOSE_ROUTES),
        "/%2e/latest/meta-data/iam/security-credentials/",
    ),
    (
        way("path-slashes", "HTTP-06", "//latest/…", SPELLING, CLOSE_ROUTES),
        "//latest/meta-data/iam/security-credentials/",
    ),
    (
        way(
            "path-inner-slashes",
            "HTTP-06",
            "…/iam//security-credentials/",
            SPELLING,
            CLOSE_ROUTES,
        ),
        "/latest/meta-data/iam//security-credentials/",
    ),
    (
        way(
            "path-encoded-slash",
            "HTTP-07",
            "…/iam%2fsecurity-credentials/",
            SPELLING,
            CLOSE_ROUTES,
        ),
        "/latest/meta-data/iam%2fsecurity-credentials/",
    ),
    (
        way(
            "path-twice-encoded",
            "HTTP-08",
            "…/iam%252fsecurity-credentials/",
            SPELLING,
            CLOSE_ROUTES,
        ),
        "/latest/meta-data/iam%252fsecurity-credentials/",
    ),
    (
        way("path-semicolon", "HTTP-09", "…/x/..;/iam/…", SPELLING, CLOSE_ROUTES),
        "/latest/meta-data/x/..;/iam/security-credentials/",
    ),
    (
        way(
            "path-backslash",
            "HTTP-09",
            "/latest\\meta-data\\iam\\…",
            SPELLING,
            CLOSE_ROUTES,
        ),
        "/latest\\meta-data\\iam\\security-credentials\\",
    ),
    (
        way(
            "path-case",
            "HTTP-10",
            "/Latest/Meta-Data/IAM/…",
            SPELLING,
            CLOSE_ROUTES,
        ),
        "/Latest/Meta-Data/IAM/Security-Credentials/",
    ),
    (
        way(
            "path-encoded-letter",
            "HTTP-10",
            "/latest/meta-data/%69am/…",
            SPELLING,
            CLOSE_ROUTES,
        ),
        "/latest/meta-data/%69am/security-credentials/",
    ),
    (
        way("path-query", "HTTP-12", "the list with a query", SPELLING, CLOSE_ROUTES),
        "/latest/meta-data/iam/security-credentials/?x=/../",
    ),
    (
        way("path-version", "HTTP-13", "/2012-01-12/…", SPELLING, CLOSE_ROUTES),
        "/2012-01-12/meta-data/iam/security-credentials/",
    ),
    (
        way("path-old-version", "HTTP-13", "/1.0/…", SPELLING, CLOSE_ROUTES),
        "/1.0/meta-data/iam/security-credentials/",
    ),
    (
        way("path-address", "IDENT-24", "?ip= of the gateway", FORGED, CLOSE_ROUTES),
        "/latest/meta-data/iam/security-credentials/?ip={gateway}",
    ),
];

/// The list and the credentials with headers that are a lie: `{gateway}` is the gateway's address.
pub(super) const HEADERS: [(Way, &[(&str, &str)]); 6] = [
    (
        way(
            "header-forwarded-for",
            "IDENT-22",
            "X-Forwarded-For and its relatives",
            FORGED,
            "headers of forwarding are dropped and never read",
        ),
        &[
            ("X-Forwarded-For", "{gateway}"),
            ("X-Real-IP", "{gateway}"),
            ("Forwarded", "for={gateway}"),
            ("True-Client-IP", "{gateway}"),
            ("X-Client-IP", "{gateway}"),
        ],
    ),
    (
        way(
            "header-loopback",
            "IDENT-22",
            "X-Forwarded-For: 127.0.0.1",
            FORGED,
            "headers of forwarding are dropped and never read",
        ),
        &[("X-Forwarded-For", "127.0.0.1")],
    ),
    (
        way(
            "header-container",
            "IDENT-25",
            "X-Container-Id, X-Container-Labels",
            FORGED,
            "headers of identity are dropped and never read",
        ),
        &[("X-Container-Id", "0"), ("X-Container-Labels", "IAM_ROLE=admin")],
    ),
    (
        way(
            "header-host",
            "HTTP-22",
            "a foreign Host",
            "a web page or service can be made to ask for it (DNS rebinding)",
            "only the endpoint's own Host is answered",
        ),
        &[("Host", "rebound.invalid")],
    ),
    (
        way(
            "header-hop-by-hop",
            "HTTP-31",
            "Connection: names the token header",
            SPELLING,
            "a request is judged on the token that was received",
        ),
        &[("Connection", "close, X-aws-ec2-metadata-token")],
    ),
    (
        way(
            "header-script-name",
            "HTTP-33",
            "SCRIPT_NAME: /latest",
            SPELLING,
            CLOSE_ROUTES,
        ),
        &[("SCRIPT_NAME", "/latest")],
    ),
];
/// The list by an absolute target.
pub(super) const ABSOLUTE: Way = way(
    "path-absolute",
    "HTTP-20",
    "GET http://169.254.169.254/…",
    SPELLING,
    CLOSE_ROUTES,
);

/// Documents that only the host has: way, path, the word for what leaks.
pub(super) const DOCUMENTS: [(Way, &str, &str); 6] = [
    (
        way(
            "iam-info",
            "HTTP-14",
            "iam/info",
            "the host's instance profile is told",
            CLOSE_DOCUMENTS,
        ),
        "/latest/meta-data/iam/info",
        "iam-info",
    ),
    (
        way(
            "identity-credentials",
            "HTTP-16",
            "identity-credentials/ec2/…",
            "the instance's own identity credentials: a job passes for the host at some AWS services",
            CLOSE_DOCUMENTS,
        ),
        "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
        "identity-credentials",
    ),
    (
        way(
            "user-data",
            "HTTP-17",
            "user-data",
            "what the host was started with, often with secrets",
            CLOSE_DOCUMENTS,
        ),
        "/latest/user-data",
        "user-data",
    ),
    (
        way(
            "identity-document",
            "HTTP-18",
            "dynamic/instance-identity/…",
            "a signed document with which a job passes for the host at third parties",
            CLOSE_DOCUMENTS,
        ),
        "/latest/dynamic/instance-identity/document",
        "identity-document",
    ),
    (
        way(
            "tags",
            "HTTP-19",
            "meta-data/tags/instance/",
            "the host's tags",
            "InstanceMetadataTags=disabled, or a proxy that knows only the routes it serves",
        ),
        "/latest/meta-data/tags/instance/",
        "tags",
    ),
    (
        way(
            "admin-pages",
            "HTTP-38",
            "/metrics at the endpoint",
            "a proxy's own metrics name roles, paths and callers",
            "metrics and debugging on a socket that jobs cannot reach",
        ),
        "/metrics",
        "metrics",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_what_is_tried_fits_its_column() {
        let all: Vec<Way> = crate::audit::plan::every_way();
        let names: BTreeSet<&str> = all.iter().map(|way| way.name).collect();
        assert_eq!(names.len(), all.len());
        for way in all {
            assert!(way.name.len() <= 20, "{}", way.name);
            assert!(way.tried.chars().count() <= 34, "{}: {}", way.name, way.tried);
            assert!(
                !way.means.is_empty() && !way.closes.is_empty() && way.catalogue.contains('-'),
                "{}",
                way.name
            );
        }
    }
}
