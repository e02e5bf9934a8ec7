//! A fake EC2 instance metadata service, IMDSv1 and v2, as close to the wire as captures of the real one allow.
//!
//! The core is [`answer::answer`]: a pure function of state, options, time and request. [`service`] is the shell that serves it.

pub mod aemm;
pub mod ambient;
pub mod answer;
pub mod assembly;
pub mod canonical;
pub mod cli;
pub mod credentials;
pub mod fleet;
pub mod identity;
pub mod imds;
pub mod in_process;
pub mod instance;
pub mod issuer;
pub mod machine;
pub mod options;
pub mod orders;
pub mod page;
pub mod purse;
pub mod rewrite;
pub mod secret;
pub mod service;
pub mod throttle;
pub mod timeline;
pub mod token;
pub mod tree;
pub mod version;
pub mod wire;
pub mod world;

pub use in_process::FakeImds;
