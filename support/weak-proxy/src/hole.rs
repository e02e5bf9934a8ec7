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
    /// a label by which a rule knows the operator's containers counts on any container, its image's label too; like iam-docker (IMG-15)
    AnyMarker,
    /// the end of an allowed role is enough; like iam-docker's HasSuffix (ROLE-17)
    SuffixRoleCompare,
    /// only the last segments of roles are compared, path and account are not; like go-metadataproxy (ROLE-12, ROLE-17)
    LastSegmentCompare,
    /// an allowed role is a pattern that may match anywhere in the IAM_ROLE; like kiam before #328 and kube2iam (ROLE-20)
    UnanchoredRoleRegex,
    /// an allowed role is a glob with a star at its end, which crosses slashes; like kube2iam (ROLE-21)
    GlobCrossesSlash,
    /// white space, controls and byte order marks around the IAM_ROLE are dropped; like ec2metaproxy (ROLE-07, ROLE-08)
    TrimsRole,
    /// roles are compared without regard to letter case; like a policy on a case-insensitive store (ROLE-11)
    FoldsCase,
    /// full-width and dotless letters count as plain ones, zero-width ones as nothing; like a policy after NFKC (ROLE-10)
    FoldsUnicode,
    /// a variable whose name resembles IAM_ROLE is assumed, policy is not asked; like Windows containers (ROLE-09)
    FoldsKey,
    /// role@account is an ARN of that account, policy is not asked; like go-metadataproxy and lyft (ROLE-15, ROLE-16)
    AccountSuffixSyntax,
    /// the project is read from host name and container name; like lyft's ROLE_REVERSE_LOOKUP (ROLE-29, IDENT-28, IDENT-29)
    NameIdentifies,
    /// CI_PROJECT_ID and CI_COMMIT_REF_NAME of the environment decide, labels do not; like any proxy that trusts variables (ROLE-28)
    CiVariablesDecide,
    /// labels of runner and project are enough, what the runner always sets besides may be missing; like iam-docker (ROLE-27, IDENT-35)
    PartialLabels,
    /// labels come from the caller's X-Container-Labels where its container has none; like barnacle-imds-proxy (IDENT-25)
    LabelsFromHeader,
    /// a rule's ref is not compared; like any proxy that knows projects only (ROLE-36)
    IgnoresRef,
    /// a rule's runner and GitLab server are not compared; like any proxy that takes project.id for unique (ROLE-39)
    ProjectAlone,
    /// a rule's image is compared by name, not by id or digest; like GitLab Runner's allowed_images (IMG-05, IMG-06)
    ImageNameMatches,
    /// IAM_EXTERNAL_ID of the environment goes to STS; like lyft and go-metadataproxy (ROLE-30)
    CallerExternalId,
    /// ROLE_SESSION_KEY=Env:X of the environment names the session; like lyft (ROLE-31)
    CallerSessionName,
    /// IAM_POLICY of the environment is the session policy; like ec2metaproxy (ROLE-32)
    CallerPolicy,
    /// IAM_DURATION of the environment is how long the session lives; like any proxy that passes a job's wishes on (LIFE-18)
    CallerDuration,
    /// credentials for any role that the path names; like kube2iam before #15 (HTTP-01, HTTP-48)
    RoleInPath,
    /// /role/NAME and /role-arn/ARN hand out any role; like ecs-local-endpoints and aws-vault's ECS server (HTTP-49)
    EcsRoutes,
    /// the role and info routes take one segment, anything deeper goes upstream; like go-metadataproxy (HTTP-02, HTTP-14)
    SingleSegmentRoleRoute,
    /// unmatched paths go upstream, decoded, without dots and doubled slashes; like lyft (HTTP-04, HTTP-05, HTTP-06)
    ClientSidePathNormalisation,
    /// every unmatched GET goes upstream as it is, whoever asks; like lyft, go-metadataproxy, kube2iam (HTTP-16, HTTP-17, IDENT-34)
    CatchAllPassthrough,
    /// iam/info and all below it goes upstream; like kube2iam (HTTP-14)
    IamInfoPassthrough,
    /// index pages go upstream; like every proxy with a catch-all (HTTP-15)
    IndexPassthrough,
    /// versions that sort before 2012-01-12 go upstream; like lyft and go-metadataproxy (HTTP-13)
    OldVersionPassthrough,
    /// unmatched paths go upstream, decoded twice; like a router behind a router (HTTP-08)
    DecodesTwice,
    /// GET http://other/ is fetched and redirects are followed; like go-metadataproxy (HTTP-20)
    FollowAbsoluteForm,
    /// only GET is intercepted, other methods go upstream; like iam-docker (HTTP-23)
    GetOnlyInterception,
    /// X-HTTP-Method-Override replaces the method; like frameworks with that middleware (HTTP-24)
    MethodOverride,
    /// length with chunked, two lengths, folded lines and bare LF are taken somehow; like old gunicorn and Go (HTTP-25, HTTP-26)
    LenientFraming,
    /// of requests that come in one piece only the first is judged; like a check per connection (HTTP-28)
    PipelinesBlindly,
    /// what a client leaves behind on its connection goes before the next one's first request; like proxies that share connections (HTTP-27)
    SharesLeftovers,
    /// any Host is taken, several or none too; like every proxy but aws-vault since #578 (HTTP-22)
    AnyHostHeader,
    /// heads of a mebibyte and 20000 headers are read; like servers without limits (HTTP-34)
    NoSizeLimits,
    /// a request may take ten minutes; like servers without time limits (HTTP-35)
    EndlessPatience,
    /// refusals tell role, policy and reason; like kube2iam and kiam (HTTP-37)
    EchoesErrors,
    /// /metrics, /healthz and /debug/store are served to jobs; like go-metadataproxy, kube2iam, kiam (HTTP-38)
    AdminOnMainPort,
    /// PUT /latest/api/token goes upstream, the host's token comes back; like kiam and kube2iam (HTTP-39)
    ForwardTokenRoute,
    /// no token is needed; like lyft, go-metadataproxy, kiam, kube2iam (HTTP-40)
    TokenOptional,
    /// any text is a token; like moto and amazon-ec2-metadata-mock (HTTP-44, HTTP-46)
    AnyToken,
    /// tokens never expire; like a token without a date (HTTP-43)
    EndlessTokens,
    /// a token outlives the run of its container; like a token bound to an id alone (HTTP-43)
    TokensOutliveRestarts,
    /// any lifetime is taken for a token, and none; like mocks that do not read the header (HTTP-45)
    AnyTokenTtl,
    /// a token request with X-Forwarded-For is answered; like proxies that blank the address (HTTP-47)
    XffOnToken,
    /// a token of this proxy is good for every container; like a stateless token without an owner (HTTP-42)
    UnboundTokens,
    /// any peer is served, also one that connects to the proxy's own port, with own rules that leave it open; like lyft and go-metadataproxy (IDENT-20)
    WholeNetworkTrusted,
    /// ?ip= names the caller; like kiam's --allow-ip-query (IDENT-24)
    AllowIpQuery,
    /// X-Forwarded-For, X-Real-IP and their like name the caller; like gunicorn with forwarded_allow_ips (IDENT-22)
    TrustsForwardedFor,
    /// a PROXY preamble names the caller; like servers behind a load balancer (IDENT-23)
    ProxyProtocol,
    /// the label io.rancher.container.ip gives a container an address, and the kernel is not asked; like lyft (IDENT-30)
    AddressFromLabel,
    /// of several containers with an address the oldest counts, stopped ones too, and the kernel is not asked; like lyft and go-metadataproxy (IDENT-05, IDENT-09)
    PrefersFirstMatch,
    /// a paused container counts as running, and the kernel is not asked; like every proxy that looks up addresses (IDENT-03)
    IgnoresPause,
    /// the address alone identifies, the kernel is not asked; like lyft, go-metadataproxy, kiam, kube2iam (IDENT-17, IDENT-31)
    AddressOnly,
    /// a listening socket counts as the caller's connection; careless attestation, rule A1 (IDENT-17)
    AcceptListenSocket,
    /// orphaned sockets and those of dead containers count, and no end is noticed; careless attestation, rule A2 (ATT-02)
    InodeZeroCounts,
    /// whoever had a connection's addresses and ports once has them again, no cookie is asked; careless attestation, rule A3 (ATT-03)
    NoCookie,
    /// the kernel is asked once per connection, which outlives its container; careless attestation, rule A4 (LIFE-25, IDENT-26)
    AttestOncePerConnection,
    /// the process id that the engine told first stands for the container for ever; careless attestation, rule A5 (ATT-05)
    TrustsPid,
    /// the last component of the cgroup's path names the container; careless attestation, rule A6 (ATT-06)
    LastPathComponent,
    /// sockets of the other family are not looked for, so v4-mapped clients are refused; careless attestation, rule A8 (ATT-08)
    NativeSocketsOnly,
    /// a container keeps its role beyond its job's timeout; careless attestation, rule A11 (ATT-11)
    NoAgeLimit,
    /// an address keeps its container for ever, as long as that runs, and the kernel is not asked; like lyft and ec2metaproxy (IDENT-02, IDENT-08)
    CachedAddressLookup,
    /// an address keeps its container for ever, dead or alive, and nothing is checked afterwards; like lyft (#19) and kiam (#499) (IDENT-01)
    StaleAddressLookup,
    /// an address keeps its container until its removal is told, however often it stops, and the kernel is not asked; like iam-docker (IDENT-38)
    StaleEvents,
    /// credentials are cached by role alone, without external id, session name, policy and duration; like lyft, go-metadataproxy, kube2iam (LIFE-01, LIFE-02, LIFE-03)
    CacheByArn,
    /// a container keeps what it was granted once, whatever the policy says after a reload; like caches of roles by address or container id (ROLE-37)
    KeepsRemovedRules,
    /// expired credentials are served while STS fails; like go-metadataproxy's entries that never expire (LIFE-06, LIFE-07)
    ServeExpired,
    /// sessions shorter than the refresh time are cached for ever; like go-metadataproxy with go-cache (LIFE-07)
    NegativeTtlForever,
    /// the host's credentials are served when STS fails; like a chain of providers (LIFE-09, LIFE-10)
    FallbackOnStsError,
    /// the role that STS says it assumed is not compared; like every proxy read (LIFE-11)
    TrustsStsAnswer,
    /// a refusal of STS is remembered for the role and every caller; like a negative cache (LIFE-27)
    FailuresByArn,
    /// every caller that finds nothing cached asks STS; like caches without single flight (AVAIL-12)
    NoSingleFlight,
    /// credentials are logged; like lyft with DEBUG (LIFE-22)
    LogsCredentials,
    /// own nftables rules, for docker0 only; like the rule in the ECS documentation (NET-04, NET-05)
    #[value(name = "docker0-only-rules")]
    Docker0OnlyRules,
    /// own nftables rules, for IPv4 only; like the rules of most set-up guides (NET-16)
    #[value(name = "ipv4-only-rules")]
    Ipv4OnlyRules,
    /// own nftables rules, which redirect tcp/80 and drop nothing; like the rules of lyft and go-metadataproxy (NET-15)
    #[value(name = "tcp80-only-rules")]
    Tcp80OnlyRules,
    /// own nftables rules, for the endpoint's addresses only; like most firewall advice (NET-20)
    EndpointOnlyRules,
    /// own nftables rules in OUTPUT, which containers never pass; like travis-ci's terraform-config (NET-06)
    OutputOnlyRules,
    /// own nftables rules, complete, but removed on SIGTERM and SIGINT; like kiam, the kube2iam chart, imdsblock (NET-14)
    RulesRemovedOnExit,
}

impl Hole {
    /// Whether addresses alone identify: a proxy with this hole has never heard of sockets.
    #[must_use]
    pub const fn does_without_kernel(self) -> bool {
        matches!(
            self,
            Self::AddressOnly
                | Self::CachedAddressLookup
                | Self::StaleAddressLookup
                | Self::StaleEvents
                | Self::IgnoresPause
                | Self::PrefersFirstMatch
                | Self::AddressFromLabel
        )
    }

    /// Whether this program applies rules of its own, instead of relying on those applied beforehand.
    #[must_use]
    pub const fn has_own_rules(self) -> bool {
        matches!(
            self,
            Self::Docker0OnlyRules
                | Self::Ipv4OnlyRules
                | Self::Tcp80OnlyRules
                | Self::EndpointOnlyRules
                | Self::OutputOnlyRules
                | Self::RulesRemovedOnExit
                | Self::WholeNetworkTrusted
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
    fn the_table_has_a_line_for_each_hole_with_its_model_and_scenarios() {
        let table = table();
        assert_eq!(table.lines().count(), Hole::value_variants().len());
        for line in table.lines() {
            let scenarios = line.rsplit_once(" (").and_then(|(_, rest)| rest.strip_suffix(')'));
            let is_id = |id: &str| id.split_once('-').is_some_and(|(_, number)| number.len() == 2);
            assert!(scenarios.is_some_and(|ids| ids.split(", ").all(is_id)), "{line}");
            assert!(
                line.contains("; like ") || line.contains("; careless attestation, rule A"),
                "{line}"
            );
        }
    }
}
