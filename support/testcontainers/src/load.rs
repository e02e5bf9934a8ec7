//! Loads images into the engine that testcontainers uses. It must not know what they are for.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use testcontainers::bollard::{self, query_parameters::ImportImageOptionsBuilder};
use testcontainers::core::client::docker_client_instance;
use thiserror::Error;

use crate::archive::LocalImage;
use crate::{FakeImds, FakeSts, TAG};

/// Why an image is not in the engine.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A file that must go in cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The loader does not find what the program needs.
    #[error("{path} cannot be run here; missing libraries: {missing:?}")]
    Libraries {
        /// The program.
        path: PathBuf,
        /// What the loader did not find.
        missing: Vec<String>,
    },
    /// The archive could not be written; memory is the only thing it is written to.
    #[error("cannot assemble image {name}")]
    Assemble {
        /// The image.
        name: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// testcontainers finds no engine.
    #[error("no engine")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine refused the archive.
    #[error("the engine does not take image {name}")]
    Load {
        /// The image.
        name: String,
        /// The engine's error.
        #[source]
        source: bollard::errors::Error,
    },
}

impl LocalImage {
    /// Loads the image into the engine that testcontainers uses in this process (`DOCKER_HOST`).
    ///
    /// # Errors
    /// When there is no engine, or it does not take the image.
    pub async fn load(&self) -> Result<(), ImageError> {
        let engine = docker_client_instance()
            .await
            .map_err(|error| ImageError::Engine(error.into()))?;
        let name = || self.name().to_owned();
        let archive = self
            .archive()
            .map_err(|source| ImageError::Assemble { name: name(), source })?;
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let mut steps = Box::pin(engine.import_image(options, bollard::body_full(archive.into()), None));
        while let Some(step) = steps.next().await {
            step.map_err(|source| ImageError::Load { name: name(), source })?;
        }
        Ok(())
    }
}

/// Makes the images of [`FakeImds`] and [`FakeSts`] from the programs in this directory (`target/debug`, say) and loads them into the engine that
/// testcontainers uses in this process.
///
/// # Errors
/// When a program is not there or would not run here, or the engine does not take an image.
pub async fn install(programs: &Path) -> Result<(), ImageError> {
    for (name, program) in [(FakeImds::NAME, "fake-imds"), (FakeSts::NAME, "fake-sts")] {
        LocalImage::gather(name, TAG, &programs.join(program))
            .await?
            .load()
            .await?;
    }
    Ok(())
}
