//! `audit`: from inside a live job, which ways to credentials are open here.
//!
//! Unlike a scenario this talks to the real endpoint of wherever it runs. So it asks for nothing but listings, documents, tokens of a minute and what a
//! credentials document looks like, a bounded number of times; and what comes back is weighed where it arrives: no body leaves `judge`.
//!
//! `surroundings` is what the job's own process sees (read by `look`), `inside` weighs that. `way` says what can be tried and what it means, `plan` which of
//! it is asked here, `judge` what an answer amounts to, `perform` sends. `report` and `table` tell. All but `look` and `perform` are pure.

mod inside;
mod judge;
pub mod look;
mod name;
mod perform;
mod place;
mod plan;
pub mod report;
pub mod surroundings;
pub mod table;
pub mod way;

pub use perform::{Audit, run};
pub use place::Places;

#[cfg(test)]
mod tests;
