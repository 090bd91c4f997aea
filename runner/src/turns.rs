//! Whoever writes to something that executions share has it for himself meanwhile: two
//! executions of one repository fetch one after the other, two with the same dependencies
//! install them one after the other, and the second finds what the first brought.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::orders::{Halt, Orders};

/// The turns at everything that is shared on a volume. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>>);

/// A turn at one thing, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits for the thing of this name, unless it is called off.
    pub(crate) async fn take(&self, name: &str, orders: &Orders) -> Result<Turn, Halt> {
        tokio::select! {
            held = self.thing(name).lock_owned() => Ok(Turn { _held: held }),
            halt = orders.halted() => Err(halt),
        }
    }

    /// The thing of this name, unless somebody has it.
    pub(crate) fn take_if_free(&self, name: &str) -> Option<Turn> {
        self.thing(name).try_lock_owned().ok().map(|held| Turn { _held: held })
    }

    fn thing(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
    }
}
