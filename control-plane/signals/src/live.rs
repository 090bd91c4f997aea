//! The live stream: whoever follows it hears of what happens while it happens,
//! each event once and in the order of its place in the outbox, and can go on
//! behind any place after a break.
//!
//! One reader asks the database for all followers. A follower that is new, or too
//! slow for the few events that are kept for it in memory, reads the outbox itself,
//! page by page, until it has caught up: it misses nothing and holds up nobody. What
//! is no longer in the outbox is told as a gap.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::outbox::{self, Placed};
use kernel::{Ctx, Error, Reconciler, Result};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use wire::id::{TaskId, TenantId};
use wire::webhook::Happening;

use crate::happening::happening;
use crate::webhooks::policy::{is_pattern, wants};

/// Events read at once.
const BATCH: i64 = 200;
/// Events kept in memory for followers that are a little slow.
const BUFFER: usize = 256;
/// Who may follow at once, on one control plane.
const FOLLOWERS_MAX: usize = 1_000;
/// Event types that one follower names.
const TYPES_MAX: usize = 50;

/// The stream. Clones share it.
#[derive(Debug, Clone)]
pub struct Live {
    feed: Sender<Arc<Placed>>,
    /// The place of the last event that was passed on; none while nobody follows.
    passed_on: Arc<Mutex<Option<i64>>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { feed: broadcast::channel(BUFFER).0, passed_on: Arc::default() }
    }
}

impl Live {
    fn passed_on(&self) -> MutexGuard<'_, Option<i64>> {
        self.passed_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to follow behind the place, or from now on.
    pub async fn follow(&self, ctx: &Ctx, after: Option<i64>, wanted: Wanted) -> Result<Follower> {
        if self.feed.receiver_count() >= FOLLOWERS_MAX {
            let source = format!("{FOLLOWERS_MAX} follow it already").into();
            return Err(Error::Unavailable { dependency: "the live stream", source });
        }
        let now_at = latest(ctx).await?;
        let feed = {
            let mut passed_on = self.passed_on();
            passed_on.get_or_insert(now_at);
            self.feed.subscribe()
        };
        // A place that is not reached yet is another database's.
        let after = after.filter(|after| (0..=now_at).contains(after)).unwrap_or(now_at);
        Ok(Follower { ctx: ctx.clone(), feed, after, is_behind: true, page: VecDeque::new(), wanted })
    }

    /// Where to go on from, or nothing to do.
    fn next_from(&self) -> Option<i64> {
        let mut passed_on = self.passed_on();
        if self.feed.receiver_count() == 0 {
            *passed_on = None;
        }
        *passed_on
    }
}

/// Gives everything its place; the last one.
async fn latest(ctx: &Ctx) -> Result<i64> {
    let mut tx = ctx.read("live.latest").await?;
    let (last, has_more) = outbox::last_place(&mut tx).await?;
    if !has_more {
        return Ok(last);
    }
    drop(tx);
    let mut tx = ctx.begin("live.place").await?;
    outbox::place(&mut tx, i64::MAX).await?;
    let (last, _) = outbox::last_place(&mut tx).await?;
    tx.commit(last).await
}

/// The reconciler that reads for all followers.
#[derive(Debug, Clone)]
pub struct LiveFeed(pub Live);

impl Reconciler for LiveFeed {
    const NAME: &'static str = outbox::LIVE_NUDGE;
    const EVERY: Duration = Duration::from_secs(1);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let Some(after) = self.0.next_from() else { return Ok(0) };
        latest(ctx).await?;
        let mut tx = ctx.read("live.read").await?;
        let events = outbox::behind(&mut tx, after, BATCH).await?;
        for event in &events {
            // Nobody there any more: the next step sees to that.
            self.0.feed.send(Arc::new(event.clone())).ok();
        }
        if let Some(last) = events.last() {
            *self.0.passed_on() = Some(last.place);
        }
        Ok(events.len())
    }
}

/// What a follower wants to hear of.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose events.
    pub tenant: TenantId,
    /// Also what all tenants share, as the pool's machines are.
    pub is_shared_wanted: bool,
    /// Only this task's.
    pub task: Option<TaskId>,
    /// Only events of these types; all when empty.
    pub types: Vec<String>,
}

impl Wanted {
    /// Reads types separated by commas, such as `task.*,machine.state`.
    pub fn types(text: &str) -> Result<Vec<String>> {
        let types: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
        if types.len() > TYPES_MAX || !types.iter().all(|pattern| is_pattern(pattern)) {
            let message =
                format!("must be at most {TYPES_MAX} event types such as task.started or task.*, with commas between");
            return Err(Error::invalid("types", message));
        }
        Ok(types)
    }

    fn includes(&self, event: &Placed) -> bool {
        let is_visible = event.tenant.map_or(self.is_shared_wanted, |tenant| tenant == self.tenant);
        let is_of_task = self.task.is_none() || self.task == event.task;
        is_visible && is_of_task && (self.types.is_empty() || wants(&self.types, &event.kind))
    }
}

/// What a follower hears next.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Something happened, at this place.
    Happened(i64, Box<Happening>),
    /// What happened behind the one place and before the other is no longer kept.
    Gap {
        /// Heard up to here.
        after: i64,
        /// And from here on.
        before: i64,
    },
}

/// Somebody who follows.
#[derive(Debug)]
pub struct Follower {
    ctx: Ctx,
    feed: Receiver<Arc<Placed>>,
    after: i64,
    is_behind: bool,
    page: VecDeque<Placed>,
    wanted: Wanted,
}

impl Follower {
    /// Whether it follows one task alone.
    pub fn is_of_one_task(&self) -> bool {
        self.wanted.task.is_some()
    }

    /// The place up to which everything was heard.
    pub fn place(&self) -> i64 {
        self.after
    }

    /// What happens next that is wanted; waits for it. Nothing at the end of the process.
    pub async fn next(&mut self) -> Result<Option<News>> {
        loop {
            let event = if let Some(event) = self.page.pop_front() {
                Arc::new(event)
            } else if self.is_behind {
                if let Some(gap) = self.read_on().await? {
                    return Ok(Some(gap));
                }
                continue;
            } else {
                match self.feed.recv().await {
                    Ok(event) if event.place <= self.after => continue,
                    Ok(event) if event.place == self.after + 1 => event,
                    // Something lies between: it is read from the outbox, and this one with it.
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        self.is_behind = true;
                        continue;
                    }
                    Err(RecvError::Closed) => return Ok(None),
                }
            };
            self.after = event.place;
            if self.wanted.includes(&event) {
                return Ok(Some(News::Happened(event.place, Box::new(happening(&event, &event.kind)))));
            }
        }
    }

    /// Reads the next page of the outbox; gives the gap before it, if there is one.
    async fn read_on(&mut self) -> Result<Option<News>> {
        let mut tx = self.ctx.read("live.catch_up").await?;
        self.page = outbox::behind(&mut tx, self.after, BATCH).await?.into();
        let Some(first) = self.page.front() else {
            self.is_behind = false;
            return Ok(None);
        };
        let (after, before) = (self.after, first.place);
        if before == after + 1 {
            return Ok(None);
        }
        self.after = before - 1;
        Ok(Some(News::Gap { after, before }))
    }
}

#[cfg(test)]
mod tests;
