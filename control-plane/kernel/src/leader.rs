//! One leader for the background work of several control planes on one Postgres: whoever holds a lease in the
//! database runs it, and the others wait. On SQLite the one process leads, and none of this costs anything.
//!
//! It promises that what a leader writes after another has taken over is refused: each commit of its background
//! work holds the lease's epoch in place until it is made, and fails when the epoch has moved on. A lease is renewed
//! on connections of its own, so that a busy pool loses no lead.

pub(crate) mod store;

use std::sync::Arc;
use std::time::Duration;

use kit::Tasks;
use sqlx::types::Uuid;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::{Ctx, Db, Error, Result};

/// How long a lease holds. With [`RENEW_EVERY`] and [`IDLE_LIMIT`] another leads within ten seconds.
const TERM: Duration = Duration::from_secs(5);
/// How often it is renewed, and how often the others look whether it has lapsed.
const RENEW_EVERY: Duration = Duration::from_millis(1_500);
/// A leader that stands still inside a transaction holds up its successor for no longer.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(3);

/// Who leads, as far as this process knows.
#[derive(Debug, Clone)]
pub(crate) enum Leadership {
    /// Nobody else could.
    Ours,
    /// Whoever holds the lease.
    Elected(watch::Receiver<Option<Term>>),
}

/// A time of ours as the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term {
    epoch: i64,
    /// Reckoned from before the database was asked, so that it ends here no later than there.
    until: Instant,
}

/// Another control plane leads, or may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another control plane has taken over the background work")]
pub(crate) struct NotLeading;

impl From<NotLeading> for Error {
    fn from(not_leading: NotLeading) -> Self {
        Self::Unavailable { dependency: "the lead", source: Box::new(not_leading) }
    }
}

impl Leadership {
    /// The epoch in which we lead; none in it when nobody else could lead.
    pub(crate) fn led(&self) -> Option<Option<i64>> {
        match self {
            Self::Ours => Some(None),
            Self::Elected(term) => {
                let term = (*term.borrow())?;
                (Instant::now() < term.until).then_some(Some(term.epoch))
            }
        }
    }

    /// Whether we still lead in that epoch, as far as is known without asking.
    pub(crate) fn check(&self, epoch: i64) -> Result<()> {
        if self.led() == Some(Some(epoch)) { Ok(()) } else { Err(NotLeading.into()) }
    }

    /// Waits for news.
    pub(crate) async fn changed(&mut self) {
        match self {
            Self::Ours => std::future::pending().await,
            // Without an election there will be no news.
            Self::Elected(term) => {
                if term.changed().await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }
}

/// This process as a candidate.
#[derive(Debug)]
pub struct Election {
    ctx: Ctx,
    holder: Uuid,
    term: watch::Sender<Option<Term>>,
}

impl Election {
    /// Takes part for the context and all its later clones, which lead only when elected.
    pub fn enter(ctx: &mut Ctx) -> Arc<Self> {
        let (term, receiver) = watch::channel(None);
        let holder = Uuid::from_bytes(ctx.chance.bytes());
        let own = ctx.apart();
        ctx.leadership = Leadership::Elected(receiver);
        Arc::new(Self { ctx: own, holder, term })
    }

    /// Renews the lease, or takes it when it has lapsed. Gives whether we lead.
    pub async fn step(&self) -> Result<bool> {
        let asked_at = Instant::now();
        let mut tx = self.ctx.begin("kernel.leader").await?;
        let epoch = store::claim(&mut tx, self.holder, i64::try_from(TERM.as_micros()).unwrap_or(i64::MAX)).await?;
        let epoch = tx.commit(epoch).await?;
        let term = epoch.map(|epoch| Term { epoch, until: asked_at + TERM });
        let before = self.term.send_replace(term);
        match (before.map(|term| term.epoch), epoch) {
            (before, Some(epoch)) if before != Some(epoch) => tracing::info!(epoch, "leads the background work"),
            (Some(epoch), None) => tracing::warn!(epoch, "another control plane leads the background work now"),
            _ => (),
        }
        metrics::gauge!("background_work_led").set(f64::from(u8::from(term.is_some())));
        Ok(term.is_some())
    }

    /// Takes part until the tasks are told to stop.
    pub fn run(self: &Arc<Self>, tasks: &Tasks) {
        let this = Arc::clone(self);
        tasks.spawn_until_stopped("leader", async move {
            loop {
                // Without an answer the lease lapses by itself.
                match timeout(TERM / 2, this.step()).await {
                    Ok(Ok(_)) => (),
                    Ok(Err(error)) => tracing::warn!(%error, cause = error.causes(), "the lead was not renewed"),
                    Err(_) => tracing::warn!("the lead was not renewed: the database does not answer"),
                }
                tokio::time::sleep(RENEW_EVERY).await;
            }
        });
    }

    /// Gives the lead up, so that another need not wait for the lease to lapse. For when background work has ended.
    pub async fn leave(&self) {
        if matches!(&self.ctx.db, Db::Postgres(pool) if pool.is_closed()) {
            return;
        }
        self.term.send_replace(None);
        let left = async {
            let mut tx = self.ctx.begin("kernel.leave").await?;
            store::release(&mut tx, self.holder).await?;
            tx.commit(()).await
        };
        if let Ok(Err(error)) = timeout(TERM / 2, left).await {
            tracing::warn!(%error, "the lead was not given up; it lapses by itself");
        }
        if let Db::Postgres(pool) = &self.ctx.db {
            pool.close().await;
        }
    }
}

#[cfg(test)]
mod tests;
