//! The world as it is now, beside the same world as it was at the start: both are one until something changes.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::World;

/// A world that others may hold as well. Whoever changes it gets one of his own first, so that a start that nothing followed costs no memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedWorld(Arc<World>);

impl From<World> for SharedWorld {
    fn from(world: World) -> Self {
        Self(Arc::new(world))
    }
}

impl Deref for SharedWorld {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for SharedWorld {
    fn deref_mut(&mut self) -> &mut World {
        Arc::make_mut(&mut self.0)
    }
}
