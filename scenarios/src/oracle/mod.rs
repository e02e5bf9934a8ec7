//! What decides: canaries, provenance, ledgers and denials. Pure functions over bytes and records; they ask nobody.

pub mod answer;
pub mod canary;
pub mod ledger;
pub mod terms;
