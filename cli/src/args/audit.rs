//! What can be written after `bifrost audit`.

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Only changes since then: 2h for the last two hours, or a time such as 2026-11-21T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub(crate) since: Option<Moment>,
    /// Only changes before then
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub(crate) until: Option<Moment>,
    /// Only changes by this author: api-key/ID, worker/ID, machine/ID or system/PART
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Only changes of things of this kind, such as task, or of one thing: its id, or task/ID
    #[arg(long, value_name = "KIND|ID", value_parser = EntityArgument::parse)]
    pub(crate) entity: Option<EntityArgument>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
}

/// A moment, as people name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So many seconds ago
    Ago(u64),
    /// By the calendar
    At(DateTime<Utc>),
}

impl Moment {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(at.to_utc()));
        }
        let ago = crate::duration::parse_seconds(text);
        ago.map(Self::Ago).map_err(|error| format!("{error}; or a time such as 2026-11-21T09:00:00Z"))
    }

    /// When that is.
    pub(crate) fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Ago(seconds) => now - i64::try_from(seconds).map_or(TimeDelta::MAX, TimeDelta::seconds),
            Self::At(at) => at,
        }
    }
}

/// What the changes are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntityArgument {
    pub(crate) kind: Option<String>,
    pub(crate) id: Option<String>,
}

impl EntityArgument {
    // Clap wants a result of whatever reads an option.
    #[expect(clippy::unnecessary_wraps, reason = "the signature of a value parser")]
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.split_once('/') {
            Some((kind, id)) => Self { kind: Some(kind.into()), id: Some(id.into()) },
            None if text.parse::<wire::id::TaskId>().is_ok() => Self { kind: None, id: Some(text.into()) },
            None => Self { kind: Some(text.into()), id: None },
        })
    }
}
