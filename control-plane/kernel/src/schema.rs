//! What the schema is, as text that can be compared (row T-1.11b): columns with their types, constraints, indexes,
//! triggers and walls, table by table. What it should be is what the migrations make of nothing.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::migrate::{Migration, make, script};
use crate::{Address, Ctx, Db, Error, Result, Sql, Tx};
pub(crate) use store::STATEMENTS;

/// Each table's description.
pub type Schema = BTreeMap<String, String>;

/// Where the migrations are tried on Postgres; it is never committed.
const TRIAL: &str = "CREATE SCHEMA bifrost_trial; SET LOCAL search_path = bifrost_trial, public";

/// Describes every table.
pub async fn describe(tx: &mut Tx) -> Result<Schema> {
    let mut schema = Schema::new();
    for (table, line) in store::lines(tx).await? {
        let text = schema.entry(table).or_default();
        text.push_str(&line.split_whitespace().collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    Ok(schema)
}

/// What the schema should be: the migrations are tried beside it, and nothing of that stays.
pub async fn expected(ctx: &Ctx, migrations: &[Migration]) -> Result<Schema> {
    describe(&mut Trial::begin(ctx, migrations).await?.tx).await
}

/// A database as the migrations make it of nothing; it is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) tx: Tx,
    /// Where it is a file.
    _folder: Option<Folder>,
}

impl Trial {
    /// Of the same kind as the context's database.
    pub(crate) async fn begin(ctx: &Ctx, migrations: &[Migration]) -> Result<Self> {
        match &ctx.db {
            Db::Sqlite { .. } => {
                let folder = Folder::create(ctx).map_err(|error| Error::Internal(error.into()))?;
                let db = Db::open(&Address::Sqlite(folder.0.join("trial.db"))).await?;
                let trial = Ctx::new(db, ctx.clock.clone(), ctx.chance.clone());
                crate::migrate(&trial, migrations).await?;
                Ok(Self { tx: trial.read("kernel.schema.trial").await?, _folder: Some(folder) })
            }
            Db::Postgres(_) => {
                let mut tx = ctx.of_maintenance().begin("kernel.schema.trial").await?;
                script(&mut tx, Sql { sqlite: TRIAL, postgres: TRIAL }, "trial").await?;
                make(&mut tx, migrations, ctx.now()).await?;
                Ok(Self { tx, _folder: None })
            }
        }
    }
}

/// A folder of its own among the temporary ones.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create(ctx: &Ctx) -> io::Result<Self> {
        let folder = Self(std::env::temp_dir().join(format!("bifrost-trial-{}", ctx.chance.hex::<8>())));
        std::fs::create_dir(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// What differs between two schemas, one line each.
pub fn differences(found: &Schema, expected: &Schema) -> Vec<String> {
    let mut differences = Vec::new();
    for table in found.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
        let lines = |schema: &Schema| schema.get(table).cloned().unwrap_or_default();
        let (found, expected) = (lines(found), lines(expected));
        let missing = expected.lines().filter(|line| !found.lines().any(|other| other == *line));
        differences.extend(missing.map(|line| format!("{table}: missing: {line}")));
        let extra = found.lines().filter(|line| !expected.lines().any(|other| other == *line));
        differences.extend(extra.map(|line| format!("{table}: not expected: {line}")));
    }
    differences
}

#[cfg(test)]
mod tests;
