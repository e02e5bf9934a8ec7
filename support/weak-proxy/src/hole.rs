//! The holes. Each variant opens exactly one; where behaviour differs, the code names the variant. Its first line of documentation is what
//! `--list-holes` prints: what happens, whom it imitates, which scenarios it must turn red.

use clap::ValueEnum;

/// A planted hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hole {
    /// any IAM_ROLE is assumed, policy is not asked; like lyft and go-metadataproxy (ROLE-01)
    EnvOverPolicy,
    /// of differing IAM_ROLE entries the first is assumed, policy is not asked; like go-metadataproxy (ROLE-02)
    FirstEnvWins,
    /// of differing IAM_ROLE entries the last is assumed, policy is not asked; like lyft (ROLE-02)
    LastEnvWins,
    /// no, empty or odd IAM_ROLE, or an unknown container, gets a default role; like lyft, go-metadataproxy, kube2iam (ROLE-04, ROLE-05, ROLE-06, ROLE-25, IDENT-32)
    DefaultRole,
    /// service, helper and other containers get the role of the project; like any proxy that ignores the kind (ROLE-22, ROLE-23, ROLE-24)
    AnyKind,
    /// an IAM_ROLE that stands in the image's ENV is assumed, policy is not asked; like lyft and go-metadataproxy (IMG-01, ROLE-33)
    ImageEnv,
    /// the label iam.role chooses the role, policy is not asked; like iam-docker (IMG-02, ROLE-26)
    RoleFromLabel,
    /// credentials for any role that the path names; like ecs-local-endpoints and aws-vault's ECS server (HTTP-01, HTTP-49)
    RoleInPath,
    /// the role and info routes take one segment, anything deeper goes upstream; like go-metadataproxy (HTTP-02, HTTP-14)
    SingleSegmentRoleRoute,
    /// unmatched paths go upstream, decoded, without dots and doubled slashes; like lyft (HTTP-04, HTTP-05, HTTP-06)
    ClientSidePathNormalisation,
    /// every unmatched GET goes upstream as it is, whoever asks; like lyft, go-metadataproxy, kube2iam (HTTP-16, HTTP-17, IDENT-34)
    CatchAllPassthrough,
    /// GET http://other/ is fetched and redirects are followed; like go-metadataproxy (HTTP-20)
    FollowAbsoluteForm,
    /// only GET is intercepted, other methods go upstream; like iam-docker (HTTP-23)
    GetOnlyInterception,
    /// PUT /latest/api/token goes upstream, the host's token comes back; like kiam and kube2iam (HTTP-39)
    ForwardTokenRoute,
    /// no token is needed; like lyft, go-metadataproxy, kiam, kube2iam (HTTP-40)
    TokenOptional,
    /// a token of this proxy is good for every container; like a stateless token without an owner (HTTP-42)
    UnboundTokens,
    /// the address alone identifies, the kernel is not asked; like lyft, go-metadataproxy, kiam, kube2iam (IDENT-17, IDENT-31)
    AddressOnly,
    /// a listening socket counts as the caller's connection; careless attestation, rule A1 (IDENT-17)
    AcceptListenSocket,
    /// the kernel is asked once per connection, which outlives its container; careless attestation, rule A4 (LIFE-25, IDENT-26)
    AttestOncePerConnection,
    /// an address keeps its container for ever, as long as that runs, and the kernel is not asked; like lyft and ec2metaproxy (IDENT-02, IDENT-08)
    CachedAddressLookup,
    /// an address keeps its container for ever, dead or alive, and nothing is checked afterwards; like lyft (#19) and kiam (#499) (IDENT-01)
    StaleAddressLookup,
    /// credentials are cached by role alone, without external id and session name; like lyft, go-metadataproxy, kube2iam (LIFE-01, LIFE-02)
    CacheByArn,
    /// expired credentials are served while STS fails; like go-metadataproxy's entries that never expire (LIFE-06, LIFE-07)
    ServeExpired,
    /// own nftables rules, for docker0 only; like the rule in the ECS documentation (NET-04, NET-05)
    #[value(name = "docker0-only-rules")]
    Docker0OnlyRules,
    /// own nftables rules, for IPv4 only; like the rules of most set-up guides (NET-16)
    #[value(name = "ipv4-only-rules")]
    Ipv4OnlyRules,
    /// own nftables rules, complete, but removed on SIGTERM and SIGINT; like kiam, the kube2iam chart, imdsblock (NET-14)
    RulesRemovedOnExit,
}

impl Hole {
    /// Whether this program applies rules of its own, instead of relying on those applied beforehand.
    #[must_use]
    pub const fn has_own_rules(self) -> bool {
        matches!(
            self,
            Self::Docker0OnlyRules | Self::Ipv4OnlyRules | Self::RulesRemovedOnExit
        )
    }
}

/// What is open in this run: at most one hole, and the name that `default-role` hands out.
#[derive(Debug, Clone, Default)]
pub struct Switches {
    /// The open hole.
    pub hole: Option<Hole>,
    /// `--default-role`: what the hole `default-role` hands out instead of the first role of the project's first rule.
    pub default_role: Option<String>,
}

impl Switches {
    /// Whether `hole` is the open one.
    #[must_use]
    pub fn open(&self, hole: Hole) -> bool {
        self.hole == Some(hole)
    }
}

impl From<Hole> for Switches {
    fn from(hole: Hole) -> Self {
        Self {
            hole: Some(hole),
            default_role: None,
        }
    }
}

/// The table that `--list-holes` prints: a switch and what it opens, a line each.
#[must_use]
pub fn table() -> String {
    let rows: Vec<(String, String)> = Hole::value_variants()
        .iter()
        .filter_map(Hole::to_possible_value)
        .map(|value| {
            (
                value.get_name().to_owned(),
                value.get_help().map(ToString::to_string).unwrap_or_default(),
            )
        })
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    rows.iter()
        .map(|(name, what)| format!("{name:width$}  {what}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_hole_with_its_model_and_scenarios() {
        insta::assert_snapshot!(table(), @r"
        env-over-policy                 any IAM_ROLE is assumed, policy is not asked; like lyft and go-metadataproxy (ROLE-01)
        first-env-wins                  of differing IAM_ROLE entries the first is assumed, policy is not asked; like go-metadataproxy (ROLE-02)
        last-env-wins                   of differing IAM_ROLE entries the last is assumed, policy is not asked; like lyft (ROLE-02)
        default-role                    no, empty or odd IAM_ROLE, or an unknown container, gets a default role; like lyft, go-metadataproxy, kube2iam (ROLE-04, ROLE-05, ROLE-06, ROLE-25, IDENT-32)
        any-kind                        service, helper and other containers get the role of the project; like any proxy that ignores the kind (ROLE-22, ROLE-23, ROLE-24)
        image-env                       an IAM_ROLE that stands in the image's ENV is assumed, policy is not asked; like lyft and go-metadataproxy (IMG-01, ROLE-33)
        role-from-label                 the label iam.role chooses the role, policy is not asked; like iam-docker (IMG-02, ROLE-26)
        role-in-path                    credentials for any role that the path names; like ecs-local-endpoints and aws-vault's ECS server (HTTP-01, HTTP-49)
        single-segment-role-route       the role and info routes take one segment, anything deeper goes upstream; like go-metadataproxy (HTTP-02, HTTP-14)
        client-side-path-normalisation  unmatched paths go upstream, decoded, without dots and doubled slashes; like lyft (HTTP-04, HTTP-05, HTTP-06)
        catch-all-passthrough           every unmatched GET goes upstream as it is, whoever asks; like lyft, go-metadataproxy, kube2iam (HTTP-16, HTTP-17, IDENT-34)
        follow-absolute-form            GET http://other/ is fetched and redirects are followed; like go-metadataproxy (HTTP-20)
        get-only-interception           only GET is intercepted, other methods go upstream; like iam-docker (HTTP-23)
        forward-token-route             PUT /latest/api/token goes upstream, the host's token comes back; like kiam and kube2iam (HTTP-39)
        token-optional                  no token is needed; like lyft, go-metadataproxy, kiam, kube2iam (HTTP-40)
        unbound-tokens                  a token of this proxy is good for every container; like a stateless token without an owner (HTTP-42)
        address-only                    the address alone identifies, the kernel is not asked; like lyft, go-metadataproxy, kiam, kube2iam (IDENT-17, IDENT-31)
        accept-listen-socket            a listening socket counts as the caller's connection; careless attestation, rule A1 (IDENT-17)
        attest-once-per-connection      the kernel is asked once per connection, which outlives its container; careless attestation, rule A4 (LIFE-25, IDENT-26)
        cached-address-lookup           an address keeps its container for ever, as long as that runs, and the kernel is not asked; like lyft and ec2metaproxy (IDENT-02, IDENT-08)
        stale-address-lookup            an address keeps its container for ever, dead or alive, and nothing is checked afterwards; like lyft (#19) and kiam (#499) (IDENT-01)
        cache-by-arn                    credentials are cached by role alone, without external id and session name; like lyft, go-metadataproxy, kube2iam (LIFE-01, LIFE-02)
        serve-expired                   expired credentials are served while STS fails; like go-metadataproxy's entries that never expire (LIFE-06, LIFE-07)
        docker0-only-rules              own nftables rules, for docker0 only; like the rule in the ECS documentation (NET-04, NET-05)
        ipv4-only-rules                 own nftables rules, for IPv4 only; like the rules of most set-up guides (NET-16)
        rules-removed-on-exit           own nftables rules, complete, but removed on SIGTERM and SIGINT; like kiam, the kube2iam chart, imdsblock (NET-14)
        ");
    }

    #[test]
    fn every_hole_names_a_scenario() {
        for line in table().lines() {
            assert!(line.contains('(') && line.ends_with(')'), "{line}");
        }
    }
}
