//! IAM policy documents and what they allow: pure evaluation that fails closed. It must not know the world, STS parameters or HTTP.

mod condition;
mod document;
mod evaluate;
mod pattern;
mod principal;
#[cfg(test)]
mod tests;

pub use condition::{Condition, Keys};
pub use document::{Effect, Kind, Policy, PolicyFault, Principals, Scope, Statement, parse, parse_text};
pub use evaluate::{Ask, Finding, evaluate};
pub use principal::{Attributes, Match, Principal};
