//! The runner's own `config.toml`, as far as it decides whether the labels of its containers can be believed. Pure: `reload` reads the file.
//!
//! What lets a job forge labels is a fault; what is unwise is a warning. Tokens never leave this module.

mod document;
mod judge;
#[cfg(test)]
mod tests;

pub use document::{Document, Runner, short_token};

use crate::config::{Config, Fault};

/// What was found in the runner's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Labels can be forged.
    pub faults: Vec<Fault>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// Examines the runner's file against the proxy's configuration. `file` is only a name.
#[must_use]
pub fn examine(file: &str, text: &str, config: &Config) -> Examined {
    let document = match Document::read(text) {
        Ok(document) => document,
        Err((line, problem)) => {
            return Examined {
                faults: vec![Fault {
                    file: file.to_owned(),
                    line,
                    field: String::new(),
                    problem,
                    remedy: "write valid TOML, as the runner needs it too".to_owned(),
                }],
                warnings: Vec::new(),
            };
        }
    };
    let mut examined = Examined::default();
    judge::labels(file, &document, &mut examined);
    judge::tokens(file, &document, &mut examined);
    judge::mounts(file, &document, &mut examined);
    judge::unwise(file, &document, config, &mut examined);
    judge::rules(file, &document, config, &mut examined);
    examined.faults.sort_by_key(|fault| fault.line);
    examined
}
