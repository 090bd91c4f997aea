//! Agents that read nothing while they run: what waits for them is given to their session, which is taken up again when
//! they have ended. One that has ended with a question waits for its answer. The words go to the agent's standard input;
//! that it ends well means that it has read them.

use std::time::Duration;

use client::Error;
use tokio::time::{Instant, timeout};
use wire::id::RuntimeId;
use wire::runtime::{Order, TriggerReport, Via, WriteResult};

use super::delivery::{POLL, what_became};
use super::progress::State;
use super::{BACKOFF, LAST_WORDS_WITHIN, Supervisor};

/// How long an agent that has ended waits for words that may not be written yet.
const HELD_WITHIN: Duration = Duration::from_secs(120);

/// What an agent that has ended is taken up again for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// What waits already.
    WhatWaits,
    /// The answer to what it asked, whenever that comes.
    AnAnswer,
}

/// What is there for an agent that has ended.
enum Waiting {
    Nothing,
    /// Something that may not be written yet, such as while somebody has paused that.
    NotYet,
    Words(Order),
}

impl Supervisor {
    /// Says by which session the agent can be taken up again.
    pub(crate) fn can_resume(&self, session: &str) {
        self.state.send_modify(|state| state.session = Some(session.to_owned()));
    }

    /// What waits for an agent that has ended; nothing where nothing does, or the control plane cannot be asked, unless
    /// it asked something: then for as long as it takes.
    pub(crate) async fn next_words(&self, wanted: For) -> Option<Order> {
        let words = async {
            self.give_up_terminal().await;
            self.wait_for_words(wanted).await
        };
        tokio::select! {
            words = words => words,
            () = self.keep_registered() => None,
        }
    }

    /// What was typed and not read is nowhere any more: the control plane need not wait for its being read.
    async fn give_up_terminal(&self) {
        let State { runtime, progress, .. } = self.state.borrow().clone();
        if let Some(runtime) = runtime.filter(|_| progress.is_unread()) {
            let result = WriteResult::Failed;
            let report =
                TriggerReport { number: progress.written, attempt: None, result, via: Via::Terminal, until: None };
            // A control plane that is away finds out when nobody has read it for long enough.
            drop(timeout(LAST_WORDS_WITHIN, self.report(runtime, report)).await);
            self.state.send_modify(|state| state.progress.ends_unread());
        }
    }

    async fn wait_for_words(&self, wanted: For) -> Option<Order> {
        let mut state = self.state.subscribe();
        let (since, mut failures) = (Instant::now(), 0);
        loop {
            let registered = state.wait_for(|state| state.runtime.is_some());
            let runtime = match timeout(LAST_WORDS_WITHIN, registered).await {
                Ok(state) => state.ok()?.runtime?,
                Err(_) if wanted == For::AnAnswer => continue,
                Err(_) => return None,
            };
            let waiting = match timeout(POLL + LAST_WORDS_WITHIN, self.waiting(runtime, wanted)).await {
                Ok(waiting) => waiting,
                Err(_) if wanted == For::AnAnswer => continue,
                Err(_) => return None,
            };
            match waiting {
                Ok(Waiting::Nothing) => return None,
                Ok(Waiting::NotYet) if wanted == For::WhatWaits && since.elapsed() > HELD_WITHIN => return None,
                Ok(Waiting::NotYet) => failures = 0,
                Ok(Waiting::Words(order)) if order.number <= self.state.borrow().progress.read => {
                    self.answer(&order, true).await;
                }
                Ok(Waiting::Words(order)) => return Some(order),
                Err(error) => {
                    failures += 1;
                    self.forget_if_refused(&error);
                    let wait = BACKOFF.wait(failures, &self.chance);
                    if wanted == For::WhatWaits && wait > LAST_WORDS_WITHIN {
                        return None;
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn waiting(&self, runtime: RuntimeId, wanted: For) -> Result<Waiting, Error> {
        let now = self.state.borrow().clone();
        if self.heartbeat(runtime, &now).await?.waiting == 0 && wanted == For::WhatWaits {
            return Ok(Waiting::Nothing);
        }
        Ok(self.control.next_trigger(runtime, POLL).await?.map_or(Waiting::NotYet, Waiting::Words))
    }

    /// Says what became of words that were given to the session.
    pub(crate) async fn answer(&self, order: &Order, is_read: bool) {
        let Some(runtime) = self.state.borrow().runtime else { return };
        let result = if is_read { WriteResult::Written } else { WriteResult::Failed };
        let report = what_became(order, Via::Resume, result, None);
        if is_read {
            self.state.send_modify(|state| state.progress.read_through(order.number));
        }
        let told = async {
            self.report(runtime, report).await;
            let now = self.state.borrow().clone();
            self.heartbeat(runtime, &now).await
        };
        // What does not get through is said again by the next heartbeat, or when the same words come once more.
        drop(timeout(LAST_WORDS_WITHIN, told).await);
    }
}
