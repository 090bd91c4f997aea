//! When an orphan is destroyed: pure, so that every kind of it is a row of a test.
//!
//! A pool writes its intent before it calls the provider, so what no row ever knew
//! was made by another database: one that was lost, or is newer than the backup
//! that this one was restored from. What is there when a process looks first may be
//! the only copy of somebody's work, and only an operator can say that it is not.

use std::time::Duration;

use chrono::{DateTime, Utc};
use wire::machine::OrphanKind;

use crate::Settings;

/// An orphan, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    /// What it is.
    pub(super) kind: OrphanKind,
    /// Whether it costs what a machine costs that runs.
    pub(super) is_awake: bool,
    /// Whether a row once knew it: that it goes was decided.
    pub(super) was_known: bool,
}

/// For how long an orphan is only reported.
pub(super) fn reported_for(case: Case, settings: &Settings) -> Duration {
    let keeps_its_disk = settings.provider.sprites.is_some();
    match case.kind {
        OrphanKind::Machine if case.was_known || (case.is_awake && !keeps_its_disk) => settings.orphan_age,
        OrphanKind::Machine | OrphanKind::Volume => settings.orphan_keep,
    }
}

/// Whether this database did not see it come: no row ever knew it, and it was there when this process first looked,
/// at `since`. A list may lag, so its own date counts as well.
pub(super) fn is_unforeseen(was_known: bool, made_at: Option<DateTime<Utc>>, since: Option<DateTime<Utc>>) -> bool {
    let came_since = since.zip(made_at).is_some_and(|(since, made_at)| made_at > since);
    !was_known && !came_since
}

#[cfg(test)]
mod tests;
