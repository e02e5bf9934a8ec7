//! A fake AWS STS with the slice of IAM around it. See ARCHITECTURE.md.
//!
//! [`answer`] is the core: state, time and request in, outcome out. [`service`] is the shell around it, [`FakeSts`] the whole inside a process that tests. [`provenance`] is what others use
//! to read a session token.

pub mod ambient;
pub mod answer;
pub mod arn;
pub mod assume_role;
pub mod command;
pub mod context;
pub mod control;
pub mod decline;
pub mod envelope;
pub mod federated;
pub mod front;
pub mod iam;
pub mod in_process;
pub mod inquiry;
pub mod lint;
pub mod message;
pub mod mint;
pub mod oidc;
pub mod options;
pub mod parameters;
pub mod permission;
pub mod policy;
pub mod principal;
pub mod program;
pub mod provenance;
pub mod query;
pub mod refusal;
pub mod request;
pub mod saml;
pub mod saml_identity;
pub mod seal;
pub mod secret;
pub mod service;
pub mod session_token;
pub mod signature;
pub mod state;
pub mod web_identity;
pub mod world;

mod rewrite;

pub use in_process::FakeSts;
