//! What every fake shares: serving, control API, ledger, faults, holds, clock, seed.
//!
//! A fake's core is a pure function from state, time and request to an answer; this crate is the thin shell around it. It must not
//! know what any fake answers: paths, protocols and field names belong to the fakes.

pub mod ambient;
pub mod clock;
pub mod connection;
pub mod control;
pub mod facts;
pub mod fault;
pub mod glob;
pub mod hold;
pub mod ledger;
pub mod listen;
pub mod malformed;
pub mod paging;
pub mod plant;
pub mod question;
pub mod rewrite;
pub mod seed;
pub mod serve;
