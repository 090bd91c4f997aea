//! The grants of the executions whose events may still be in the spool.
//!
//! A machine writes of an execution only with the grant that came with its lease
//! (see [`wire::grant`]), and may deliver long after the lease and after a crash.
//! So grants lie beside the spool in the file `grants`, a line each, which is
//! written before the first event that needs one: [`Grants::save`] goes before
//! every line of the spool and does nothing when nothing is new. Like the spool it
//! is written without a sync.
//!
//! A grant is forgotten only when no event is unsent and [`KEPT`] newer ones are
//! there: a runner also speaks of its last few executions, such as when it puts
//! back a checkpoint. While the store is away the list thus grows, but no further
//! than the spool, since every execution puts events into it.
//!
//! Grants are not read here: an older runner passes on what a newer control plane
//! writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use wire::id::ExecutionId;
use wire::limit::GRANTS_PER_REQUEST;

/// Grants that are kept in any case, the newest ones.
const KEPT: usize = 128;
/// Far more than a grant takes; headers are bounded.
const GRANT_BYTES_MAX: usize = 512;

/// What a directory's sender was granted.
#[derive(Debug)]
pub(super) struct Grants {
    file: PathBuf,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    /// The newest last.
    known: Vec<Known>,
    is_saved: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    execution: ExecutionId,
    grant: String,
}

/// Why a grant was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the grant is no short text of one word")]
pub struct UnfitGrant;

impl Grants {
    /// Those that an earlier process left. A line that is none, or half of one, counts for nothing.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let file = directory.join("grants");
        let text = match fs::read(&file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let known = text.lines().filter_map(Known::read).collect();
        Ok(Self { file, book: Mutex::new(Book { known, is_saved: true }) })
    }

    /// Takes a grant in place of an earlier one for the same execution. Whether anything `is_unsent`
    /// decides whether old ones may go.
    pub(super) fn take(&self, execution: ExecutionId, grant: &str, is_unsent: bool) -> Result<(), UnfitGrant> {
        if !is_fit(grant) {
            return Err(UnfitGrant);
        }
        let new = Known { execution, grant: grant.to_owned() };
        let mut book = self.book();
        if book.known.contains(&new) {
            return Ok(());
        }
        book.known.retain(|known| known.execution != execution);
        book.known.push(new);
        if !is_unsent {
            let surplus = book.known.len().saturating_sub(KEPT);
            book.known.drain(..surplus);
        }
        book.is_saved = false;
        Ok(())
    }

    /// Sees to it that a crash leaves every grant taken so far.
    pub(super) fn save(&self) -> io::Result<()> {
        let mut book = self.book();
        if book.is_saved {
            return Ok(());
        }
        let text: String = book.known.iter().map(Known::line).collect();
        // On disk before anything is spooled that needs it, as a flush promises.
        kit::files::replace(&self.file, text.as_bytes(), 0o600)?;
        book.is_saved = true;
        Ok(())
    }

    /// How many of the lines, from the first on, may go in one request, and the grants they need.
    pub(super) fn of(&self, lines: &[Vec<u8>]) -> (usize, Vec<String>) {
        let book = self.book();
        if book.known.is_empty() {
            return (lines.len(), Vec::new());
        }
        let mut needed: Vec<&Known> = Vec::new();
        let mut fitting = lines.len();
        for (index, line) in lines.iter().enumerate() {
            let Some(known) = execution_of(line).and_then(|execution| book.find(execution)) else { continue };
            if needed.contains(&known) {
                continue;
            }
            if needed.len() == GRANTS_PER_REQUEST {
                fitting = index;
                break;
            }
            needed.push(known);
        }
        (fitting, needed.into_iter().map(|known| known.grant.clone()).collect())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// What waits is mostly of the newest.
    fn find(&self, execution: ExecutionId) -> Option<&Known> {
        self.known.iter().rev().find(|known| known.execution == execution)
    }
}

impl Known {
    fn read(line: &str) -> Option<Self> {
        let (execution, grant) = line.split_once(' ')?;
        let execution = execution.parse().ok()?;
        is_fit(grant).then(|| Self { execution, grant: grant.to_owned() })
    }

    fn line(&self) -> String {
        format!("{} {}\n", self.execution, self.grant)
    }
}

/// Whether the text can stand in a header, and in a line of the file.
fn is_fit(grant: &str) -> bool {
    (1..=GRANT_BYTES_MAX).contains(&grant.len()) && grant.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn execution_of(line: &[u8]) -> Option<ExecutionId> {
    #[derive(Deserialize)]
    struct About {
        execution_id: Option<ExecutionId>,
    }
    serde_json::from_slice::<About>(line).ok()?.execution_id
}

#[cfg(test)]
mod tests;
