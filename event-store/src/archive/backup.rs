//! A copy of a log that is being written to, as it was at one moment.
//!
//! SQLite's backup copies pages as they are, on one snapshot, and what was copied is synced
//! piece by piece. Three times 1.2 GB beside a writer that syncs each commit: its longest
//! commit was 88 ms (160 ms with no copy at all). It was 452 ms with `VACUUM INTO`, which
//! builds tables and indexes anew, and 1.5 s with one sync at the end of the copy, behind
//! which the writer's own sync had to wait.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};

use super::verify::{self, Report, Wanted};
use super::{Database, Error, Partial, Stage, Watch};

/// Pages copied between two looks at whether to go on; 4 MiB.
const PAGES: i32 = 1_024;
/// How often what was copied is synced: every 32 MiB.
const STEPS_BETWEEN_SYNCS: usize = 8;

/// Writes the log of a store's data directory to a file that is not there yet, and verifies
/// what was written before it appears.
pub(crate) fn backup(data: &Path, target: &Path, watch: &Watch<'_>) -> Result<Report, Error> {
    let source = Database::of_store(data, watch)?;
    source.version()?;
    let partial = Partial::new(target)?;
    let report = copy(&source, &partial, watch)?;
    partial.install()?;
    Ok(report)
}

/// Writes the database to the file and verifies what was written.
pub(super) fn copy(source: &Database, partial: &Partial, watch: &Watch<'_>) -> Result<Report, Error> {
    copy_pages(source, partial, watch)?;
    let report = verify::verify(partial.path(), &Wanted::whole(), watch)?;
    match report.damage {
        None => Ok(report),
        Some(damage) => Err(Error::Damaged { path: source.path.clone(), damage }),
    }
}

fn copy_pages(source: &Database, partial: &Partial, watch: &Watch<'_>) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::OperationInterrupted) => {
            source.failed(error)
        }
        Some(ErrorCode::DiskFull) => Error::Full(partial.target().to_owned()),
        _ => Error::Write { path: partial.target().to_owned(), source: error.into() },
    };
    // Held until the end: without it, every write of the store would have the copy begin again.
    let snapshot = source.connection.unchecked_transaction().map_err(failed)?;
    snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed)?;
    source.settle()?;
    let mut target = Connection::open(partial.path()).map_err(failed)?;
    // Nobody relies on the file before it is synced as a whole.
    target.pragma_update(None, "synchronous", false).map_err(failed)?;
    {
        let backup = Backup::new(&snapshot, &mut target).map_err(failed)?;
        for steps in 1.. {
            let step = backup.step(PAGES).map_err(failed)?;
            if steps % STEPS_BETWEEN_SYNCS == 0 {
                partial.sync()?;
            }
            let progress = backup.progress();
            let total = u64::try_from(progress.pagecount).unwrap_or_default();
            let left = u64::try_from(progress.remaining).unwrap_or_default();
            watch.tell(Stage::Copying, total.saturating_sub(left), total)?;
            if step == StepResult::Done {
                break;
            }
        }
    }
    // One file that can be read anywhere, a read-only disk included; the store changes it back.
    target.pragma_update(None, "journal_mode", "DELETE").map_err(failed)?;
    target.close().map_err(|(_, error)| failed(error))
}
