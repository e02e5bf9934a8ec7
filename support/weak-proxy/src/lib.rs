//! A metadata proxy with planted holes, one switch each: the negative control of the scenarios. Never part of a release.
//!
//! It shares no code with the production proxy. Without a switch it behaves decently; [`hole::Hole`] says what each switch opens.

pub mod ambient;
pub mod answer;
pub mod config;
pub mod credentials;
pub mod firewall;
pub mod hole;
pub mod identity;
pub mod policy;
pub mod request;
pub mod routes;
pub mod serve;
pub mod token;
pub mod upstream;
