//! What the pool asks before it lets a machine's disk go, and what is told when one is gone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::outbox::{self, About};
use kernel::{Ctx, Result, Tx};
use pool::WorkOnDisks;
use pool::kept::Known;
use serde_json::json;
use wire::event::kind;
use wire::id::MachineId;

use super::store::{self, Forgotten};
use crate::{Settings, kept};

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
            if !super::machines_with_work(tx, since).await?.contains(&machine) {
                return Ok(None);
            }
            let pinned = store::count_pinned(tx, machine).await?;
            let unpushed = store::count_unpushed(tx, machine, since).await?;
            Ok(Some(in_words(pinned, unpushed)))
        })
    }

    fn gone<'a>(&'a self, ctx: &'a Ctx, tx: &'a mut Tx, machine: MachineId) -> Known<'a, ()> {
        Box::pin(forget(ctx, tx, machine))
    }
}

fn in_words(pinned: i64, unpushed: i64) -> String {
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
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "work that was pushed nowhere".to_owned() } else { parts.join(" and ") }
}

/// Forgets what a machine had on a disk that is gone, and tells of what somebody may miss.
pub(super) async fn forget(ctx: &Ctx, tx: &mut Tx, machine: MachineId) -> Result<()> {
    kept::forget_machine(tx, machine).await?;
    for gone in store::forget_machine(tx, machine).await? {
        let Forgotten { id, tenant, task, pinned, unpushed } = gone;
        if !pinned && unpushed.is_empty() {
            continue;
        }
        tracing::warn!(machine.id = %machine, checkpoint.id = %id, pinned, "a checkpoint is gone with its machine's disk");
        let payload = json!({ "checkpoint_id": id, "machine_id": machine, "pinned": pinned, "unpushed": unpushed });
        outbox::push(ctx, tx, kind::CHECKPOINT_GONE, About::task(tenant, task), &payload).await?;
    }
    Ok(())
}
