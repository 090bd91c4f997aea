//! Which tables and columns there are to carry. What a database keeps for itself is left out: generated columns,
//! and on SQLite the tables behind a search index, which triggers fill.

use crate::transfer::cell::Kind;
use crate::{Error, Inner, Result, Sql, Tx, fetch_all};

/// What is another's to carry: the versions are made by the migrations, the lead is nobody's in a new place.
const LEFT_OUT: [&str; 2] = ["schema_migrations", "leadership"];

/// `true` marks a column that the database numbers by itself.
const COLUMNS: Sql = Sql {
    sqlite: "SELECT tables.name, columns.name, columns.type, false FROM pragma_table_list tables \
             JOIN pragma_table_xinfo(tables.name) columns \
             WHERE tables.schema = 'main' AND tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               AND columns.hidden = 0 ORDER BY tables.name, columns.cid",
    postgres: "SELECT CAST(tables.relname AS TEXT), CAST(columns.attname AS TEXT), CAST(types.typname AS TEXT), \
                      columns.attidentity <> '' \
               FROM pg_class tables JOIN pg_attribute columns ON columns.attrelid = tables.oid \
               JOIN pg_type types ON types.oid = columns.atttypid \
               WHERE tables.relkind IN ('r', 'p') AND tables.relnamespace = CAST(current_schema() AS regnamespace) \
                 AND columns.attnum > 0 AND NOT columns.attisdropped AND columns.attgenerated = '' \
               ORDER BY tables.relname COLLATE \"C\", columns.attnum",
};

/// A table to carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

/// A column to carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The database numbers it by itself.
    pub(super) is_identity: bool,
}

/// As the catalogue says it: table, column, type, whether it is numbered.
type Row = (String, String, String, bool);

async fn rows(tx: &mut Tx) -> Result<Vec<Row>> {
    let rows = fetch_all!(tx, Row, COLUMNS)?;
    Ok(rows.into_iter().filter(|(table, ..)| !LEFT_OUT.contains(&table.as_str())).collect())
}

/// Whether there is nothing yet.
pub(super) async fn is_bare(tx: &mut Tx) -> Result<bool> {
    Ok(rows(tx).await?.is_empty())
}

/// The tables of one database.
pub(super) async fn own(tx: &mut Tx) -> Result<Vec<Table>> {
    tables(rows(tx).await?)
}

/// The tables of two, which must be the same. Postgres' types are finer, so where one is Postgres they count.
pub(super) async fn shared(source: &mut Tx, target: &mut Tx) -> Result<Vec<Table>> {
    let target_is_finer = matches!(target.inner(), Inner::Postgres(_));
    let (source, target) = (rows(source).await?, rows(target).await?);
    let names = |rows: &[Row]| {
        let mut names: Vec<_> = rows.iter().map(|(table, column, ..)| format!("{table}.{column}")).collect();
        names.sort();
        names
    };
    let (here, there) = (names(&source), names(&target));
    let odd = here.iter().find(|name| !there.contains(name)).or(there.iter().find(|name| !here.contains(name)));
    if let Some(name) = odd {
        let message = format!("only one of the databases has {name}; `bifrost db check` says what is wrong with which");
        return Err(Error::conflict("schema_differs", message));
    }
    tables(if target_is_finer { target } else { source })
}

fn tables(rows: Vec<Row>) -> Result<Vec<Table>> {
    let mut tables: Vec<Table> = Vec::new();
    for (name, column, kind, is_identity) in rows {
        let Some(kind) = Kind::of(&kind) else {
            let message = format!("{name}.{column} is of the type {kind}, which cannot be carried");
            return Err(Error::conflict("type_unknown", message));
        };
        if tables.last().is_none_or(|table| table.name != name) {
            tables.push(Table { name: name.clone(), columns: Vec::new() });
        }
        if let Some(table) = tables.last_mut() {
            table.columns.push(Column { name: column, kind, is_identity });
        }
    }
    Ok(tables)
}
