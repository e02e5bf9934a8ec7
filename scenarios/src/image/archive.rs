//! An image as configuration over the shared layer, and the archive in which engines take it. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::layer::{Base, digest};

/// The search path that every image sets, as the common base images do.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an author's image says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobImage {
    /// `NAME[:TAG]`, as a pipeline would write it.
    pub name: String,
    /// `ENV`, in order, after `PATH`.
    pub env: Vec<(String, String)>,
    /// `LABEL`.
    pub labels: Vec<(String, String)>,
    /// `ENTRYPOINT`; none where empty.
    pub entrypoint: Vec<String>,
    /// `CMD`; where empty, the probe waits for SIGTERM, so that a service stays up.
    pub cmd: Vec<String>,
    /// `USER`; root where empty.
    pub user: String,
    /// `EXPOSE`, as `80/tcp`.
    pub exposed_ports: Vec<String>,
}

impl JobImage {
    /// An image of this name that sets nothing.
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The name with its tag, `latest` where none is written.
    pub(super) fn tag(&self) -> String {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        if last.contains(':') {
            self.name.clone()
        } else {
            format!("{}:latest", self.name)
        }
    }

    /// The configuration's bytes: their digest is the image's id.
    pub(super) fn configuration(&self, base: &Base) -> Vec<u8> {
        let mut env = vec![PATH.to_owned()];
        env.extend(self.env.iter().map(|(key, value)| format!("{key}={value}")));
        let labels: BTreeMap<&str, &str> = self.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let cmd = if self.cmd.is_empty() {
            vec!["/bin/probe".to_owned(), "idle".to_owned()]
        } else {
            self.cmd.clone()
        };
        let mut config = Map::new();
        config.insert("Cmd".to_owned(), json!(cmd));
        config.insert("Env".to_owned(), json!(env));
        config.insert("Labels".to_owned(), json!(labels));
        if !self.entrypoint.is_empty() {
            config.insert("Entrypoint".to_owned(), json!(self.entrypoint));
        }
        if !self.user.is_empty() {
            config.insert("User".to_owned(), json!(self.user));
        }
        if !self.exposed_ports.is_empty() {
            let ports: Map<String, Value> = self
                .exposed_ports
                .iter()
                .map(|port| (port.clone(), json!({})))
                .collect();
            config.insert("ExposedPorts".to_owned(), Value::Object(ports));
        }
        json!({
            "architecture": architecture(),
            "config": config,
            "created": "1970-01-01T00:00:00Z",
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "probe"}],
            "os": "linux",
            "rootfs": {"diff_ids": [base.diff_id()], "type": "layers"},
        })
        .to_string()
        .into_bytes()
    }

    /// The id that every engine gives this image: the digest of its configuration.
    pub fn id(&self, base: &Base) -> String {
        digest(&self.configuration(base))
    }

    /// What `docker load` takes; without the layer where the engine has it already.
    pub(super) fn archive(&self, base: &Base, with_layer: bool) -> std::io::Result<Vec<u8>> {
        let configuration = self.configuration(base);
        let id = digest(&configuration);
        let config_name = format!("{}.json", id.trim_start_matches("sha256:"));
        let layer_name = format!("{}/layer.tar", base.diff_id().trim_start_matches("sha256:"));
        let manifest = json!([{"Config": config_name, "RepoTags": [self.tag()], "Layers": [layer_name]}]).to_string();
        let mut archive = tar::Builder::new(Vec::new());
        let mut append = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            archive.append_data(&mut header, name, bytes)
        };
        append("manifest.json", manifest.as_bytes())?;
        append(&config_name, &configuration)?;
        if with_layer {
            append(&layer_name, base.layer())?;
        }
        archive.into_inner()
    }
}

/// The engine's word for this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::layer::File;

    fn base() -> Base {
        Base::pack(vec![File::program("bin/probe", b"probe".to_vec())]).unwrap()
    }

    #[test]
    fn equal_files_give_an_equal_layer_in_any_order() {
        let one = File::program("bin/a", vec![1]);
        let other = File::link("b", "/bin/a");
        let forth = Base::pack(vec![one.clone(), other.clone()]).unwrap();
        let back = Base::pack(vec![other, one]).unwrap();
        assert_eq!(forth.diff_id(), back.diff_id());
    }

    #[test]
    fn the_configuration_says_what_the_image_says() {
        let mut image = JobImage::plain("group/app:1");
        image.env.push(("IAM_ROLE".to_owned(), "from-image".to_owned()));
        image.labels.push(("iam.role".to_owned(), "admin".to_owned()));
        image.exposed_ports.push("80/tcp".to_owned());
        let configuration: Value = serde_json::from_slice(&image.configuration(&base())).unwrap();
        insta::assert_snapshot!(configuration.get("config").unwrap(), @r#"{"Cmd":["/bin/probe","idle"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","IAM_ROLE=from-image"],"ExposedPorts":{"80/tcp":{}},"Labels":{"iam.role":"admin"}}"#);
    }

    #[test]
    fn images_that_differ_in_a_label_differ_in_id() {
        let mut labelled = JobImage::plain("a");
        labelled.labels.push(("k".to_owned(), "v".to_owned()));
        assert_ne!(labelled.id(&base()), JobImage::plain("a").id(&base()));
    }

    #[test]
    fn a_name_without_tag_means_latest() {
        assert_eq!(JobImage::plain("localhost:5000/app").tag(), "localhost:5000/app:latest");
        assert_eq!(JobImage::plain("app:1").tag(), "app:1");
    }
}
