//! The tables of a world file, field by field.

use super::rule::{self, Rule};
use super::shape::Kind::{Flag, Foreign, Named, Number, Table, TableOrTables, Tables, Text, Texts, Usual, Word};
use super::shape::{Key, key, needed};

const EVENT_CODES: &[&str] = &[
    "instance-reboot",
    "system-reboot",
    "system-maintenance",
    "instance-retirement",
    "instance-stop",
];
const LIFECYCLE_STATES: &[&str] = &[
    "InService",
    "Terminated",
    "Detached",
    "Standby",
    "Warmed:Hibernated",
    "Warmed:Running",
    "Warmed:Stopped",
    "Warmed:Terminated",
];
const SEGMENT: Rule = rule::SEGMENT;

/// A world file.
pub(super) const WORLD: &[Key] = &[
    key("account", Table(ACCOUNT), "the account"),
    key(
        "instance",
        TableOrTables(INSTANCE),
        "the instance; [[instance]] for several",
    ),
    key("role", Foreign, "fake-sts reads it"),
    key("user", Foreign, "fake-sts reads it"),
    key("policy", Foreign, "fake-sts reads it"),
    key("oidc_provider", Foreign, "fake-sts reads it"),
    key("saml_provider", Foreign, "fake-sts reads it"),
    key("issuer", Foreign, "fake-sts reads it"),
    key("organization", Foreign, "fake-sts reads it"),
];

const ACCOUNT: &[Key] = &[
    key("id", Text(rule::ACCOUNT), "twelve digits"),
    key("region", Text(rule::REGION), "the region"),
    key("partition", Word(&["aws", "aws-cn", "aws-us-gov"]), "the partition"),
    key("outbound_web_identity", Foreign, "fake-sts reads it"),
];

pub(super) const INSTANCE: &[Key] = &[
    key("id", Text(rule::INSTANCE_ID), "its id"),
    key(
        "listen",
        Texts(rule::LISTEN),
        "it answers what comes to these addresses",
    ),
    key(
        "sources",
        Texts(rule::SOURCE),
        "it answers what comes from these addresses",
    ),
    key(
        "tokens",
        Texts(rule::TOKEN),
        "session tokens that lead to it and never expire",
    ),
    key("profile", Text(rule::NAME_OR_NONE), "its instance profile"),
    key("role", Text(rule::NAME_OR_NONE), "the profile's role"),
    key(
        "profile_state",
        Word(PROFILE_STATES),
        "not-found: the profile was deleted; untrusted: its role does not trust EC2",
    ),
    key("http_tokens", Word(&["optional", "required"]), "HttpTokens"),
    key("hop_limit", Number(1, 64), "HttpPutResponseHopLimit"),
    key("endpoint", Word(&["enabled", "disabled"]), "HttpEndpoint"),
    key("ipv6", Flag, "HttpProtocolIpv6"),
    key(
        "instance_metadata_tags",
        Word(&["enabled", "disabled"]),
        "InstanceMetadataTags",
    ),
    key("user_data", Text(rule::USER_DATA), "its user data; \"\" for none"),
    key("user_data_base64", Text(rule::BASE64), "its user data, any bytes"),
    key("tags", Named(rule::TAG_NAME, rule::TAG_VALUE), "its tags"),
    key(
        "canaries",
        Flag,
        "whether a marker stands in all that nobody else should read",
    ),
    key(
        "identity_signatures",
        Word(&["test-ca", "marked"]),
        "marked: text of that form with the canary, instead of signatures",
    ),
    key("image", Text(rule::IMAGE), "ami-id"),
    key("ancestor_images", Texts(rule::IMAGE), "ancestor-ami-ids"),
    key("launch_index", Number(0, 65_535), "ami-launch-index"),
    key("manifest_path", Text(rule::LINE), "ami-manifest-path"),
    key("type", Text(rule::KIND), "instance-type"),
    key("architecture", Usual(&["x86_64", "arm64"]), "in the identity document"),
    key(
        "life_cycle",
        Usual(&["on-demand", "spot", "scheduled", "capacity-block"]),
        "instance-life-cycle",
    ),
    key(
        "action",
        Usual(&["none", "shutdown", "bundle-pending"]),
        "instance-action",
    ),
    key("system", Usual(&["nitro", "xen-on-nitro"]), "system"),
    key("kernel", Text(rule::KERNEL), "kernel-id"),
    key("ramdisk", Text(rule::RAMDISK), "ramdisk-id"),
    key("product_codes", Texts(rule::LINE), "product-codes"),
    key("billing_products", Texts(rule::LINE), "in the identity document"),
    key("reservation", Text(rule::RESERVATION), "reservation-id"),
    key("security_groups", Texts(rule::LINE), "security-groups"),
    key("monitoring", Flag, "fws/instance-monitoring"),
    key(
        "launched",
        Text(rule::TIME),
        "pendingTime of the identity document; else the start",
    ),
    key("zone", Text(rule::ZONE), "placement/availability-zone"),
    key("zone_id", Text(rule::ZONE_ID), "placement/availability-zone-id"),
    key("hostname", Text(rule::LINE), "hostname"),
    key("vhostmd", Text(rule::TEXT), "metrics/vhostmd"),
    key("placement", Table(PLACEMENT), "where it was put"),
    key("devices", Named(SEGMENT, rule::LINE), "block-device-mapping"),
    key("key", Tables(KEY), "public-keys"),
    key("interface", Tables(INTERFACE), "network/interfaces"),
    key(
        "lifecycle_state",
        Usual(LIFECYCLE_STATES),
        "autoscaling/target-lifecycle-state",
    ),
    key(
        "event",
        Tables(EVENT),
        "maintenance events that are there from the start",
    ),
    key("connect", Table(CONNECT), "managed-ssh-keys, for EC2 Instance Connect"),
    key("container", Table(CONTAINER), "the endpoint for containers"),
    key("timeline", Tables(MOMENT), "what happens later"),
    key("throttle", Table(THROTTLE), "when the service is overloaded"),
    key(
        "switches",
        Table(SWITCHES),
        "what nobody knows for sure of the real service",
    ),
];

const PROFILE_STATES: &[&str] = &["attached", "not-found", "untrusted"];

const PLACEMENT: &[Key] = &[
    key("group", Text(rule::LINE), "placement/group-name"),
    key("host", Text(rule::HOST), "placement/host-id"),
    key("partition", Number(1, 7), "placement/partition-number"),
];

const KEY: &[Key] = &[
    needed("name", Text(rule::LINE), "the name of the key pair"),
    needed("key", Text(rule::LINE), "the public key, as in authorized_keys"),
];

const INTERFACE: &[Key] = &[
    needed("mac", Text(rule::MAC), "its hardware address"),
    key("device_number", Number(0, 255), "device-number"),
    key("network_card", Number(0, 31), "network-card-index"),
    key("id", Text(rule::INTERFACE), "interface-id"),
    key(
        "ipv4",
        Texts(rule::IPV4),
        "local-ipv4s, the primary one first; [] for IPv6 alone",
    ),
    key("ipv4_prefixes", Texts(rule::NETWORK4), "ipv4-prefix"),
    key("ipv6", Texts(rule::IPV6), "ipv6s"),
    key("ipv6_prefixes", Texts(rule::NETWORK6), "ipv6-prefix"),
    key(
        "public",
        Named(rule::IPV4, rule::IPV4),
        "public address = the private one it belongs to",
    ),
    key("public_hostname", Text(rule::LINE), "public-hostname"),
    key("owner", Text(rule::ACCOUNT), "owner-id"),
    key("security_groups", Texts(rule::LINE), "security-groups"),
    key("security_group_ids", Texts(rule::GROUP_ID), "security-group-ids"),
    key("subnet", Text(rule::SUBNET), "subnet-id"),
    key("subnet_ipv4", Text(rule::NETWORK4), "subnet-ipv4-cidr-block"),
    key("subnet_ipv6", Texts(rule::NETWORK6), "subnet-ipv6-cidr-blocks"),
    key("vpc", Text(rule::VPC), "vpc-id"),
    key(
        "vpc_ipv4",
        Texts(rule::NETWORK4),
        "vpc-ipv4-cidr-blocks, the primary one first",
    ),
    key("vpc_ipv6", Texts(rule::NETWORK6), "vpc-ipv6-cidr-blocks"),
];

const EVENT: &[Key] = &[
    key("code", Usual(EVENT_CODES), "what kind of maintenance"),
    key("id", Text(rule::EVENT_ID), "its id"),
    key("description", Text(rule::LINE), "what it is, in words"),
    key("not_before", Text(rule::TIME), "the earliest start; else in two weeks"),
    key(
        "not_after",
        Text(rule::TIME),
        "the latest end; else two hours after the start",
    ),
    key(
        "not_before_deadline",
        Text(rule::TIME),
        "until when the start can be put off",
    ),
    key(
        "state",
        Word(&["active", "completed", "canceled"]),
        "active: events/maintenance/scheduled; else history",
    ),
];

const CONNECT: &[Key] = &[
    needed("signer_cert", Text(rule::TEXT), "the signer's chain, PEM"),
    key(
        "signer_ocsp",
        Named(SEGMENT, rule::TEXT),
        "OCSP answers, by fingerprint",
    ),
    key("active_keys", Named(SEGMENT, rule::TEXT), "signed keys, by user"),
];

const CONTAINER: &[Key] = &[
    needed("path", Text(rule::PATH), "where it is, such as /v1/credentials"),
    key("authorization", Text(rule::LINE), "what Authorization must say"),
];

const MOMENT: &[Key] = &[
    key("after", Number(0, 31_536_000), "seconds after the start"),
    key("at", Text(rule::TIME), "the time, instead"),
    key("rebalance", Flag, "a rebalance recommendation"),
    key(
        "spot",
        Word(&["terminate", "stop", "hibernate"]),
        "a spot interruption notice",
    ),
    key(
        "spot_time",
        Text(rule::TIME),
        "when it is interrupted; else in two minutes",
    ),
    key("calm", Flag, "both notices are gone again"),
    key(
        "lifecycle_state",
        Usual(LIFECYCLE_STATES),
        "autoscaling/target-lifecycle-state",
    ),
    key("event", Table(EVENT), "maintenance is announced"),
    key("complete", Text(rule::LINE), "the event of that id is over"),
    key("cancel", Text(rule::LINE), "the event of that id is called off"),
    key("rotate", Flag, "other credentials from now on"),
    key("tags", Named(rule::TAG_NAME, rule::TAG_VALUE), "the tags are now these"),
    key(
        "profile",
        Text(rule::NAME_OR_NONE),
        "the instance profile is now this; \"\" detaches it",
    ),
    key(
        "role",
        Text(rule::NAME_OR_NONE),
        "the profile's role is now this; else the one of the profile's name",
    ),
    key("profile_state", Word(PROFILE_STATES), "what becomes of the profile"),
    key("http_tokens", Word(&["optional", "required"]), "HttpTokens from now on"),
    key("hop_limit", Number(1, 64), "HttpPutResponseHopLimit from now on"),
    key("endpoint", Word(&["enabled", "disabled"]), "HttpEndpoint from now on"),
    key("ipv6", Flag, "HttpProtocolIpv6 from now on"),
    key(
        "instance_metadata_tags",
        Word(&["enabled", "disabled"]),
        "InstanceMetadataTags from now on",
    ),
];

const THROTTLE: &[Key] = &[
    needed("requests_per_second", Number(1, 1_000_000), "more are throttled"),
    key(
        "burst",
        Number(1, 1_000_000),
        "how many may come at once; else as many as in a second",
    ),
];

const SWITCHES: &[Key] = &[
    key(
        "error_body",
        Word(&["empty", "page"]),
        "the bodies of 400 and 403; default empty",
    ),
    key(
        "overload",
        Word(&["unavailable", "too-many-requests", "reset"]),
        "what a throttled client gets: 503, 429 or a reset; default unavailable",
    ),
    key(
        "listing_without_slash",
        Word(&["listing", "redirect", "empty"]),
        "a listing without its slash; default listing",
    ),
    key(
        "bad_token",
        Word(&["refused", "ignored"]),
        "a token that is not valid where none is needed: 401, or as without; default refused",
    ),
    key(
        "mac_slash",
        Flag,
        "whether macs/ lists addresses with a slash; default true",
    ),
    key(
        "later_versions",
        Texts(rule::VERSION),
        "versions after 2024-04-11; default none",
    ),
    key(
        "tags_off",
        Word(&["absent", "empty"]),
        "tags/instance where tags are off: 404, or 200 with nothing; default absent",
    ),
    key(
        "notices",
        Word(&["line", "lines"]),
        "spot and rebalance notices on one line or over several; default line",
    ),
    key(
        "extended_credentials",
        Flag,
        "whether iam/security-credentials-extended is there; default false",
    ),
    key(
        "network_card",
        Flag,
        "network-card instead of network-card-index, as in older listings; default false",
    ),
];
