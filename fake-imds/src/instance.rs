//! What one instance has in its metadata tree, and since which version. It must not know how the tree is served.

mod network;
mod notice;
#[cfg(test)]
mod tests;

use fake_kit::seed::{Canaries, Canary, Seed};
use jiff::Timestamp;
use serde_json::Value;

use crate::credentials::{Kind, object, seconds};
use crate::identity::{Form, Identity};
use crate::timeline::State;
use crate::tree::{Leaf, Tree};
use crate::version::Version;
use crate::world::{ProfileState, World};

/// What every instance of a role has, whatever the version: the others carry the release of their category (AWS documentation).
const FIRST: Version = Version::FIRST;

/// Where markers are planted; those of further instances have the instance in their name.
#[derive(Debug, Clone)]
pub struct Marker {
    canaries: Canaries,
    instance: Option<String>,
    on: bool,
}

impl Marker {
    /// The marker of the world's instance, which is the `number`th.
    pub fn of(canaries: &Canaries, world: &World, number: usize) -> Self {
        Self {
            canaries: canaries.clone(),
            instance: (number > 0).then(|| world.instance.id.clone()),
            on: world.instance.canaries,
        }
    }

    /// The canary of that name, whether the instance shows any or not.
    pub fn plant(&self, name: &str) -> Canary {
        match &self.instance {
            Some(instance) => self.canaries.plant(&format!("{name}@{instance}")),
            None => self.canaries.plant(name),
        }
    }

    /// The canary of that name, if the instance shows any.
    pub fn show(&self, name: &str) -> Option<Canary> {
        self.on.then(|| self.plant(name))
    }
}

/// What a tree is made of.
#[derive(Debug)]
struct Growing<'a> {
    tree: Tree,
    world: &'a World,
    state: &'a State,
    marker: &'a Marker,
    seed: &'a Seed,
    launched: Timestamp,
}

/// The tree of the world's instance in that state, with a canary in everything that a job must not see.
pub fn tree(
    world: &World,
    state: &State,
    seed: &Seed,
    marker: &Marker,
    identity: &Identity,
    launched: Timestamp,
) -> Tree {
    let mut growing = Growing {
        tree: Tree::default(),
        world,
        state,
        marker,
        seed,
        launched,
    };
    growing.basics();
    growing.placement();
    growing.iam();
    growing.keys();
    growing.tags();
    growing.network();
    growing.notices();
    growing.dynamic(identity);
    growing.user_data();
    growing.tree
}

impl Growing<'_> {
    fn text(&mut self, since: &str, path: &str, text: impl Into<String>) {
        let since = if since == "1.0" { FIRST } else { Version::since(since) };
        self.tree.text(since, format!("meta-data/{path}"), text);
    }

    /// Several values, one a line; nothing where there is none.
    fn lines(&mut self, since: &str, path: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.text(since, path, lines.join("\n"));
        }
    }

    fn basics(&mut self) {
        let (world, instance) = (self.world, &self.world.instance);
        let hostname = world.hostname();
        for (since, path, text) in [
            ("1.0", "ami-id", instance.image.as_str()),
            ("1.0", "ami-launch-index", &instance.launch_index.to_string()),
            ("1.0", "ami-manifest-path", &instance.manifest_path),
            ("1.0", "hostname", &hostname),
            ("1.0", "instance-id", &instance.id),
            ("2007-08-29", "instance-type", &instance.kind),
            ("2007-01-19", "local-hostname", &hostname),
            ("1.0", "profile", "default-hvm"),
            ("1.0", "reservation-id", &instance.reservation),
            ("2008-09-01", "instance-action", &instance.action),
            ("2019-10-01", "instance-life-cycle", &instance.life_cycle),
            ("2022-09-24", "system", &instance.system),
            ("2014-02-25", "services/domain", world.domain()),
            ("2015-10-20", "services/partition", &world.account.partition),
        ] {
            self.text(since, path, text);
        }
        self.lines("1.0", "security-groups", &instance.security_groups);
        self.lines("2007-10-10", "ancestor-ami-ids", &instance.ancestor_images);
        for (since, path, text) in [
            ("2008-02-01", "kernel-id", &instance.kernel),
            ("2007-10-10", "ramdisk-id", &instance.ramdisk),
            ("2011-05-01", "metrics/vhostmd", &instance.vhostmd),
        ] {
            if let Some(text) = text {
                self.text(since, path, text.as_str());
            }
        }
        for (name, device) in &instance.devices {
            self.text("2007-12-15", &format!("block-device-mapping/{name}"), device.as_str());
        }
        // The identity document names the canary as a Marketplace product code, so the instance has it as one.
        let mut codes = instance.product_codes.clone();
        codes.extend(self.marker.show("identity-document").map(|canary| canary.to_string()));
        self.lines("2007-03-01", "product-codes", &codes);
    }

    fn placement(&mut self) {
        let placement = &self.world.instance.placement;
        self.text("2008-02-01", "placement/availability-zone", self.world.zone());
        self.text("2019-10-01", "placement/availability-zone-id", self.world.zone_id());
        self.text("2020-08-24", "placement/region", self.world.account.region.as_str());
        for (name, value) in [
            ("group-name", placement.group.clone()),
            ("host-id", placement.host.clone()),
            ("partition-number", placement.partition.map(|number| number.to_string())),
        ] {
            if let Some(value) = value {
                self.text("2020-08-24", &format!("placement/{name}"), value);
            }
        }
    }

    fn iam(&mut self) {
        // Without a profile the whole category is absent (a client is answered 404).
        if !self.state.attachment.role.is_empty() {
            self.profile();
        }
        let info = object([
            ("Code", "Success".into()),
            ("LastUpdated", seconds(self.launched).into()),
            ("AccountId", self.world.account.id.as_str().into()),
        ]);
        self.text("2018-05-23", "identity-credentials/ec2/info", info);
        self.tree.put(
            Version::since("2018-05-23"),
            "meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
            Leaf::Credentials(Kind::Identity),
        );
    }

    fn profile(&mut self) {
        let (account, instance) = (&self.world.account, &self.world.instance);
        let attachment = &self.state.attachment;
        let since = Version::since("2012-01-12");
        // The id of an instance profile is AIPA and 17 characters of the canary's alphabet.
        let id = match self.marker.show("host-iam-info") {
            Some(canary) if attachment.profile == instance.profile => format!("AIPA{canary}X"),
            // Another profile has another id, and the marker is still in it.
            Some(canary) => format!("AIPA{canary}{}", self.seed.base32(&attachment.profile, 0, 1)),
            None => format!("AIPA{}", self.seed.base32("instance-profile", 0, 17)),
        };
        let at = seconds(attachment.since.unwrap_or(self.launched));
        if attachment.state == ProfileState::NotFound {
            let message = format!(
                "Instance Profile with Id {id} cannot be found.  Please see documentation at \
                 https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html."
            );
            let info = object([
                ("Code", "InstanceProfileNotFound".into()),
                ("Message", message.into()),
                ("LastUpdated", at.into()),
            ]);
            return self.text("2012-01-12", "iam/info", info);
        }
        let arn = format!(
            "arn:{}:iam::{}:instance-profile/{}",
            account.partition, account.id, attachment.profile
        );
        let info: [(&str, Value); 4] = [
            ("Code", "Success".into()),
            ("LastUpdated", at.into()),
            ("InstanceProfileArn", arn.into()),
            ("InstanceProfileId", id.into()),
        ];
        self.text("2012-01-12", "iam/info", object(info));
        let role = &attachment.role;
        let path = format!("meta-data/iam/security-credentials/{role}");
        self.tree.put(since, path, Leaf::Credentials(Kind::Role));
        if instance.switches.extended_credentials {
            let path = format!("meta-data/iam/security-credentials-extended/{role}");
            self.tree.put(since, path, Leaf::Extended);
        }
    }

    fn keys(&mut self) {
        let instance = &self.world.instance;
        if instance.keys.is_empty()
            && let Some(canary) = self.marker.show("public-key")
        {
            let body = self.seed.base64("public-key", 0, 300);
            let key = format!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ{body} lab-{canary}\n");
            self.text("1.0", "public-keys/0/openssh-key", key);
            self.tree.show("meta-data/public-keys/0", format!("0=lab-{canary}"));
        }
        for (number, key) in instance.keys.iter().enumerate() {
            self.text(
                "1.0",
                &format!("public-keys/{number}/openssh-key"),
                format!("{}\n", key.key),
            );
            let (path, name) = (
                format!("meta-data/public-keys/{number}"),
                format!("{number}={}", key.name),
            );
            self.tree.show(path, name);
        }
        let Some(connect) = &instance.connect else { return };
        self.text("1.0", "managed-ssh-keys/signer-cert", connect.signer_cert.as_str());
        for (folder, entries) in [
            ("signer-ocsp", &connect.signer_ocsp),
            ("active-keys", &connect.active_keys),
        ] {
            for (name, text) in entries {
                self.text("1.0", &format!("managed-ssh-keys/{folder}/{name}"), text.as_str());
            }
        }
    }

    fn tags(&mut self) {
        let state = self.state;
        for (name, value) in &state.tags {
            self.text("2021-03-23", &format!("tags/instance/{name}"), value.as_str());
        }
        if let Some(canary) = self.marker.show("tags") {
            self.text("2021-03-23", "tags/instance/lab:canary", canary.as_str());
        }
    }

    fn dynamic(&mut self, identity: &Identity) {
        let since = Version::since("2009-04-04");
        let monitoring = if self.world.instance.monitoring {
            "enabled"
        } else {
            "disabled"
        };
        self.tree.text(since, "dynamic/fws/instance-monitoring", monitoring);
        let document = "dynamic/instance-identity/document";
        self.tree.text(since, document, identity.document());
        for form in Form::ALL {
            let path = format!("dynamic/instance-identity/{}", form.name());
            self.tree.put(since, path, Leaf::Signature(form));
        }
    }

    fn user_data(&mut self) {
        let Some(mut data) = self.world.instance.user_data_bytes() else {
            return;
        };
        if let Some(canary) = self.marker.show("user-data") {
            // What is no text is left as it is: it may be compressed.
            if std::str::from_utf8(&data).is_ok() {
                let newline = if data.ends_with(b"\n") { "" } else { "\n" };
                data.extend(format!("{newline}# canary: {canary}\n").into_bytes());
            }
        }
        self.tree.put(FIRST, "user-data", Leaf::UserData(data.into()));
    }
}
