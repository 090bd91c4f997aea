//! An event of the outbox as whoever listens reads it.

use kernel::outbox::Placed;
use wire::webhook::{Happening, HappeningData};

/// The event under the type that its listeners know.
pub(crate) fn happening(event: &Placed, kind: &str) -> Happening {
    let snapshot = event.snapshot.clone();
    let (task, old) = snapshot.map_or((None, None), |snapshot| (Some(snapshot.thing), Some(snapshot.old.into())));
    Happening {
        id: event.id,
        kind: kind.to_owned(),
        timestamp: event.created_at,
        data: HappeningData {
            task_id: event.task,
            execution_id: event.execution,
            task,
            old_values: old,
            details: event.payload.clone(),
        },
    }
}
