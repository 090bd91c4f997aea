//! Work that nobody pushed and a machine alone has: commits, branches, stashes and changes that its executions left.
//!
//! A machine names all of it in its polls, so what was pushed or merged since is known to be so. It is there to be
//! found, and to be gone on with: a task that asks for one of these commits runs on the machine that has it. While a
//! machine has any that is young enough, nobody destroys it for its idleness. What a lost execution left is not known
//! until its machine has looked: meanwhile it counts as work that was not saved.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use kernel::{Ctx, Result, Tx};
use pool::workers::Worker;
use wire::checkpoint::{KeptWork, KeptWorkView};
use wire::id::{ExecutionId, MachineId, TaskId, TenantId};
use wire::limit::{CHECKPOINT_PATH_CHARS, KEPT_PER_MACHINE};
use wire::task::TaskSpec;
use wire::worker::{Running, repository_name};

use crate::executions::{self, Execution};
use crate::tasks::Task;

pub(crate) mod store;

/// What machines alone have of a tenant's, the newest first.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<KeptWorkView>> {
    let mut tx = ctx.read("kept.list").await?;
    store::list(&mut tx, tenant).await
}

/// Compares what a machine says it has with what is known of it. What it has in hand it does not tell of.
pub(crate) async fn told(tx: &mut Tx, worker: &Worker, told: &[KeptWork], running: &[Running]) -> Result<()> {
    let Some(machine) = worker.machine_id else { return Ok(()) };
    // A machine that has run a task is not trusted: so much of what it tells is kept in mind.
    let is_usable = |work: &&KeptWork| {
        let texts = [(&work.repository, 100), (&work.reference, CHECKPOINT_PATH_CHARS), (&work.commit, 64)];
        texts.iter().all(|(text, most)| text.len() <= *most && !text.contains('\0'))
            && !work.repository.is_empty()
            && !work.reference.is_empty()
    };
    let is_in_hand =
        |work: &&KeptWork| work.is_unsaved() && running.iter().any(|running| running.execution_id == work.execution_id);
    let told: BTreeSet<KeptWork> = told.iter().filter(is_usable).take(KEPT_PER_MACHINE).cloned().collect();
    let known = store::of_machine(tx, machine).await?;
    for gone in known.difference(&told).filter(|work| !is_in_hand(work)) {
        store::forget(tx, machine, gone).await?;
    }
    for new in told.difference(&known) {
        store::insert(tx, machine, new).await?;
    }
    Ok(())
}

/// Notes that an execution has begun on a machine and was lost there, unless a checkpoint of it is known.
pub(crate) async fn lost(tx: &mut Tx, machine: MachineId, task: &Task, execution: &Execution) -> Result<()> {
    let Some(spec) = task.spec.as_ref().filter(|_| execution.started_at.is_some()) else { return Ok(()) };
    let left = KeptWork::unsaved(execution.id, repository_name(&spec.repository));
    store::insert_unsaved(tx, machine, task.id, &left).await
}

/// Executions that have begun on a machine and whose work was not saved: those under way, and those of which nothing is
/// known that were made since then.
pub(crate) async fn count_unsaved(tx: &mut Tx, machine: MachineId, since: DateTime<Utc>) -> Result<i64> {
    let lost = store::count_unsaved(tx, machine, since).await?;
    let Some(worker) = pool::workers::of_machine(tx, machine).await? else { return Ok(lost) };
    let open = executions::store::open_of_worker(tx, worker.id).await?;
    let begun = open.iter().filter(|execution| execution.started_at.is_some()).count();
    Ok(lost.saturating_add(i64::try_from(begun).unwrap_or(i64::MAX)))
}

/// The machine that alone has the commit that a task asks for.
pub(crate) async fn machine_with(tx: &mut Tx, tenant: TenantId, spec: &TaskSpec) -> Result<Option<MachineId>> {
    let is_id = |name: &&String| matches!(name.len(), 40 | 64) && name.chars().all(|c| c.is_ascii_hexdigit());
    let Some(commit) = spec.reference.as_ref().filter(is_id) else { return Ok(None) };
    store::machine_with(tx, tenant, &repository_name(&spec.repository), &commit.to_ascii_lowercase()).await
}

/// Machines with work of executions that were made since then, and that nobody deleted with their tasks.
pub(crate) async fn machines(tx: &mut Tx, since: DateTime<Utc>) -> Result<Vec<MachineId>> {
    store::machines(tx, since).await
}

/// Work of an execution that was forgotten, with whose it was.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) tenant: TenantId,
    pub(crate) task: TaskId,
    pub(crate) execution: ExecutionId,
    pub(crate) reference: String,
}

/// Forgets what a machine had that is gone, with its volume; gives what somebody may miss.
pub(crate) async fn forget_machine(tx: &mut Tx, machine: MachineId) -> Result<Vec<Gone>> {
    let gone = store::of_tasks(tx, machine).await?;
    store::forget_machine(tx, machine).await?;
    Ok(gone)
}

/// Machines of which something is known.
pub(crate) async fn known_machines(tx: &mut Tx) -> Result<Vec<MachineId>> {
    store::known_machines(tx).await
}

#[cfg(test)]
mod tests;
