//! What the schema is, as text that can be compared (row T-1.11b): columns with their types, constraints, indexes,
//! triggers and walls, table by table. What it should be is what the migrations make of nothing.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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
    match &ctx.db {
        Db::Sqlite { .. } => {
            let folder = std::env::temp_dir().join(format!("bifrost-trial-{}", ctx.chance.hex::<8>()));
            std::fs::create_dir(&folder).map_err(|error| Error::Internal(error.into()))?;
            let schema = of_new_file(ctx, &folder.join("trial.db"), migrations).await;
            std::fs::remove_dir_all(&folder).ok();
            schema
        }
        Db::Postgres(_) => {
            let mut tx = ctx.of_maintenance().begin("kernel.schema.trial").await?;
            script(&mut tx, Sql { sqlite: TRIAL, postgres: TRIAL }, "trial").await?;
            make(&mut tx, migrations, ctx.now()).await?;
            describe(&mut tx).await
        }
    }
}

async fn of_new_file(ctx: &Ctx, file: &Path, migrations: &[Migration]) -> Result<Schema> {
    let trial = Ctx::new(Db::open(&Address::Sqlite(file.to_owned())).await?, ctx.clock.clone(), ctx.chance.clone());
    crate::migrate(&trial, migrations).await?;
    let schema = describe(&mut trial.read("kernel.schema.trial").await?).await;
    trial.db.close().await;
    schema
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
