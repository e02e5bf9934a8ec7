//! IAM policy documents and what they allow: pure evaluation that fails closed. It must not know the world, STS parameters or HTTP.
//!
//! [`parse`] reads a document, [`evaluate`] says what one policy says of an [`Ask`], [`decide_trust`] and [`decide_identity`] put the
//! policies of a caller together. What is not understood (an operator, a key, a variable without a value) never grants.

mod condition;
mod decide;
mod document;
mod evaluate;
mod pattern;
mod principal;
#[cfg(test)]
mod tests;

pub use condition::{Condition, Keys};
pub use decide::{Decision, Named, Standing, Step, decide_identity, decide_trust};
pub use document::{
    Document, Effect, Kind, Policy, PolicyFault, Principals, Scope, Statement, parse, parse_text, read_document,
};
pub use evaluate::{Ask, Finding, evaluate};
pub use principal::{Attributes, Match, Principal};
