//! Asks for the next trigger and types it, when nobody else is typing there; what became of it is reported. A report
//! that does not arrive is made again before anything else is typed, so that nothing is typed twice because of it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use client::Error;
use wire::id::RuntimeId;
use wire::runtime::{Order, TriggerReport, Via, WriteResult};

use super::{BACKOFF, Supervisor};
use crate::collision::{Decision, decide};
use crate::error::FleetError;
use crate::turn;
use crate::typing::{self, Sent, TAKEN_WITHIN, Terminal};

/// The longest that a request for work is held.
pub(super) const POLL: Duration = Duration::from_secs(30);
/// What is read already is told just now: then nothing is typed.
const ALREADY_TYPED: Duration = Duration::from_millis(500);
/// What is for an agent that has ended waits so long at a time while it runs.
const IT_RUNS: Duration = Duration::from_secs(5);
/// How long a message of somebody else, which is being typed, is waited for.
const TURN_WITHIN: Duration = Duration::from_secs(1);
/// The control plane takes no longer deferral.
const DEFER_MAX: TimeDelta = TimeDelta::minutes(5);

/// What became of an order here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Written,
    Deferred(DateTime<Utc>),
}

/// The order that is seen for longer than one round, and since when.
#[derive(Debug, Clone, Copy)]
struct Seen {
    number: i64,
    since: DateTime<Utc>,
}

impl Supervisor {
    /// Types what there is to type, for as long as it is let.
    pub(super) async fn deliver(&self, terminal: &Terminal) {
        let mut state = self.state.subscribe();
        let (mut failures, mut seen) = (0, None);
        loop {
            let Ok(runtime) = state.wait_for(|state| state.runtime.is_some()).await.map(|state| state.runtime) else {
                return;
            };
            let Some(runtime) = runtime else { continue };
            match self.control.next_trigger(runtime, POLL).await {
                Ok(None) => failures = 0,
                Ok(Some(order)) => {
                    failures = 0;
                    self.carry_out(runtime, terminal, &order, &mut seen).await;
                }
                Err(error) => {
                    failures += 1;
                    self.forget_if_refused(&error);
                    tokio::time::sleep(BACKOFF.wait(failures, &self.chance)).await;
                }
            }
        }
    }

    async fn carry_out(&self, runtime: RuntimeId, terminal: &Terminal, order: &Order, seen: &mut Option<Seen>) {
        let progress = self.state.borrow().progress;
        if order.number <= progress.read || (order.via == Via::Terminal && order.number <= progress.written) {
            // It was typed: it is read by now, or still waits in the terminal, and a second copy would be one too many.
            self.report(runtime, what_became(order, order.via, WriteResult::Written, None)).await;
            return tokio::time::sleep(ALREADY_TYPED).await;
        }
        let now = self.clock.now();
        let first = seen.filter(|seen| seen.number == order.number);
        let first = *seen.insert(first.unwrap_or(Seen { number: order.number, since: now }));
        if order.via == Via::Resume {
            // While it runs, another process in its session would work beside it: it is taken up when it has ended.
            return tokio::time::sleep(IT_RUNS).await;
        }
        let (result, until) = match self.attempt(terminal, order, queued(order, first)).await {
            Ok(Attempt::Written) => {
                self.state.send_modify(|state| state.progress.wrote(order.number));
                (WriteResult::Written, None)
            }
            Ok(Attempt::Deferred(until)) => (WriteResult::Deferred, Some(until)),
            Err(error) => {
                tracing::debug!("trigger {} was not written: {error}", order.number);
                (WriteResult::Failed, None)
            }
        };
        self.report(runtime, what_became(order, order.via, result, until)).await;
    }

    /// Types it, if it may be typed now.
    async fn attempt(&self, terminal: &Terminal, order: &Order, queued: DateTime<Utc>) -> Result<Attempt, FleetError> {
        let text = order.text.trim_end_matches(['\n', '\r']);
        typing::check(text).map_err(FleetError::Refused)?;
        let sending = self.desk.sending();
        let turn = turn(&sending, TURN_WITHIN).await.map_err(FleetError::file(&sending))?;
        let now = self.clock.now();
        let deferred = |until: DateTime<Utc>| Ok(Attempt::Deferred(until.min(now + DEFER_MAX)));
        let Some(_turn) = turn else { return deferred(now + self.rules.recheck) };
        let mut typed_over = false;
        if !order.forced {
            match decide(self.rules, now, terminal.last_typed().await?, queued) {
                Decision::Write => (),
                Decision::WriteAnyway => typed_over = true,
                Decision::Wait(until) => return deferred(until),
            }
        }
        self.type_whole(terminal, text).await?;
        let forced = order.forced.then(|| format!("trigger {}: the audit has the reason", order.number));
        // It is typed: a record that cannot be kept does not undo that.
        if let Err(error) = terminal.note(&Sent::now(&self.clock, text, queued, typed_over, forced)) {
            tracing::warn!("what was typed cannot be noted: {error}");
        }
        Ok(Attempt::Written)
    }

    /// Comes back when all of it is in the terminal.
    async fn type_whole(&self, terminal: &Terminal, text: &str) -> Result<(), FleetError> {
        let mut life = self.life.clone();
        let not_running = || FleetError::NotRunning(terminal.id);
        let before = life.borrow().as_ref().map(|life| life.typed).ok_or_else(not_running)?;
        terminal.write(text).await?;
        // And Enter. Somebody else's keys in between would count as ours, and come out in what was read: they are in
        // the same queue.
        let whole = before + text.len() as u64 + 1;
        let arrived = life.wait_for(|life| life.as_ref().is_none_or(|life| life.typed >= whole));
        match tokio::time::timeout(TAKEN_WITHIN, arrived).await {
            Ok(Ok(life)) if life.is_some() => Ok(()),
            Ok(_) => Err(not_running()),
            Err(_) => Err(FleetError::Refused("the terminal does not take what is typed".into())),
        }
    }

    /// Until the control plane knows it, or wants to know no more.
    pub(super) async fn report(&self, runtime: RuntimeId, told: TriggerReport) {
        let mut failures = 0;
        while let Err(error) = self.control.report_trigger(runtime, &told).await {
            if !error.is_transient() {
                return self.forget_if_gone(&error);
            }
            failures += 1;
            tokio::time::sleep(BACKOFF.wait(failures, &self.chance)).await;
        }
    }

    /// One report that is refused, such as for a trigger that is unknown, says nothing about the runtime.
    fn forget_if_gone(&self, error: &Error) {
        if error.status() == Some(404) || error.code() == Some("runtime_gone") {
            self.forget_if_refused(error);
        }
    }
}

/// What is said of an order (pure).
pub(super) fn what_became(order: &Order, via: Via, result: WriteResult, until: Option<DateTime<Utc>>) -> TriggerReport {
    TriggerReport { number: order.number, attempt: Some(order.attempt), result, via, until }
}

/// Since when an order waits (pure). A control plane whose clock is ahead makes nobody wait for longer.
fn queued(order: &Order, seen: Seen) -> DateTime<Utc> {
    order.created_at.min(seen.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_waits_since_it_was_asked_for_and_at_most_since_it_was_seen() {
        let at = |seconds: i64| DateTime::from_timestamp(1_795_000_000 + seconds, 0).expect("in range");
        let order = |created_at| Order {
            number: 1,
            attempt: 1,
            text: "x".into(),
            via: Via::Terminal,
            forced: false,
            created_at,
        };
        let seen = Seen { number: 1, since: at(10) };
        assert_eq!([queued(&order(at(4)), seen), queued(&order(at(99)), seen)], [at(4), at(10)]);
    }
}
