//! One lease, from the word that it began to the word how it ended.

use std::sync::Arc;
use std::time::Duration;

use client::sender::Flushed;
use wire::id::ExecutionId;
use wire::worker::{Completion, Lease};

use super::board::Work;
use super::reports::{self, Links, Word};
use crate::execution;
use crate::orders::{Commander, Halt, Orders};
use crate::room::Room;

/// How long a stopping runner tries to report what it had in hand.
pub(super) const LAST_WORD: Duration = Duration::from_secs(3);

/// Carries one lease out, from saying that it began to saying how it ended.
pub(super) async fn run(room: Arc<Room>, links: Links, work: Work) {
    let Work { lease, commander, orders } = work;
    let Some(completion) = carry_out(&room, &links, &lease, &commander, orders).await else {
        return tracing::warn!("execution {} is somebody else's now", lease.execution_id);
    };
    secure(&room, lease.execution_id, &commander).await;
    let patience = if commander.standing() == Some(Halt::Stopping) { LAST_WORD } else { room.limits.silence };
    let outcome = completion.outcome;
    reports::say(&links, &lease, Word::Completed(&completion), patience, &commander, &room.chance).await;
    tracing::info!("execution {} ended: {outcome}", lease.execution_id);
}

/// Sees to it that the record is safe before its end is told: nobody repeats an execution that was
/// completed, so nothing that happens to this machine afterwards may take its events. While neither
/// the event store nor the disk takes them this waits, as the command's output does.
async fn secure(room: &Room, execution: ExecutionId, commander: &Commander) {
    loop {
        let is_last_try = matches!(commander.standing(), Some(Halt::Stopping | Halt::LeaseLost));
        match room.recorder.flush(room.limits.flush).await {
            Flushed::Delivered => return,
            Flushed::OnDisk => {
                return tracing::warn!("the event store is away; the events of {execution} wait in the spool");
            }
            Flushed::Unsafe if is_last_try => {
                return tracing::error!("events of {execution} are neither delivered nor safely on disk");
            }
            Flushed::Unsafe => tracing::warn!("the event store is away and the spool takes no more; {execution} waits"),
        }
    }
}

/// The work, and beside it the word that it began, so that neither waits for the other.
async fn carry_out(
    room: &Arc<Room>,
    links: &Links,
    lease: &Lease,
    commander: &Commander,
    orders: Orders,
) -> Option<Completion> {
    let patience = room.limits.silence;
    let starting = reports::say(links, lease, Word::Started, patience, commander, &room.chance);
    let working = execution::carry_out(room, lease, orders);
    tokio::pin!(starting, working);
    tokio::select! {
        () = &mut starting => working.await,
        completion = &mut working => completion,
    }
}
