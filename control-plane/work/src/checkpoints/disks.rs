//! What the pool asks before it lets a machine's disk go, and what is told when one is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::outbox::{self, About};
use kernel::{Ctx, Result, Tx};
use pool::WorkOnDisks;
use pool::kept::Known;
use serde_json::json;
use wire::event::kind;
use wire::id::{ExecutionId, MachineId};

use super::store::{self, Forgotten};
use crate::Settings;
use crate::kept::{self, Gone};

/// Knows work on machines' disks by their checkpoints.
#[derive(Debug, Clone, Copy)]
pub struct OnDisks {
    keep: Duration,
}

impl OnDisks {
    /// With the operator's settings.
    pub fn new(settings: &Settings) -> Self {
        Self { keep: settings.keep_work }
    }
}

impl WorkOnDisks for OnDisks {
    fn of<'a>(&'a self, tx: &'a mut Tx, machine: MachineId, now: DateTime<Utc>) -> Known<'a, Option<String>> {
        Box::pin(async move {
            let since = now - self.keep;
            let unsaved = kept::count_unsaved(tx, machine, since).await?;
            if unsaved == 0 && !super::machines_with_work(tx, since).await?.contains(&machine) {
                return Ok(None);
            }
            let pinned = store::count_pinned(tx, machine).await?;
            let unpushed = store::count_unpushed(tx, machine, since).await?;
            Ok(Some(in_words(pinned, unpushed, unsaved)))
        })
    }

    fn gone<'a>(&'a self, ctx: &'a Ctx, tx: &'a mut Tx, machine: MachineId) -> Known<'a, ()> {
        Box::pin(forget(ctx, tx, machine))
    }
}

fn in_words(pinned: i64, unpushed: i64, unsaved: i64) -> String {
    let counted = |count: i64, one: &str, more: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {more}")),
    };
    let parts = [
        counted(pinned, "pinned checkpoint", "pinned checkpoints"),
        counted(
            unpushed,
            "checkpoint with work that was pushed nowhere",
            "checkpoints with work that was pushed nowhere",
        ),
        counted(unsaved, "execution whose work was not saved", "executions whose work was not saved"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "work that was pushed nowhere".to_owned() } else { parts.join(" and ") }
}

/// Forgets what a machine had on a disk that is gone, and tells of what somebody may miss.
pub(super) async fn forget(ctx: &Ctx, tx: &mut Tx, machine: MachineId) -> Result<()> {
    let mut work: BTreeMap<ExecutionId, Vec<Gone>> = BTreeMap::new();
    for gone in kept::forget_machine(tx, machine).await? {
        work.entry(gone.execution).or_default().push(gone);
    }
    for gone in store::forget_machine(tx, machine).await? {
        let Forgotten { id, tenant, task, execution, pinned, unpushed } = gone;
        if !pinned && unpushed.is_empty() {
            continue;
        }
        work.remove(&execution);
        tracing::warn!(machine.id = %machine, checkpoint.id = %id, pinned, "a checkpoint is gone with its machine's disk");
        let payload = json!({ "checkpoint_id": id, "machine_id": machine, "pinned": pinned, "unpushed": unpushed });
        outbox::push(ctx, tx, kind::CHECKPOINT_GONE, About::task(tenant, task), &payload).await?;
    }
    for (execution, gone) in work {
        let Some(Gone { tenant, task, .. }) = gone.first() else { continue };
        tracing::warn!(machine.id = %machine, execution.id = %execution, "work is gone with its machine's disk");
        let references: Vec<&str> = gone.iter().map(|one| one.reference.as_str()).collect();
        let payload = json!({ "machine_id": machine, "references": references });
        outbox::push(ctx, tx, kind::WORK_GONE, About::execution(*tenant, *task, execution), &payload).await?;
    }
    Ok(())
}
