//! The search for anything left over: first in what the system says of itself and
//! of its provider, then in the processes and locks of this computer.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use client::control::TaskFilter;
use wire::machine::{MachineState, MachineView};

use crate::level::{PATIENCE, until};
use crate::processes::Process;
use crate::world::{APP, World};

const OUTBOX_IS_EMPTY: &str = "outbox_pending 0";

/// Waits until nothing waits to be told and pool and provider agree; then no task may be under way.
pub(crate) async fn settle(world: &World) {
    until("the outbox is empty", PATIENCE, async || {
        world.metrics().await.lines().any(|line| line == OUTBOX_IS_EMPTY).then_some(())
    })
    .await;
    until("the pool and the provider know the same machines", PATIENCE, async || agree(world).await.then_some(()))
        .await;
    for task in world.control().tasks(&TaskFilter { limit: Some(1_000), ..TaskFilter::default() }).await.expect("lists")
    {
        for execution in world.executions(task.id).await {
            assert!(execution.completed_at.is_some(), "a lease of task {} is still open: {execution:?}", task.id);
        }
    }
}

/// Whether every machine has an owner and every owner a machine, and the same for volumes.
async fn agree(world: &World) -> bool {
    let pool: Vec<MachineView> = world.control().machines().await.expect("the control plane answers");
    let owners: BTreeSet<_> =
        pool.iter().filter(|machine| machine.state != MachineState::Destroyed).map(|m| m.provider_id.clone()).collect();
    if let Some(sprites) = &world.scene.sprites {
        return owners == sprites.fake.seen().into_iter().map(|sprite| Some(sprite.name)).collect();
    }
    let provider = world.provider();
    let there = provider.machines(APP).await.expect("the provider answers");
    let volumes = provider.volumes(APP).await.expect("the provider answers");
    let there: BTreeSet<_> = there
        .into_iter()
        .filter(|machine| machine.state != fly::MachineState::Destroyed)
        .map(|machine| Some(machine.id))
        .collect();
    // The volume of a machine that was made anew elsewhere is kept for an hour, attached to nothing.
    let attached = volumes.iter().filter(|volume| volume.attached_machine_id.is_some()).count();
    owners == there && attached == there.len()
}

/// After everything was stopped: no process names the world's directory, and no file in it is locked.
pub(crate) async fn search(directory: &Path) {
    let left = Process::all_of(directory);
    assert!(left.is_empty(), "processes outlive a clean stop: {left:#?}");
    for path in locks_in(directory) {
        let file = File::open(&path).expect("a lock is readable");
        assert!(!matches!(file.try_lock(), Err(TryLockError::WouldBlock)), "{} is still locked", path.display());
    }
}

/// By convention, what a process locks is a file of this name.
fn locks_in(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "lock") {
                found.push(path);
            }
        }
    }
    found
}
