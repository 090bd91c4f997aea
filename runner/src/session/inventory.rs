//! Which checkpoints the control plane has heard of: each is told once by this process, before the poll that names
//! it. What an execution saved it has told of itself already, and telling twice is no error.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::worker::Worker;
use kit::tasks::blocking;
use wire::id::CheckpointId;

use crate::checkpoint;
use crate::room::Room;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Inventory(BTreeSet<CheckpointId>);

impl Inventory {
    /// Tells of what was not told yet. What is not heard now is told before the next poll.
    pub(super) async fn tell(&mut self, room: &Arc<Room>, worker: &Worker) {
        let there: BTreeSet<CheckpointId> = room.volume.checkpoint_ids().unwrap_or_default().into_iter().collect();
        self.0.retain(|id| there.contains(id));
        for id in there.into_iter().filter(|id| !self.0.contains(id)).collect::<Vec<_>>() {
            let own = Arc::clone(room);
            let read = blocking(move || {
                let manifest = checkpoint::read(&own.volume, id)?;
                checkpoint::summary(&own.volume, &manifest)
            });
            let told = match read.await {
                Ok(saved) => worker.saved(&saved).await.map_err(|error| error.to_string()),
                // The health check sets it aside.
                Err(error) => Err(error.to_string()),
            };
            match told {
                Ok(()) => drop(self.0.insert(id)),
                Err(error) => return tracing::debug!("checkpoint {id} was not told of: {error}"),
            }
        }
    }
}
