//! What amazon-ec2-metadata-mock 1.13 serves when nothing is configured: its keys, their paths, and their values.

/// A value of a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    /// Text.
    Text(&'static str),
    /// A JSON object with these fields, in this order; an empty text is null.
    Document(&'static [(&'static str, &'static str)]),
}
use Value::{Document, Text};

/// The address that stands in paths until `mac` says another.
pub(super) const MAC: &str = "0e:49:61:0f:c3:11";
/// The public address that stands in a path until `mac-ipv4-associations` says another.
pub(super) const ASSOCIATED: &str = "192.0.2.54";
/// The role that stands in a path until `iam-security-credentials-role` says another.
pub(super) const ROLE: &str = "baskinc-role";
/// Its tags.
pub(super) const TAGS: [(&str, &str); 2] = [("Name", "test-instance"), ("Test", "test-tag")];
/// Its user data, in base64 as its configuration has it.
pub(super) const USER_DATA: &str = "MTIzNCxqb2huLHJlYm9vdCx0cnVlCg==";
/// The id of its one maintenance event.
pub(super) const EVENT_ID: &str = "instance-event-1234567890abcdef0";

/// Keys of `metadata`, and their paths below `/latest/meta-data/`.
pub(super) const METADATA: &[(&str, &str, Value)] = &[
    ("ami-id", "ami-id", Text("ami-0a887e401f7654935")),
    ("ami-launch-index", "ami-launch-index", Text("0")),
    ("ami-manifest-path", "ami-manifest-path", Text("(unknown)")),
    (
        "block-device-mapping-ami",
        "block-device-mapping/ami",
        Text("/dev/xvda"),
    ),
    ("block-device-mapping-ebs", "block-device-mapping/ebs0", Text("sdb")),
    (
        "block-device-mapping-ephemeral",
        "block-device-mapping/ephemeral0",
        Text("sdb"),
    ),
    (
        "block-device-mapping-root",
        "block-device-mapping/root",
        Text("/dev/xvda"),
    ),
    ("block-device-mapping-swap", "block-device-mapping/swap", Text("sdcs")),
    (
        "elastic-inference-accelerator",
        "elastic-inference/associations/eia-bfa21c7904f64a82a21b9f4540169ce1",
        Text(
            r#"{"version_2018_04_12":{"elastic-inference-accelerator-id":"eia-bfa21c7904f64a82a21b9f4540169ce1","elastic-inference-accelerator-type":"eia1.medium"}}"#,
        ),
    ),
    ("hostname", "hostname", Text("ip-172-16-34-43.ec2.internal")),
    (
        "iam-info",
        "iam/info",
        Document(&[
            ("Code", "Success"),
            ("LastUpdated", "2020-04-02T18:50:40Z"),
            (
                "InstanceProfileArn",
                "arn:aws:iam::896453262835:instance-profile/baskinc-role",
            ),
            ("InstanceProfileId", "AIPA5BOGHHXZELSK34VU4"),
        ]),
    ),
    (
        "iam-security-credentials",
        "iam/security-credentials/baskinc-role",
        Document(&[
            ("Code", "Success"),
            ("LastUpdated", "2020-04-02T18:50:40Z"),
            ("Type", "AWS-HMAC"),
            ("AccessKeyId", "12345678901"),
            ("SecretAccessKey", "v/12345678901"),
            (
                "Token",
                "TEST92test48TEST+y6RpoTEST92test48TEST/8oWVAiBqTEsT5Ky7ty2tEStxC1T==",
            ),
            ("Expiration", "2020-04-02T00:49:51Z"),
        ]),
    ),
    ("instance-action", "instance-action", Text("none")),
    ("instance-id", "instance-id", Text("i-1234567890abcdef0")),
    ("instance-life-cycle", "instance-life-cycle", Text("on-demand")),
    ("instance-type", "instance-type", Text("m4.xlarge")),
    ("kernel-id", "kernel-id", Text("aki-5c21674b")),
    ("local-hostname", "local-hostname", Text("ip-172-16-34-43.ec2.internal")),
    ("local-ipv4", "local-ipv4", Text("172.16.34.43")),
    ("mac", "mac", Text(MAC)),
    (
        "mac-device-number",
        "network/interfaces/macs/0e:49:61:0f:c3:11/device-number",
        Text("0"),
    ),
    (
        "mac-ipv4-associations",
        "network/interfaces/macs/0e:49:61:0f:c3:11/ipv4-associations/192.0.2.54",
        Text(ASSOCIATED),
    ),
    (
        "mac-ipv6-associations",
        "network/interfaces/macs/0e:49:61:0f:c3:11/ipv6s",
        Text("2001:db8:8:4::2"),
    ),
    (
        "mac-local-hostname",
        "network/interfaces/macs/0e:49:61:0f:c3:11/local-hostname",
        Text("ip-172-16-34-43.ec2.internal"),
    ),
    (
        "mac-local-ipv4s",
        "network/interfaces/macs/0e:49:61:0f:c3:11/local-ipv4s",
        Text("172.16.34.43"),
    ),
    ("mac-mac", "network/interfaces/macs/0e:49:61:0f:c3:11/mac", Text(MAC)),
    (
        "mac-network-interface-id",
        "network/interfaces/macs/0e:49:61:0f:c3:11/interface-id",
        Text("eni-0f95d3625f5c521cc"),
    ),
    (
        "mac-network-interface-card-index",
        "network/interfaces/macs/0e:49:61:0f:c3:11/network-card-index",
        Text("0"),
    ),
    (
        "mac-owner-id",
        "network/interfaces/macs/0e:49:61:0f:c3:11/owner-id",
        Text("515336597381"),
    ),
    (
        "mac-public-hostname",
        "network/interfaces/macs/0e:49:61:0f:c3:11/public-hostname",
        Text("ec2-192-0-2-54.compute-1.amazonaws.com"),
    ),
    (
        "mac-public-ipv4s",
        "network/interfaces/macs/0e:49:61:0f:c3:11/public-ipv4s",
        Text("192.0.2.54"),
    ),
    (
        "mac-security-group-ids",
        "network/interfaces/macs/0e:49:61:0f:c3:11/security-group-ids",
        Text("sg-0b07f8f6cb485d4df"),
    ),
    (
        "mac-security-groups",
        "network/interfaces/macs/0e:49:61:0f:c3:11/security-groups",
        Text("ura-launch-wizard-harry-1"),
    ),
    (
        "mac-subnet-id",
        "network/interfaces/macs/0e:49:61:0f:c3:11/subnet-id",
        Text("subnet-0ac62554"),
    ),
    (
        "mac-subnet-ipv4-cidr-block",
        "network/interfaces/macs/0e:49:61:0f:c3:11/subnet-ipv4-cidr-block",
        Text("192.0.2.0/24"),
    ),
    (
        "mac-subnet-ipv6-cidr-blocks",
        "network/interfaces/macs/0e:49:61:0f:c3:11/subnet-ipv6-cidr-blocks",
        Text("2001:db8::/32"),
    ),
    (
        "mac-vpc-id",
        "network/interfaces/macs/0e:49:61:0f:c3:11/vpc-id",
        Text("vpc-d295a6a7"),
    ),
    (
        "mac-vpc-ipv4-cidr-block",
        "network/interfaces/macs/0e:49:61:0f:c3:11/vpc-ipv4-cidr-block",
        Text("192.0.2.0/24"),
    ),
    (
        "mac-vpc-ipv4-cidr-blocks",
        "network/interfaces/macs/0e:49:61:0f:c3:11/vpc-ipv4-cidr-blocks",
        Text("192.0.2.0/24"),
    ),
    (
        "mac-vpc-ipv6-cidr-blocks",
        "network/interfaces/macs/0e:49:61:0f:c3:11/vpc-ipv6-cidr-blocks",
        Text("2001:db8::/32"),
    ),
    (
        "placement-availability-zone",
        "placement/availability-zone",
        Text("us-east-1a"),
    ),
    (
        "placement-availability-zone-id",
        "placement/availability-zone-id",
        Text("use1-az4"),
    ),
    (
        "placement-group-name",
        "placement/group-name",
        Text("a-placement-group"),
    ),
    ("placement-host-id", "placement/host-id", Text("h-0da999999f9999fb9")),
    ("placement-partition-number", "placement/partition-number", Text("1")),
    ("placement-region", "placement/region", Text("us-east-1")),
    ("product-codes", "product-codes", Text("3iplms73etrdhxdepv72l6ywj")),
    (
        "public-hostname",
        "public-hostname",
        Text("ec2-192-0-2-54.compute-1.amazonaws.com"),
    ),
    ("public-ipv4", "public-ipv4", Text("192.0.2.54")),
    (
        "public-key",
        "public-keys/0/openssh-key",
        Text(
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC/JxGByvHDHgQAU+0nRFWdvMPi22OgNUn9ansrI8QN1ZJGxD1ML8DRnJ3Q3zFKqqjGucfNWW0xpVib+ttkIBp8G9P/EOcX9C3FF63O3SnnIUHJsp5faRAZsTJPx0G5HUbvhBvnAcCtSqQgmr02c1l582vAWx48pOmeXXMkl9qe9V/s7K3utmeZkRLo9DqnbsDlg5GWxLC/rWKYaZR66CnMEyZ7yBy3v3abKaGGRovLkHNAgWjSSgmUTI1nT5/S2OLxxuDnsC7+BiABLPaqlIE70SzcWZ0swx68Bo2AY9T9ymGqeAM/1T4yRtg0sPB98TpT7WrY5A3iia2UVtLO/xcTt test",
        ),
    ),
    ("ramdisk-id", "ramdisk-id", Text("ari-01bb5768")),
    ("reservation-id", "reservation-id", Text("r-046cb3eca3e201d2f")),
    ("security-groups", "security-groups", Text("ura-launch-wizard-harry-1")),
    ("services-domain", "services/domain", Text("amazonaws.com")),
    ("services-partition", "services/partition", Text("aws")),
];

/// Keys of `dynamic`, and their paths below `/latest/dynamic/`. Its signatures are of nothing, as its own are.
pub(super) const DYNAMIC: &[(&str, &str, Value)] = &[
    (
        "instance-identity-document",
        "instance-identity/document",
        Document(&[
            ("accountId", "0123456789"),
            ("imageId", "ami-0b69ea66ff7391e80"),
            ("availabilityZone", "us-east-1f"),
            ("ramdiskId", ""),
            ("kernelId", ""),
            ("devpayProductCodes", ""),
            ("marketplaceProductCodes", ""),
            ("version", "2017-09-30"),
            ("privateIp", "10.0.7.10"),
            ("billingProducts", ""),
            ("instanceId", "i-1234567890abcdef0"),
            ("pendingTime", "2019-10-31T07:02:24Z"),
            ("architecture", "x86_64"),
            ("instanceType", "m4.xlarge"),
            ("region", "us-east-1"),
        ]),
    ),
    (
        "instance-identity-pkcs",
        "instance-identity/pkcs7",
        Text("TESTCSqGSIb3DQEHZqCZPIZCZQExCzZJ"),
    ),
    (
        "instance-identity-signature",
        "instance-identity/signature",
        Text("TesTTKmBbj+DUw6ut6BOr4mFGpax/k6B"),
    ),
    ("fws-instance-monitoring", "fws/instance-monitoring", Text("disabled")),
];
