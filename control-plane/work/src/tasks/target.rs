//! The task that a request is about, and the version of it that the request was
//! made for: whoever changes what somebody else has changed meanwhile is told so.

use std::fmt;

use kernel::{Error, Result};
use wire::id::TaskId;

/// A task, and its version if that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The task.
    pub id: TaskId,
    /// The only version for which the request is meant; any where there is none.
    pub version: Option<i64>,
}

impl Target {
    /// Refuses a request that was made for another version.
    pub(super) fn check(self, version: i64) -> Result<()> {
        match self.version {
            Some(expected) if expected != version => {
                let message = format!(
                    "the task is at version {version}, and the request was made for version {expected}; read the task \
                     again and repeat the request for what it is now"
                );
                Err(Error::Stale { message })
            }
            _ => Ok(()),
        }
    }
}

impl From<TaskId> for Target {
    fn from(id: TaskId) -> Self {
        Self { id, version: None }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// What names a task: its id, or a [`Target`].
pub trait Named: Into<Target> + Copy + fmt::Display {}

impl<T: Into<Target> + Copy + fmt::Display> Named for T {}
