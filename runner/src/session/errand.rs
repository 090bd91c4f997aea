//! One lease, from the word that it began to the word how it ended.

use std::sync::Arc;
use std::time::Duration;

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
    if !room.recorder.flush(room.limits.flush).await {
        tracing::warn!("the event store is away; the events of {} wait in the spool", lease.execution_id);
    }
    let patience = if commander.standing() == Some(Halt::Stopping) { LAST_WORD } else { room.limits.silence };
    let outcome = completion.outcome;
    reports::say(&links, &lease, Word::Completed(&completion), patience, &commander, &room.chance).await;
    tracing::info!("execution {} ended: {outcome}", lease.execution_id);
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
