//! Carries the rows of one table, and counts and sums them.

use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Row as _};

use super::catalogue::Table;
use super::cell::{Cell, Kind, bind, read};
use super::{Progress, Tally};
use crate::{Error, Inner, Result, Sql, Tx, fetch_all};

/// Values in one statement: SQLite takes 32,766, Postgres 65,535.
const VALUES: usize = 8_000;
/// Rows between two words about the progress.
const PROGRESS_ROWS: u64 = 1_000;

/// What refers to another table; rows come in no order that would suit it.
const LINKS: Sql = Sql {
    sqlite: "SELECT '', '', '' WHERE false",
    postgres: "SELECT CAST(CAST(conrelid AS regclass) AS TEXT), quote_ident(conname), pg_get_constraintdef(oid) \
               FROM pg_constraint WHERE contype = 'f' AND connamespace = CAST(current_schema() AS regnamespace)",
};

/// A sum of rows in any order.
#[derive(Debug, Default)]
struct Sum {
    rows: u64,
    sum: u128,
}

impl Sum {
    fn add(&mut self, row: &[Cell]) {
        let mut digest = Sha256::new();
        row.iter().for_each(|cell| cell.digest(&mut digest));
        let half = digest.finalize().first_chunk().copied().unwrap_or_default();
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(half));
        self.rows += 1;
    }

    fn tally(self, table: &Table) -> Tally {
        Tally { table: table.name.clone(), rows: self.rows, sum: format!("{:032x}", self.sum) }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn columns(table: &Table) -> String {
    table.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

/// Every row.
fn rows<'a>(tx: &'a mut Tx, table: &'a Table) -> BoxStream<'a, std::result::Result<Vec<Cell>, sqlx::Error>> {
    let text = AssertSqlSafe(format!("SELECT {} FROM {}", columns(table), quoted(&table.name)));
    let kinds: Vec<Kind> = table.columns.iter().map(|column| column.kind).collect();
    match tx.inner() {
        Inner::Sqlite(connection) => sqlx::query(text)
            .fetch(&mut **connection)
            .map(move |row| {
                let row = row?;
                kinds.iter().enumerate().map(|(index, kind)| read!(row, index, kind)).collect()
            })
            .boxed(),
        Inner::Postgres(connection) => sqlx::query(text)
            .fetch(&mut **connection)
            .map(move |row| {
                let row = row?;
                kinds.iter().enumerate().map(|(index, kind)| read!(row, index, kind)).collect()
            })
            .boxed(),
    }
}

/// Whether the table has no row.
pub(super) async fn is_empty(tx: &mut Tx, table: &Table) -> Result<bool> {
    let mut rows = rows(tx, table);
    Ok(rows.try_next().await?.is_none())
}

/// Counts and sums a table.
pub(super) async fn tally(tx: &mut Tx, table: &Table, progress: Progress<'_>) -> Result<Tally> {
    let mut sum = Sum::default();
    let mut rows = rows(tx, table);
    while let Some(row) = rows.try_next().await? {
        sum.add(&row);
        if sum.rows.is_multiple_of(PROGRESS_ROWS) {
            progress(&table.name, sum.rows);
        }
    }
    Ok(sum.tally(table))
}

/// Carries a table's rows, and counts and sums what was read.
pub(super) async fn carry(source: &mut Tx, target: &mut Tx, table: &Table, progress: Progress<'_>) -> Result<Tally> {
    let most = VALUES / table.columns.len().max(1);
    let mut sum = Sum::default();
    let mut batch = Vec::with_capacity(most);
    let mut rows = rows(source, table);
    while let Some(row) = rows.try_next().await? {
        sum.add(&row);
        batch.push(row);
        if batch.len() == most {
            write(target, table, std::mem::take(&mut batch)).await?;
            progress(&table.name, sum.rows);
        }
    }
    write(target, table, batch).await?;
    Ok(sum.tally(table))
}

async fn write(target: &mut Tx, table: &Table, batch: Vec<Vec<Cell>>) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let width = table.columns.len();
    let row = |number: usize| {
        let values = (1..=width).map(|column| format!("${}", number * width + column));
        format!("({})", values.collect::<Vec<_>>().join(","))
    };
    let is_numbered = table.columns.iter().any(|column| column.is_identity);
    let is_postgres = matches!(target.inner(), Inner::Postgres(_));
    let overriding = if is_numbered && is_postgres { "OVERRIDING SYSTEM VALUE " } else { "" };
    let values = (0..batch.len()).map(row).collect::<Vec<_>>().join(",");
    let text = format!("INSERT INTO {} ({}) {overriding}VALUES {values}", quoted(&table.name), columns(table));
    match target.inner() {
        Inner::Sqlite(connection) => {
            let query = sqlx::query(AssertSqlSafe(text));
            let query = batch.into_iter().flatten().fold(query, |query, cell| bind!(query, cell));
            query.execute(&mut **connection).await?;
        }
        Inner::Postgres(connection) => {
            let query = sqlx::query(AssertSqlSafe(text));
            let query = batch.into_iter().flatten().fold(query, |query, cell| bind!(query, cell));
            query.execute(&mut **connection).await?;
        }
    }
    Ok(())
}

/// A link between tables that is off: its table, its name, its definition.
pub(super) type Link = (String, String, String);

/// Takes the links between tables off; the transaction puts them on again, or never was.
pub(super) async fn loosen(target: &mut Tx) -> Result<Vec<Link>> {
    if let Inner::Sqlite(_) = target.inner() {
        run(target, "PRAGMA defer_foreign_keys = ON".to_owned()).await?;
    }
    let links = fetch_all!(target, Link, LINKS)?;
    for (table, name, _) in &links {
        run(target, format!("ALTER TABLE {table} DROP CONSTRAINT {name}")).await?;
    }
    Ok(links)
}

/// Puts the links on again, each of which must hold, and lets numbering go on behind the highest number.
pub(super) async fn fasten(target: &mut Tx, tables: &[Table], links: Vec<Link>) -> Result<()> {
    for (table, name, definition) in links {
        run(target, format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")).await?;
    }
    if let Inner::Sqlite(_) = target.inner() {
        let broken = fetch_all!(
            target,
            (String,),
            Sql { sqlite: "SELECT \"table\" FROM pragma_foreign_key_check", postgres: "" }
        )?;
        if let Some((table,)) = broken.first() {
            return Err(Error::conflict("copy_differs", format!("a row of {table} refers to one that is not there")));
        }
        return Ok(());
    }
    for table in tables {
        for column in table.columns.iter().filter(|column| column.is_identity) {
            let (name, column) = (quoted(&table.name), quoted(&column.name));
            let sequence = format!("pg_get_serial_sequence('{name}', '{}')", column.trim_matches('"'));
            let highest = format!("SELECT max({column}) FROM {name}");
            run(target, format!("SELECT setval({sequence}, coalesce(({highest}), 1), ({highest}) IS NOT NULL)"))
                .await?;
        }
    }
    Ok(())
}

async fn run(tx: &mut Tx, text: String) -> Result<()> {
    match tx.inner() {
        Inner::Sqlite(connection) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **connection).await.map(drop)?,
        Inner::Postgres(connection) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **connection).await.map(drop)?,
    }
    Ok(())
}
