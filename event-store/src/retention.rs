//! Everything is kept, unless the operator says how long or how much: then the
//! oldest events go, in small steps between the writes of others, each recorded in
//! the log by the transaction that deletes.
//!
//! Only ever the oldest go, so an event that is dated in the future holds up those
//! behind it, and the newest always stays. What is deleted leaves free pages inside
//! the database, which new events take: the file does not grow, nor does it shrink.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use kit::Clock;
use wire::event::{Link, PrunedPayload};

use crate::log::{AppendError, Log, Old, ReadError};
use crate::volume::Amount;

/// How often to see whether something has to go.
const EVERY: Duration = Duration::from_secs(30);
/// Events that one transaction deletes at most, and about how many bytes.
const STEP_EVENTS: usize = 1_000;
const STEP_BYTES: u64 = 8 * 1024 * 1024;
/// Less than this is no log.
const LEAST_BYTES: u64 = 1024 * 1024;

/// What is kept; everything, where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct Keep {
    /// Delete events that are older than so many days [default: keep them for ever]
    #[arg(long = "keep-days", value_name = "N")]
    pub days: Option<NonZeroU32>,
    /// Delete the oldest events once all together take more, such as 800M [default: keep them all]
    #[arg(long = "keep-bytes", value_name = "BYTES")]
    pub bytes: Option<KeptBytes>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptBytes(u64);

/// The text is not a [`KeptBytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of bytes such as 800M or 2G, at least 1M")]
pub struct NotKeptBytes;

impl FromStr for KeptBytes {
    type Err = NotKeptBytes;

    fn from_str(text: &str) -> Result<Self, NotKeptBytes> {
        match text.parse() {
            Ok(Amount::Bytes(bytes)) if bytes >= LEAST_BYTES => Ok(Self(bytes)),
            _ => Err(NotKeptBytes),
        }
    }
}

impl Keep {
    /// These where something is said, else those.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { days: self.days.or(other.days), bytes: self.bytes.or(other.bytes) }
    }

    fn is_everything(self) -> bool {
        self == Self::default()
    }
}

/// Why a round ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the event log cannot be written: {0:?}")]
    Write(AppendError),
}

/// Deletes what need not be kept, again and again. Ends at once where everything is kept.
pub(crate) async fn enforce(keep: Keep, log: Log, clock: Clock) {
    if keep.is_everything() {
        return;
    }
    loop {
        match round(keep, &log, clock.now()).await {
            Ok(0) => (),
            Ok(deleted) => tracing::info!(deleted, "deleted the oldest events, as the retention asks"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "old events could not be deleted");
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Deletes what need not be kept now; how many events went.
pub(crate) async fn round(keep: Keep, log: &Log, now: DateTime<Utc>) -> Result<u64, PruneError> {
    // What comes during the round stays, above all its own records.
    let newest = log.head().seq;
    let cutoff = keep.days.map(|days| cutoff(days, now));
    let mut excess = match keep.bytes {
        Some(KeptBytes(keep)) => excess(log.pages().await?.used_bytes, keep),
        None => 0,
    };
    let mut deleted = 0;
    loop {
        let oldest = log.oldest(newest.saturating_sub(1), STEP_EVENTS).await?;
        let Some(step) = step(&oldest, cutoff, excess) else { return Ok(deleted) };
        let Some(link) = log.link(step.last).await? else { return Ok(deleted) };
        let payload = PrunedPayload { first: step.first, last: step.last, link: Link(*link.as_bytes()) };
        log.prune(&payload, now).await.map_err(PruneError::Write)?;
        metrics::counter!("event_store_events_pruned_total").increment(step.last - step.first + 1);
        deleted += step.last - step.first + 1;
        excess = excess.saturating_sub(step.bytes);
    }
}

/// Events before this are too old. On the hour, so that few steps do a day's work.
fn cutoff(days: NonZeroU32, now: DateTime<Utc>) -> DateTime<Utc> {
    let cutoff = now.checked_sub_signed(TimeDelta::days(days.get().into())).unwrap_or(DateTime::UNIX_EPOCH);
    cutoff.duration_trunc(TimeDelta::hours(1)).unwrap_or(cutoff)
}

/// What has to go once more than `keep` is used: a little more than needed, so that it is not
/// needed again at once.
fn excess(used: u64, keep: u64) -> u64 {
    if used > keep { used - keep + keep / 20 } else { 0 }
}

/// What one transaction deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    first: u64,
    last: u64,
    bytes: u64,
}

/// The longest run of the oldest events of which each is too old or too much. Pure.
fn step(oldest: &[Old], cutoff: Option<DateTime<Utc>>, excess: u64) -> Option<Step> {
    let mut step: Option<Step> = None;
    for old in oldest {
        let before = step.map_or(0, |step| step.bytes);
        let is_too_old = cutoff.is_some_and(|cutoff| old.created_at < cutoff);
        if before >= STEP_BYTES || !(is_too_old || before < excess) {
            break;
        }
        let first = step.map_or(old.seq, |step| step.first);
        step = Some(Step { first, last: old.seq, bytes: before + old.bytes });
    }
    step
}

#[cfg(test)]
mod tests;
