//! Back to an older schema, for an older program.

use std::path::Path;

use super::{Database, Error, Watch, read_error};
use crate::log::schema::{self, MIGRATIONS, MigrateError};
use crate::log::{self, DATABASE, OpenError};

/// What going back means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// What is gone afterwards, the newest first.
    pub(crate) losses: Vec<&'static str>,
}

/// Takes back every migration above `to`, once `confirm` has agreed to what that loses. No
/// store may use the directory.
pub(crate) fn migrate(
    data: &Path,
    to: u32,
    watch: &Watch<'_>,
    confirm: impl FnOnce(&Plan) -> Result<(), Error>,
) -> Result<Plan, Error> {
    let path = data.join(DATABASE);
    let database = Database::open(&path, watch)?;
    let _lock = log::lock(data)?;
    let found = database.version()?;
    if to > found {
        return Err(Error::NotBack { found, wanted: to });
    }
    let undone = MIGRATIONS.iter().rev().filter(|migration| (to + 1..=found).contains(&migration.version));
    let plan = Plan { from: found, to, losses: undone.map(|migration| migration.loses).collect() };
    if plan.losses.is_empty() {
        return Ok(plan);
    }
    confirm(&plan)?;
    drop(database);
    let failed = |error| read_error(&path, error);
    let mut connection = log::open_writable(&path).map_err(failed)?;
    schema::revert(&mut connection, MIGRATIONS, to).map_err(|error| match error {
        MigrateError::Newer { found, known } => OpenError::Newer { path: path.clone(), found, known }.into(),
        MigrateError::Sqlite(error) => failed(error),
    })?;
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").map_err(failed)?;
    Ok(plan)
}
