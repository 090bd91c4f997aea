//! Named SQL texts. One text where the dialects agree; where they do not, a
//! dialect's own ending. Each text begins with a comment that names it, so that
//! a slow statement can be found from `pg_stat_activity`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::{Error, Result};

/// One statement in both dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sql {
    /// As SQLite reads it.
    pub sqlite: &'static str,
    /// As Postgres reads it.
    pub postgres: &'static str,
}

/// A list of ids as one argument, which both dialects take apart: its SQL is
/// `IN (SELECT unhex(value) FROM json_each($1))` on SQLite and
/// `= ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON))))` on Postgres.
pub fn id_list(ids: impl IntoIterator<Item = sqlx::types::Uuid>) -> String {
    let quoted: Vec<String> = ids.into_iter().map(|id| format!("\"{}\"", id.simple())).collect();
    format!("[{}]", quoted.join(","))
}

/// Rows as one argument, which both dialects take apart: `FROM json_each($1)` with `value->>'name'` on SQLite,
/// `FROM json_to_recordset(CAST($1 AS JSON)) AS new(name TYPE, …)` on Postgres. Ids go in as [`hex`], times as
/// [`moment`].
pub fn rows(rows: &[impl Serialize]) -> Result<String> {
    serde_json::to_string(rows).map_err(|error| Error::Internal(error.into()))
}

/// An id inside [`rows`]: `unhex(value->>'name')` on SQLite, a `UUID` on Postgres.
pub fn hex(id: sqlx::types::Uuid) -> String {
    id.simple().to_string()
}

/// A time inside [`rows`]: the same text that a bound time becomes on SQLite, a `TIMESTAMPTZ` on Postgres.
pub fn moment(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// Declares a store's statements, and `STATEMENTS`, the list of them for the test that prepares all.
///
/// `NAME: "text";` serves both dialects. `NAME: "text" + lock;` appends `FOR UPDATE` on
/// Postgres; on SQLite the writer is alone anyway. `NAME: sqlite "…", postgres "…";` is for
/// texts that truly differ.
#[macro_export]
macro_rules! sql {
    ($($name:ident: $($text:literal)+ $(+ $lock:ident)? $(, postgres $postgres:literal)?;)*) => {
        $($crate::sql!(@one $name: $($text)+ $(+ $lock)? $(, postgres $postgres)?);)*
        /// Every statement of this store.
        pub(crate) const STATEMENTS: &[(&str, $crate::Sql)] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
    (@one $name:ident: $text:literal) => {
        const $name: $crate::Sql = $crate::Sql {
            sqlite: concat!("-- ", module_path!(), "::", stringify!($name), "\n", $text),
            postgres: concat!("-- ", module_path!(), "::", stringify!($name), "\n", $text),
        };
    };
    (@one $name:ident: $text:literal + lock) => {
        const $name: $crate::Sql = $crate::Sql {
            sqlite: concat!("-- ", module_path!(), "::", stringify!($name), "\n", $text),
            postgres: concat!("-- ", module_path!(), "::", stringify!($name), "\n", $text, " FOR UPDATE"),
        };
    };
    (@one $name:ident: $text:literal, postgres $postgres:literal) => {
        const $name: $crate::Sql = $crate::Sql {
            sqlite: concat!("-- ", module_path!(), "::", stringify!($name), "\n", $text),
            postgres: concat!("-- ", module_path!(), "::", stringify!($name), "\n", $postgres),
        };
    };
}

/// Runs one statement in a [`Tx`](crate::Tx) with the given arguments and gives the number of rows it changed.
#[macro_export]
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        match $tx.inner() {
            $crate::Inner::Sqlite(connection) => {
                $crate::__sqlx::query($sql.sqlite)$(.bind($argument))*.execute(&mut **connection).await
                    .map(|done| done.rows_affected())
            }
            $crate::Inner::Postgres(connection) => {
                $crate::__sqlx::query($sql.postgres)$(.bind($argument))*.execute(&mut **connection).await
                    .map(|done| done.rows_affected())
            }
        }
    };
}

/// Runs one query in a [`Tx`](crate::Tx) and gives its rows, each as the given `FromRow` type.
#[macro_export]
macro_rules! fetch_all {
    ($tx:expr, $row:ty, $sql:expr $(, $argument:expr)* $(,)?) => {
        $crate::fetch!(fetch_all, $tx, $row, $sql $(, $argument)*)
    };
}

/// Runs one query in a [`Tx`](crate::Tx) and gives its first row, if there is one.
#[macro_export]
macro_rules! fetch_optional {
    ($tx:expr, $row:ty, $sql:expr $(, $argument:expr)* $(,)?) => {
        $crate::fetch!(fetch_optional, $tx, $row, $sql $(, $argument)*)
    };
}

/// Runs one query in a [`Tx`](crate::Tx) that always gives a row.
#[macro_export]
macro_rules! fetch_one {
    ($tx:expr, $row:ty, $sql:expr $(, $argument:expr)* $(,)?) => {
        $crate::fetch!(fetch_one, $tx, $row, $sql $(, $argument)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! fetch {
    ($how:ident, $tx:expr, $row:ty, $sql:expr $(, $argument:expr)*) => {
        match $tx.inner() {
            $crate::Inner::Sqlite(connection) => {
                $crate::__sqlx::query_as::<_, $row>($sql.sqlite)$(.bind($argument))*.$how(&mut **connection).await
            }
            $crate::Inner::Postgres(connection) => {
                $crate::__sqlx::query_as::<_, $row>($sql.postgres)$(.bind($argument))*.$how(&mut **connection).await
            }
        }
    };
}
