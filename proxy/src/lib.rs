//! The metadata proxy: it answers a job container's requests to the instance metadata endpoint, and hands out credentials of the
//! role that the operator sanctioned for that container, or nothing.
//!
//! `caller` holds the words between the two halves: who asks (`attest`, `engine`, `firewall`, `selftest`) and what they get (the rest).

pub mod ambient;
pub mod answer;
pub mod attest;
pub mod audit;
mod bucket;
pub mod caller;
pub mod cli;
pub mod compat;
pub mod config;
pub mod control;
pub mod credentials;
pub mod doctor;
pub mod engine;
pub mod explain;
pub mod firewall;
#[cfg(test)]
mod fixture;
mod flight;
pub mod gitlab;
pub mod health;
pub mod instance;
pub mod log;
pub mod metrics;
pub mod paragraph;
pub mod policy;
pub mod refusal;
pub mod reload;
pub mod request;
pub mod routes;
pub mod run;
pub mod runner;
pub mod selftest;
pub mod serve;
pub mod socket_file;
pub mod spans;
pub mod state_file;
pub mod supervisor;
pub mod token;
pub mod upstream;
pub mod watch;
