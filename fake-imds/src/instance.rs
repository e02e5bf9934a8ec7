//! What one instance has in its metadata tree, and since which version. It must not know how the tree is served.

use fake_kit::seed::{Canaries, Seed};
use jiff::Timestamp;

use crate::credentials::{Kind, object, seconds};
use crate::document;
use crate::tree::{Leaf, Tree};
use crate::version::Version;
use crate::world::World;

/// Facts of the instance that the world does not name.
#[derive(Debug, Clone)]
pub struct Facts {
    pub(crate) availability_zone: String,
    pub(crate) image_id: String,
    pub(crate) instance_type: String,
    pub(crate) private_ip: String,
    mac: String,
}

/// What every instance of a role has, whatever the version: captured paths carry the release of their category (AWS documentation).
const FIRST: Version = Version::FIRST;

impl Facts {
    /// The facts of an instance of that world.
    pub fn of(world: &World) -> Self {
        Self {
            availability_zone: format!("{}a", world.region),
            image_id: "ami-0b7937aeb16a7eb94".to_owned(),
            instance_type: "m5.large".to_owned(),
            private_ip: "172.31.22.10".to_owned(),
            mac: "06:1d:9a:5b:3c:7e".to_owned(),
        }
    }
}

/// The tree of the world's instance, with a canary in everything that a job must not see.
pub fn tree(world: &World, seed: &Seed, canaries: &Canaries, started: Timestamp) -> Tree {
    let facts = Facts::of(world);
    let mut tree = Tree::default();
    basics(&mut tree, world, &facts);
    placement(&mut tree, world, &facts);
    iam(&mut tree, world, canaries, started);
    network(&mut tree, world, &facts);
    let key = canaries.plant("public-key");
    let body = seed.base64("public-key", 0, 300);
    tree.text(
        FIRST,
        "meta-data/public-keys/0/openssh-key",
        format!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ{body} lab-{key}\n"),
    );
    tree.show("meta-data/public-keys/0", format!("0=lab-{key}"));
    let tag = canaries.plant("tags");
    let since = Version::since("2021-03-23");
    for (name, value) in &world.tags {
        tree.text(since, format!("meta-data/tags/instance/{name}"), value.as_str());
    }
    tree.text(since, "meta-data/tags/instance/lab:canary", tag.as_str());
    dynamic(&mut tree, world, &facts, seed, canaries, started);
    if let Some(data) = &world.user_data {
        let canary = canaries.plant("user-data");
        let newline = if data.ends_with('\n') { "" } else { "\n" };
        let text = format!("{data}{newline}# canary: {canary}\n");
        tree.put(FIRST, "user-data", Leaf::UserData(text.into()));
    }
    tree
}

fn basics(tree: &mut Tree, world: &World, facts: &Facts) {
    let hostname = hostname(world, facts);
    for (path, text) in [
        ("ami-id", facts.image_id.as_str()),
        ("ami-launch-index", "0"),
        ("ami-manifest-path", "(unknown)"),
        ("hostname", &hostname),
        ("instance-id", &world.instance_id),
        ("instance-type", &facts.instance_type),
        ("local-hostname", &hostname),
        ("local-ipv4", &facts.private_ip),
        ("mac", &facts.mac),
        ("profile", "default-hvm"),
        ("reservation-id", "r-0f1e2d3c4b5a69788"),
        ("security-groups", "lab-runners"),
    ] {
        tree.text(FIRST, format!("meta-data/{path}"), text);
    }
    let device = Version::since("2007-12-15");
    tree.text(device, "meta-data/block-device-mapping/ami", "/dev/xvda");
    tree.text(device, "meta-data/block-device-mapping/root", "/dev/xvda");
    tree.text(Version::since("2008-09-01"), "meta-data/instance-action", "none");
    tree.text(
        Version::since("2019-10-01"),
        "meta-data/instance-life-cycle",
        "on-demand",
    );
    tree.text(Version::since("2022-09-24"), "meta-data/system", "nitro");
    let events = Version::since("2018-08-17");
    tree.text(events, "meta-data/events/maintenance/history", "[]");
    tree.text(events, "meta-data/events/maintenance/scheduled", "[]");
    let services = Version::since("2014-02-25");
    tree.text(services, "meta-data/services/domain", world.domain());
    tree.text(services, "meta-data/services/partition", world.partition.as_str());
}

fn hostname(world: &World, facts: &Facts) -> String {
    let address = facts.private_ip.replace('.', "-");
    if world.region == "us-east-1" {
        format!("ip-{address}.ec2.internal")
    } else {
        format!("ip-{address}.{}.compute.internal", world.region)
    }
}

fn placement(tree: &mut Tree, world: &World, facts: &Facts) {
    tree.text(
        FIRST,
        "meta-data/placement/availability-zone",
        facts.availability_zone.as_str(),
    );
    let since = Version::since("2019-10-01");
    tree.text(
        since,
        "meta-data/placement/availability-zone-id",
        format!("{}-az1", short_region(&world.region)),
    );
    tree.text(since, "meta-data/placement/region", world.region.as_str());
}

/// `eu-central-1` is `euc1` in zone ids, `ap-southeast-2` is `apse2`.
fn short_region(region: &str) -> String {
    let short = region
        .replace("north", "n")
        .replace("south", "s")
        .replace("east", "e")
        .replace("west", "w");
    short.replace("central", "c").replace('-', "")
}

fn iam(tree: &mut Tree, world: &World, canaries: &Canaries, started: Timestamp) {
    // Without a profile the whole category is absent (a client is answered 404).
    if !world.role.is_empty() {
        profile(tree, world, canaries, started);
    }
    let since = Version::since("2018-05-23");
    let info = object([
        ("Code", "Success".into()),
        ("LastUpdated", seconds(started).into()),
        ("AccountId", world.account_id.as_str().into()),
    ]);
    tree.text(since, "meta-data/identity-credentials/ec2/info", info);
    tree.put(
        since,
        "meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
        Leaf::Credentials(Kind::Identity),
    );
}

fn profile(tree: &mut Tree, world: &World, canaries: &Canaries, started: Timestamp) {
    let since = Version::since("2012-01-12");
    let canary = canaries.plant("host-iam-info");
    // The id of an instance profile is AIPA and 17 characters of the canary's alphabet.
    let info = object([
        ("Code", "Success".into()),
        ("LastUpdated", seconds(started).into()),
        (
            "InstanceProfileArn",
            format!(
                "arn:{}:iam::{}:instance-profile/{}",
                world.partition, world.account_id, world.profile
            )
            .into(),
        ),
        ("InstanceProfileId", format!("AIPA{canary}X").into()),
    ]);
    tree.text(since, "meta-data/iam/info", info);
    tree.put(
        since,
        format!("meta-data/iam/security-credentials/{}", world.role),
        Leaf::Credentials(Kind::Role),
    );
}

fn network(tree: &mut Tree, world: &World, facts: &Facts) {
    let since = Version::since("2011-01-01");
    for (name, value) in [
        ("device-number", "0"),
        ("interface-id", "eni-0a1b2c3d4e5f60718"),
        ("local-hostname", &hostname(world, facts)),
        ("local-ipv4s", &facts.private_ip),
        ("mac", &facts.mac),
        ("owner-id", &world.account_id),
        ("security-group-ids", "sg-0123456789abcdef0"),
        ("security-groups", "lab-runners"),
        ("subnet-id", "subnet-0fedcba9876543210"),
        ("subnet-ipv4-cidr-block", "172.31.16.0/20"),
        ("vpc-id", "vpc-00112233445566778"),
        ("vpc-ipv4-cidr-block", "172.31.0.0/16"),
        ("vpc-ipv4-cidr-blocks", "172.31.0.0/16"),
    ] {
        tree.text(
            since,
            format!("meta-data/network/interfaces/macs/{}/{name}", facts.mac),
            value,
        );
    }
}

fn dynamic(tree: &mut Tree, world: &World, facts: &Facts, seed: &Seed, canaries: &Canaries, started: Timestamp) {
    let canary = canaries.plant("identity-document");
    let since = Version::since("2009-04-04");
    tree.text(since, "dynamic/fws/instance-monitoring", "disabled");
    tree.text(
        since,
        "dynamic/instance-identity/document",
        document::identity(world, facts, &canary, started),
    );
    for name in ["dsa2048", "pkcs7", "rsa2048", "signature"] {
        let text = document::signature(seed, name, &canary);
        tree.text(since, format!("dynamic/instance-identity/{name}"), text);
    }
    // The document names it as a Marketplace product code, so the instance has it as one.
    tree.text(Version::since("2007-03-01"), "meta-data/product-codes", canary.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_ids_use_the_short_region() {
        for (region, short) in [
            ("eu-central-1", "euc1"),
            ("us-east-1", "use1"),
            ("ap-southeast-2", "apse2"),
            ("us-gov-west-1", "usgovw1"),
        ] {
            assert_eq!(short_region(region), short);
        }
    }

    #[test]
    fn every_canary_but_the_issued_ones_stands_in_the_tree() {
        let canaries = Canaries::new(Seed::default());
        let tree = tree(&World::default(), &Seed::default(), &canaries, Timestamp::UNIX_EPOCH);
        let all: String = tree
            .paths()
            .map(|path| format!("{:?}\n", tree.find(Version::LATEST, path)))
            .collect();
        let names: Vec<String> = canaries.all().into_keys().collect();
        assert_eq!(
            names,
            ["host-iam-info", "identity-document", "public-key", "tags", "user-data"]
        );
        for (name, canary) in canaries.all() {
            assert!(all.contains(canary.as_str()), "{name}");
        }
    }
}
