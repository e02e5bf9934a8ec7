//! Runs attack scenarios from real job containers against a defence, and says with evidence what held.
//!
//! `case` reads scenarios, `cast` and `compose` name and write what a run needs, `stage` builds an instance with its defence, `play` acts the steps out,
//! `oracle` looks at what came back, `verdict` judges, `report` tells. The proxy under test is a program: nothing here links it.

pub mod ambient;
pub mod audit;
pub mod case;
pub mod cast;
pub mod cli;
pub mod compose;
pub mod expand;
pub mod external;
pub mod forge;
pub mod image;
pub mod kept;
pub mod oracle;
pub mod play;
pub mod probe;
pub mod report;
pub mod run;
pub mod runner;
pub mod select;
mod sharing;
pub mod stage;
pub mod verdict;
