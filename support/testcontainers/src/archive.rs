//! An image of one layer, as engines take it from `docker load`. Pure: equal files give equal bytes, so an image's id says what is in it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// Without a leading slash.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// An image that was made here.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalImage {
    name: String,
    files: Vec<File>,
    entrypoint: Vec<String>,
}

impl std::fmt::Debug for LocalImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        f.debug_struct("LocalImage")
            .field("name", &self.name)
            .field("files", &paths)
            .field("entrypoint", &self.entrypoint)
            .finish()
    }
}

impl LocalImage {
    /// An image `NAME:TAG` of these files.
    pub fn new(name: &str, tag: &str, files: impl IntoIterator<Item = File>, entrypoint: &[&str]) -> Self {
        // A path stands once, whatever comes first.
        let mut taken = BTreeSet::new();
        let mut files: Vec<File> = files
            .into_iter()
            .filter(|file| taken.insert(file.path.clone()))
            .collect();
        files.sort();
        Self {
            name: format!("{name}:{tag}"),
            files,
            entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    /// `NAME:TAG`
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `docker load` takes.
    ///
    /// # Errors
    /// When it cannot be written; memory is the only thing it is written to.
    pub fn archive(&self) -> std::io::Result<Vec<u8>> {
        let layer = self.layer()?;
        let diff_id = format!("sha256:{}", digest(&layer));
        let configuration = json!({
            "architecture": architecture(),
            "config": {"Entrypoint": self.entrypoint, "Env": ["PATH=/bin"]},
            "created": "1970-01-01T00:00:00Z",
            "os": "linux",
            "rootfs": {"diff_ids": [diff_id], "type": "layers"},
        })
        .to_string();
        let configuration_name = format!("{}.json", digest(configuration.as_bytes()));
        let manifest = json!([{"Config": configuration_name, "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in [
            ("manifest.json", manifest.to_string().as_bytes()),
            (&configuration_name, configuration.as_bytes()),
            ("layer.tar", &layer),
        ] {
            append(&mut archive, name, bytes, 0o644)?;
        }
        archive.into_inner()
    }

    fn layer(&self) -> std::io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut directories = BTreeSet::new();
        for file in &self.files {
            let ancestors: Vec<&Path> = Path::new(&file.path).ancestors().skip(1).collect();
            for directory in ancestors.into_iter().rev() {
                if !directory.as_os_str().is_empty() && directories.insert(directory) {
                    let mut header = header(0, 0o755);
                    header.set_entry_type(tar::EntryType::Directory);
                    archive.append_data(&mut header, directory, std::io::empty())?;
                }
            }
            append(&mut archive, &file.path, &file.bytes, file.mode)?;
        }
        archive.into_inner()
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    archive.append_data(&mut header(bytes.len(), mode), name, bytes)
}

/// No time and no owner but root.
fn header(size: usize, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(u64::try_from(size).unwrap_or(u64::MAX));
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
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

    fn file(path: &str, content: &str) -> File {
        File {
            path: path.to_owned(),
            bytes: content.as_bytes().to_vec(),
            mode: 0o755,
        }
    }

    fn image(files: &[File]) -> LocalImage {
        LocalImage::new("a/b", "1", files.to_vec(), &["/bin/x"])
    }

    #[test]
    fn equal_files_give_equal_bytes_in_any_order() {
        let (one, other) = (file("bin/x", "1"), file("lib/y", "2"));
        let forth = image(&[one.clone(), other.clone(), one.clone()]);
        assert_eq!(forth.archive().unwrap(), image(&[other, one]).archive().unwrap());
    }

    #[test]
    fn the_archive_names_image_configuration_and_layer() {
        let bytes = image(&[file("bin/x", "1")]).archive().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names.len(), 3);
        assert_eq!((names[0].as_str(), names[2].as_str()), ("manifest.json", "layer.tar"));
        assert_eq!(names[1].len(), 64 + ".json".len());
    }
}
