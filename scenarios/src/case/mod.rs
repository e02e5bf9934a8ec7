//! Scenarios as data: what a case file may say, and every fault of every file at once. Knows no container, no socket and no defence's
//! inner working; what the words do is in `play`.

mod action;
mod bytes;
mod check;
mod defence;
mod diagnostic;
mod document;
mod external;
mod fault;
mod federation;
mod hole;
mod job;
mod load;
pub mod model;
mod placeholder;
mod schema;
mod shape;
mod step;
mod switches;
mod variant;

#[cfg(test)]
mod tests;

pub use bytes::{BadEscape, unescape};
pub use check::CANARIES;
pub use fault::{Fault, Faults};
pub use load::load;
pub(crate) use load::read;
pub use schema::schema;
pub use switches::SWITCHES;
