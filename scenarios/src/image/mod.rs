//! Job images without a registry: one layer with the probe and what it needs, and any number of configurations on top of it.
//!
//! An image is loaded as an archive that names its layer by content, so its id is known before the engine has seen it, any number of
//! scenarios share the layer, and loading another configuration moves a few kilobytes. It must not know runners, jobs or defences.

mod ambient;
mod archive;
mod authority;
mod elf;
mod layer;
mod load;

pub use archive::JobImage;
pub use layer::{Base, BaseError};
pub use load::{ImageError, Images};
