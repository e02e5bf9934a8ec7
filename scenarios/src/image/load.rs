//! Loads images into an engine, the shared layer once. Knows nothing of what the images are for.

use std::collections::HashSet;

use bollard::Docker;
use bollard::query_parameters::{ImportImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::StreamExt as _;
use tokio::sync::Mutex;

use super::archive::JobImage;
use super::layer::Base;

/// Why an image is not in the engine.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The engine refused the archive.
    #[error("the engine does not take image {name}")]
    Load {
        /// The image.
        name: String,
        /// The engine's error.
        #[source]
        source: bollard::errors::Error,
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
    /// The engine says that it loaded the image, and does not have it.
    #[error("image {name} is not in the engine under its id {id} after loading")]
    Absent {
        /// The image.
        name: String,
        /// The id that it must have.
        id: String,
    },
}

/// The images of one engine.
#[derive(Debug)]
pub struct Images {
    docker: Docker,
    base: Base,
    state: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    /// Whether the engine has the layer.
    layer: bool,
    /// Ids with the tags they have.
    images: HashSet<(String, String)>,
}

impl Images {
    /// The images of this engine over this base.
    pub fn new(docker: Docker, base: Base) -> Self {
        Self {
            docker,
            base,
            state: Mutex::default(),
        }
    }

    /// Makes sure that the engine has the image, under its name too, and gives its id. Two scenarios may use one name for different images:
    /// containers are created by id, so only the last one's name moves.
    pub async fn ensure(&self, image: &JobImage) -> Result<String, ImageError> {
        let id = image.id(&self.base);
        // Held while loading: whoever needs the layer at the same time waits instead of loading it again.
        let mut state = self.state.lock().await;
        if state.images.contains(&(id.clone(), image.tag())) {
            return Ok(id);
        }
        // Most images differ in their names only, and a name costs the engine far less than an archive: no process of its own.
        if state.images.iter().any(|(loaded, _)| *loaded == id) {
            self.tag(image, &id).await?;
            state.images.insert((id.clone(), image.tag()));
            return Ok(id);
        }
        let mut loaded = Ok(());
        if state.layer {
            loaded = self.load(image, false).await;
        }
        // An engine with a content store of its own wants the layer in every archive.
        if !state.layer || loaded.is_err() || !self.has(&id).await {
            self.load(image, true).await?;
        }
        if !self.has(&id).await {
            return Err(ImageError::Absent {
                name: image.name.clone(),
                id,
            });
        }
        state.layer = true;
        state.images.insert((id.clone(), image.tag()));
        Ok(id)
    }

    /// The id that an image has, loaded or not.
    pub fn id(&self, image: &JobImage) -> String {
        image.id(&self.base)
    }

    async fn has(&self, id: &str) -> bool {
        self.docker.inspect_image(id).await.is_ok()
    }

    async fn tag(&self, image: &JobImage, id: &str) -> Result<(), ImageError> {
        let tag = image.tag();
        let (name, version) = tag.rsplit_once(':').unwrap_or((&tag, ""));
        let options = TagImageOptionsBuilder::default().repo(name).tag(version).build();
        let tagged = self.docker.tag_image(id, Some(options)).await;
        tagged.map_err(|source| ImageError::Load {
            name: image.name.clone(),
            source,
        })
    }

    async fn load(&self, image: &JobImage, with_layer: bool) -> Result<(), ImageError> {
        let archive = image
            .archive(&self.base, with_layer)
            .map_err(|source| ImageError::Assemble {
                name: image.name.clone(),
                source,
            })?;
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let mut progress = Box::pin(
            self.docker
                .import_image(options, bollard::body_full(archive.into()), None),
        );
        while let Some(step) = progress.next().await {
            step.map_err(|source| ImageError::Load {
                name: image.name.clone(),
                source,
            })?;
        }
        Ok(())
    }
}
