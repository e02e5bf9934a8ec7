//! The planted holes of weak-proxy that a case may name. Knows nothing of weak-proxy but its names; a test reads them in its source.

/// As `weak-proxy --list-holes` prints them, in that order.
pub const SWITCHES: &[&str] = &[
    "env-over-policy",
    "first-env-wins",
    "last-env-wins",
    "default-role",
    "any-kind",
    "image-env",
    "role-from-label",
    "any-marker",
    "suffix-role-compare",
    "last-segment-compare",
    "unanchored-role-regex",
    "glob-crosses-slash",
    "trims-role",
    "folds-case",
    "folds-unicode",
    "folds-key",
    "account-suffix-syntax",
    "name-identifies",
    "ci-variables-decide",
    "partial-labels",
    "labels-from-header",
    "ignores-ref",
    "project-alone",
    "image-name-matches",
    "caller-external-id",
    "caller-session-name",
    "caller-policy",
    "caller-duration",
    "role-in-path",
    "ecs-routes",
    "single-segment-role-route",
    "client-side-path-normalisation",
    "catch-all-passthrough",
    "iam-info-passthrough",
    "index-passthrough",
    "old-version-passthrough",
    "decodes-twice",
    "follow-absolute-form",
    "get-only-interception",
    "method-override",
    "lenient-framing",
    "pipelines-blindly",
    "shares-leftovers",
    "any-host-header",
    "no-size-limits",
    "endless-patience",
    "echoes-errors",
    "admin-on-main-port",
    "forward-token-route",
    "token-optional",
    "any-token",
    "endless-tokens",
    "tokens-outlive-restarts",
    "any-token-ttl",
    "xff-on-token",
    "unbound-tokens",
    "whole-network-trusted",
    "allow-ip-query",
    "trusts-forwarded-for",
    "proxy-protocol",
    "address-from-label",
    "prefers-first-match",
    "ignores-pause",
    "address-only",
    "accept-listen-socket",
    "inode-zero-counts",
    "no-cookie",
    "attest-once-per-connection",
    "trusts-pid",
    "last-path-component",
    "native-sockets-only",
    "no-age-limit",
    "cached-address-lookup",
    "stale-address-lookup",
    "stale-events",
    "cache-by-arn",
    "keeps-removed-rules",
    "serve-expired",
    "negative-ttl-forever",
    "fallback-on-sts-error",
    "trusts-sts-answer",
    "failures-by-arn",
    "no-single-flight",
    "logs-credentials",
    "docker0-only-rules",
    "ipv4-only-rules",
    "tcp80-only-rules",
    "endpoint-only-rules",
    "output-only-rules",
    "rules-removed-on-exit",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Variants as clap names them: an explicit name, or words of capitals joined by hyphens.
    fn planted(source: &str) -> Vec<String> {
        let body = source.split_once("pub enum Hole {").unwrap().1;
        let body = body.split_once("\n}").unwrap().0;
        let mut named = None;
        let mut names = Vec::new();
        for line in body.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("#[value(name = \"") {
                named = name.split('"').next().map(str::to_owned);
            } else if let Some(variant) = line.strip_suffix(',').filter(|_| !line.starts_with("//")) {
                let mut name = String::new();
                for letter in variant.chars() {
                    if letter.is_ascii_uppercase() && !name.is_empty() {
                        name.push('-');
                    }
                    name.push(letter.to_ascii_lowercase());
                }
                names.push(named.take().unwrap_or(name));
            }
        }
        names
    }

    #[test]
    fn the_switches_are_those_of_weak_proxy() {
        let source = include_str!("../../../support/weak-proxy/src/hole.rs");
        assert_eq!(SWITCHES, planted(source));
    }
}
