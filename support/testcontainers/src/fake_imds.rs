//! The instance metadata service as a container. It must not know what is in a world.

use std::borrow::Cow;

use testcontainers::core::{ContainerPort, WaitFor};
use testcontainers::{CopyToContainer, Image};

use crate::{CONTROL_PORT, DATA_PORT, READY, TAG};

/// Where the world lies inside the container.
const WORLD: &str = "/world.toml";

/// `fake-imds` in a container: serves at [`DATA_PORT`], is controlled at [`CONTROL_PORT`].
#[derive(Debug, Clone, Default)]
pub struct FakeImds {
    world: Vec<CopyToContainer>,
    arguments: Vec<String>,
}

impl FakeImds {
    /// Its image's name; [`TAG`] is its tag.
    pub const NAME: &'static str = "metadata-lab/fake-imds";

    /// Shows this world (the text of a `world.toml`) instead of the built-in one.
    #[must_use]
    pub fn with_world(mut self, text: impl Into<String>) -> Self {
        self.world = vec![CopyToContainer::new(text.into().into_bytes(), WORLD)];
        self
    }

    /// Gets credentials from the fake STS that is controlled at this URL, so that they verify there.
    #[must_use]
    pub fn with_sts_control(self, url: impl Into<String>) -> Self {
        self.with_argument("--sts-control", url)
    }

    /// Derives canaries, tokens and keys from this instead of `lab`.
    #[must_use]
    pub fn with_seed(self, seed: impl Into<String>) -> Self {
        self.with_argument("--seed", seed)
    }

    /// Tolerates as much as this profile does: `ec2`, `lenient` or `aemm`.
    #[must_use]
    pub fn with_profile(self, profile: impl Into<String>) -> Self {
        self.with_argument("--profile", profile)
    }

    /// Keeps more requests in its ledger than the usual 4MiB of them, or fewer: `64MiB`.
    #[must_use]
    pub fn with_ledger(self, size: impl Into<String>) -> Self {
        self.with_argument("--ledger", size)
    }

    fn with_argument(mut self, name: &str, value: impl Into<String>) -> Self {
        self.arguments.extend([name.to_owned(), value.into()]);
        self
    }
}

impl Image for FakeImds {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn tag(&self) -> &str {
        TAG
    }

    fn ready_conditions(&self) -> Vec<WaitFor> {
        vec![WaitFor::message_on_stdout(READY)]
    }

    fn copy_to_sources(&self) -> impl IntoIterator<Item = &CopyToContainer> {
        &self.world
    }

    fn cmd(&self) -> impl IntoIterator<Item = impl Into<Cow<'_, str>>> {
        serve(!self.world.is_empty()).chain(self.arguments.iter().cloned())
    }

    fn expose_ports(&self) -> &[ContainerPort] {
        &[ContainerPort::Tcp(DATA_PORT), ContainerPort::Tcp(CONTROL_PORT)]
    }
}

/// The arguments that both fakes take.
pub(crate) fn serve(has_world: bool) -> impl Iterator<Item = String> {
    let listen = [
        "--listen".to_owned(),
        format!("0.0.0.0:{DATA_PORT}"),
        "--control".to_owned(),
        format!("0.0.0.0:{CONTROL_PORT}"),
    ];
    let world = has_world.then(|| ["--world".to_owned(), WORLD.to_owned()]);
    listen.into_iter().chain(world.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(image: &impl Image) -> String {
        let words: Vec<String> = image
            .cmd()
            .into_iter()
            .map(|word| {
                let word: Cow<'_, str> = word.into();
                word.into_owned()
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn what_was_asked_for_stands_in_the_command() {
        assert_eq!(
            command(&FakeImds::default()),
            "--listen 0.0.0.0:80 --control 0.0.0.0:1339"
        );
        let asked = FakeImds::default()
            .with_world("")
            .with_sts_control("http://x:1")
            .with_seed("s")
            .with_ledger("64MiB");
        assert_eq!(
            command(&asked),
            "--listen 0.0.0.0:80 --control 0.0.0.0:1339 --world /world.toml --sts-control http://x:1 --seed s \
             --ledger 64MiB"
        );
        assert_eq!(asked.copy_to_sources().into_iter().count(), 1);
    }

    #[test]
    fn readiness_is_told_by_the_control_listener() {
        assert!(READY.ends_with(&format!(":{CONTROL_PORT}")));
    }
}
