//! The program inside a job container that makes the requests, and the channel over which a scenario tells it which.
//!
//! Responsible for: doing one network operation exactly as told and saying exactly what happened on the wire. It must not know
//! what an attack is, what should have happened, or any verdict.

pub mod ambient;
pub(crate) mod ask;
pub mod bytes;
pub mod channel;
pub mod connect;
mod connections;
mod host;
mod http;
mod knock;
mod listeners;
mod passing;
pub mod protocol;
mod receive;
mod sdk;
pub mod serve;
pub mod transcript;
