//! STS as a container. It must not know what is in a world.

use std::borrow::Cow;

use testcontainers::core::{ContainerPort, WaitFor};
use testcontainers::{CopyToContainer, Image};

use crate::fake_imds::serve;
use crate::{CONTROL_PORT, DATA_PORT, READY, TAG};

/// `fake-sts` in a container: serves at [`DATA_PORT`], is controlled at [`CONTROL_PORT`].
#[derive(Debug, Clone, Default)]
pub struct FakeSts {
    world: Vec<CopyToContainer>,
    arguments: Vec<String>,
}

impl FakeSts {
    /// Its image's name; [`TAG`] is its tag.
    pub const NAME: &'static str = "metadata-lab/fake-sts";

    /// Knows the accounts, roles and users of this world (the text of a `world.toml`) instead of the built-in ones.
    #[must_use]
    pub fn with_world(mut self, text: impl Into<String>) -> Self {
        self.world = vec![CopyToContainer::new(text.into().into_bytes(), "/world.toml")];
        self
    }

    /// Derives ids, keys and canaries from this instead of `lab`.
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<String>) -> Self {
        self.arguments.extend(["--seed".to_owned(), seed.into()]);
        self
    }

    /// Keeps more requests in its ledger than the usual 4MiB of them, or fewer: `64MiB`.
    #[must_use]
    pub fn with_ledger(mut self, size: impl Into<String>) -> Self {
        self.arguments.extend(["--ledger".to_owned(), size.into()]);
        self
    }

    /// Grants every role to whoever signs correctly.
    #[must_use]
    pub fn permissive(mut self) -> Self {
        self.arguments.push("--permissive".to_owned());
        self
    }
}

impl Image for FakeSts {
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
