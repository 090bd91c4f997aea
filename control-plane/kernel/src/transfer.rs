//! Carries a whole database elsewhere: from SQLite to Postgres, back, or to one of its own kind; into a backup
//! file, which is an SQLite database whatever it was made of, and out of one.
//!
//! It promises: what is carried is one moment of the source; the target was empty and has the same schema, or the
//! transfer is refused before anything is written; every table is counted and summed on both sides, and a
//! difference undoes the whole; a file is there under its name only once it is whole and on disk.

mod backup;
mod catalogue;
mod cell;
mod check;
mod tables;

use serde::Serialize;

use crate::{Ctx, Error, Migration, Result, Tx};
pub use backup::{backup, restore};
pub use check::{Finding, check};

/// What was carried, and proven to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transferred {
    /// Each table.
    pub tables: Vec<Tally>,
}

/// One table's rows, and a sum of them that does not depend on their order. Where Postgres has a part in the
/// transfer it does not depend on the kind of the database either; SQLite alone cannot tell a time from a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The table.
    pub table: String,
    /// How many.
    pub rows: u64,
    /// In hexadecimal.
    pub sum: String,
}

/// Told of every table and how many of its rows are carried or compared.
pub type Progress<'a> = &'a mut (dyn FnMut(&str, u64) + Send);

/// Carries everything from one database to another, which must be empty.
pub async fn copy(from: &Ctx, to: &Ctx, migrations: &[Migration], progress: Progress<'_>) -> Result<Transferred> {
    let mut source = from.of_maintenance().read("kernel.copy.from").await?;
    check::versions(&mut source, migrations, "the source").await?;
    prepare(to, migrations).await?;
    let mut target = to.of_maintenance().begin("kernel.copy.to").await?;
    let tables = catalogue::shared(&mut source, &mut target).await?;
    for table in &tables {
        if !tables::is_empty(&mut target, table).await? {
            let message = format!("the target is not empty: {} has rows; name a new database", table.name);
            return Err(Error::conflict("database_not_empty", message));
        }
    }
    let links = tables::loosen(&mut target).await?;
    let mut sent = Vec::new();
    for table in &tables {
        sent.push(tables::carry(&mut source, &mut target, table, progress).await?);
    }
    tables::fasten(&mut target, &tables, links).await?;
    for (table, sent) in tables.iter().zip(&sent) {
        let arrived = tables::tally(&mut target, table, progress).await?;
        if arrived != *sent {
            let message =
                format!("{} did not arrive as it was sent ({} rows of {})", table.name, arrived.rows, sent.rows);
            return Err(Error::conflict("copy_differs", message));
        }
    }
    target.commit(Transferred { tables: sent }).await
}

/// Gives a new database its schema; one that has a schema must have this program's.
async fn prepare(to: &Ctx, migrations: &[Migration]) -> Result<()> {
    let mut target = to.of_maintenance().begin("kernel.copy.look").await?;
    if catalogue::is_bare(&mut target).await? {
        drop(target);
        crate::migrate(to, migrations).await?;
        return Ok(());
    }
    check::versions(&mut target, migrations, "the target").await
}

/// Counts and sums every table.
async fn survey(tx: &mut Tx, progress: Progress<'_>) -> Result<Transferred> {
    let mut tallies = Vec::new();
    for table in catalogue::own(tx).await? {
        tallies.push(tables::tally(tx, &table, progress).await?);
    }
    Ok(Transferred { tables: tallies })
}

#[cfg(test)]
mod tests;
