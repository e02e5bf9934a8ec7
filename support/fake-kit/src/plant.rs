//! Planting a fault that is written as the control API takes it, for fakes inside the process that tests. It must not know what a fault does.

use thiserror::Error;

use crate::control::ControlState;
use crate::fault::{Fault, Mistake};

/// Why a fault was not planted.
#[derive(Debug, Error)]
pub enum PlantError {
    /// It is not a fault as the control API takes it.
    #[error("not a fault")]
    Unreadable(#[from] serde_json::Error),
    /// It cannot be meant.
    #[error(transparent)]
    Mistaken(#[from] Mistake),
    /// There are too many.
    #[error("too many faults are planted")]
    TooMany,
}

impl ControlState {
    /// Plants a fault; its number.
    ///
    /// # Errors
    /// It is none, or cannot be meant.
    pub fn plant(&self, fault: &str) -> Result<u64, PlantError> {
        let fault: Fault = serde_json::from_str(fault)?;
        fault.check(self.facts)?;
        self.faults.plant(fault).ok_or(PlantError::TooMany)
    }
}
