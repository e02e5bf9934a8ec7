//! What the Docker engine says: of one container, of an image, of who has an address, and of changes. Every question is bounded in
//! time, and every answer in length. It believes nothing beyond its own words: that a container owns a connection is for `attest` to prove.

mod change;
mod client;
mod lines;
mod reading;
mod setting;
#[cfg(test)]
mod tests;
mod way;

pub use change::{Change, Changes};
pub(crate) use client::within_time;
pub use client::{Engine, EngineError};
pub use reading::{Endpoint, Image, Inspected, Listed};
pub use setting::{NetworkSetting, Setting};
