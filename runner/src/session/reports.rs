//! What a worker says about an execution: that it began, that it is alive, how it
//! ended. Each is repeated until it is heard, refused, or the lease is lost.

use std::sync::Arc;
use std::time::Duration;

use client::Error;
use client::worker::Worker;
use kit::Chance;
use kit::backoff::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;
use wire::worker::{Completion, Heartbeat, Lease};

use super::board::Board;
use crate::orders::{Commander, Halt};

const RETRY: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(5) };
/// How often a worker that is not known says the same: its new registration takes a moment.
const REFUSALS_MAX: u32 = 5;
/// After a heartbeat that was not heard: sooner than the next one is due.
const HEARTBEAT_RETRY: Duration = Duration::from_secs(2);

/// A registration: how to call the control plane, and how often to say that work goes on.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) worker: Worker,
    pub(super) heartbeat: Duration,
}

/// The newest registration; it changes when the worker registers again.
pub(super) type Links = watch::Receiver<Option<Link>>;

/// What is to be said.
#[derive(Debug)]
pub(super) enum Word<'a> {
    Started,
    Completed(&'a Completion),
}

/// Whether the lease is lost, as the control plane's refusal says.
pub(super) fn is_lease_lost(error: &Error) -> bool {
    error.code() == Some("lease_lost")
}

/// Whether the control plane does not know this worker any more.
pub(super) fn is_unknown_worker(error: &Error) -> bool {
    matches!(error.status(), Some(401 | 404))
}

/// Says one thing about a lease, as often as it takes, but not for longer than `patience`.
pub(super) async fn say(
    links: &Links,
    lease: &Lease,
    word: Word<'_>,
    patience: Duration,
    commander: &Commander,
    chance: &Chance,
) {
    let until = Instant::now() + patience;
    let mut links = links.clone();
    let (mut failures, mut refusals) = (0, 0);
    loop {
        let link = links.borrow_and_update().clone();
        let error = match link {
            None => None,
            Some(link) => match call(&link.worker, lease, &word).await {
                Ok(()) => return,
                Err(error) if is_lease_lost(&error) => {
                    tracing::warn!("the lease of {} is lost", lease.execution_id);
                    return commander.halt(Halt::LeaseLost);
                }
                Err(error) => Some(error),
            },
        };
        // An unknown worker is registered again by its session, under a new name and token.
        let is_unknown = error.as_ref().is_some_and(is_unknown_worker);
        refusals += u32::from(is_unknown);
        let may_pass = error.as_ref().is_none_or(Error::is_transient) || (is_unknown && refusals <= REFUSALS_MAX);
        if !may_pass || Instant::now() >= until {
            let reason = error.map_or("it never registered".into(), |error| error.to_string());
            tracing::error!("the control plane was not told about {}: {reason}", lease.execution_id);
            return;
        }
        failures += 1;
        let pause = RETRY.wait(failures, chance).min(until.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = tokio::time::sleep(pause) => (),
            Ok(()) = links.changed() => (),
        }
    }
}

async fn call(worker: &Worker, lease: &Lease, word: &Word<'_>) -> Result<(), Error> {
    match word {
        Word::Started => worker.start(lease.execution_id, lease.fence).await,
        Word::Completed(completion) => worker.complete(lease.execution_id, completion).await,
    }
}

/// Renews the leases of everything in hand, for ever. After a new registration that is done at once, for the machine
/// may have slept, and what was asked before may never be answered.
pub(super) async fn heartbeats(mut links: Links, board: Arc<Board>) {
    let mut pause = Duration::from_secs(1);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => (),
            () = board.pulse.wanted() => (),
            Ok(()) = links.changed() => (),
        }
        let Some(link) = links.borrow_and_update().clone() else { continue };
        pause = link.heartbeat;
        let running = board.running();
        if running.is_empty() {
            continue;
        }
        let sent = Instant::now();
        let heartbeat = Heartbeat { running };
        let answer = tokio::select! {
            answer = link.worker.heartbeat(&heartbeat) => answer,
            Ok(()) = links.changed() => {
                links.mark_changed();
                continue;
            }
        };
        match answer {
            Ok(reply) => {
                for id in reply.lost {
                    if board.halt(id, Halt::LeaseLost) {
                        tracing::warn!("the lease of {id} is lost");
                    }
                }
                board.pulse.heard(sent);
            }
            Err(error) => {
                tracing::debug!("a heartbeat was not heard: {error}");
                pause = pause.min(HEARTBEAT_RETRY);
            }
        }
    }
}
