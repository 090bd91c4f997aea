//! The schema is written down (row T-1.11b): each table of each database in a file of `control-plane/schema`.
//! Whoever changes it by a migration changes its file too, and a reviewer sees what became of the whole. And what it
//! refuses is tried (row T-1.11a).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kernel::schema::{describe, differences};
use kernel::{Ctx, Db, Inner};

fn read(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).into_iter().flatten().map(|file| file.expect("can be listed").path());
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("is text"))
    };
    files.map(read).collect()
}

/// A rule of row-level security without its text, which each version of Postgres writes in its own way.
fn plain(line: &str) -> String {
    match line.split_once(" USING ").filter(|_| line.starts_with("policy ")) {
        Some((name, text)) if text.ends_with(" FORCED") => format!("{name} FORCED\n"),
        Some((name, _)) => format!("{name}\n"),
        None => format!("{line}\n"),
    }
}

kernel::on_both! { control_plane::migrations();
    async fn the_schema_is_as_it_is_written_down(ctx) {
        let dialect = match ctx.db {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        };
        let mut found = describe(&mut ctx.read("test.describe").await.expect("begins")).await.expect("describes");
        found.values_mut().for_each(|text| *text = text.lines().map(plain).collect());
        let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(dialect);
        let different = differences(&found, &read(&written));
        if different.is_empty() {
            return;
        }
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema").join(dialect);
        fs::remove_dir_all(&made).ok();
        fs::create_dir_all(&made).expect("a folder");
        for (table, text) in found {
            fs::write(made.join(table + ".txt"), text).expect("a file");
        }
        let (made, written) = (made.display(), written.display());
        panic!("if it is meant: rm -r {written}; cp -r {made} {written}\n{}", different.join("\n"));
    }
}

/// What each CHECK refuses: a table, a column, a value that may be, and one that may not, as SQL.
const CHECKED: &[(&str, &str, &str, &str)] = &[
    ("budgets", "allocated_micros", "0", "-1"),
    ("budgets", "period", "'week'", "'year'"),
    ("budgets", "reserved_micros", "0", "-1"),
    ("dependencies", "dependency_type", "'soft'", "'maybe'"),
    ("failure_strategies", "max_attempts", "1", "0"),
    ("holds", "scope", "'key'", "'nothing'"),
    ("key_limits", "max_running", "0", "-1"),
    ("key_limits", "rate_burst", "1", "0"),
    ("key_limits", "rate_per_seconds", "1", "0"),
    ("key_limits", "rate_tokens", "1", "0"),
    ("orphans", "kind", "'volume'", "'cat'"),
    ("provider_observation", "id", "1", "2"),
    ("runtimes", "backend", "'pty'", "'screen'"),
    ("runtimes", "management", "'managed'", "'mine'"),
    ("schedules", "catch_up", "'none'", "'all'"),
    ("schedules", "overlap", "'skip'", "'all'"),
    ("shares", "scope", "'tenant'", "'world'"),
    ("shares", "weight", "1", "0"),
    ("tasks", "budget_attempts", "0", "-1"),
    ("tasks", "budget_machine_seconds", "0", "-1"),
    ("tasks", "budget_micros", "0", "-1"),
    ("tasks", "budget_tokens", "0", "-1"),
    ("tasks", "effort_estimate", "0", "-1"),
    ("tasks", "priority", "5", "6"),
    ("tasks", "status", "'ready'", "'maybe'"),
    ("tasks", "waits_for", "0", "-1"),
    ("triggers", "state", "'pending'", "'maybe'"),
    ("triggers", "via", "'resume'", "'pigeon'"),
    ("volumes", "state", "'ready'", "'lost'"),
    ("workers", "capacity", "1", "0"),
    ("workers", "current_load", "0", "-1"),
    ("workers", "status", "'idle'", "'asleep'"),
];

/// A value for a column of this type, different for each place.
fn any(dialect: &str, kind: &str, place: usize) -> String {
    match (dialect, kind) {
        ("postgres", "uuid") => format!("CAST('00000000-0000-0000-0000-{place:012}' AS UUID)"),
        ("postgres", "bytea") => "'\\x00'".to_owned(),
        ("postgres", "jsonb") => "'[]'".to_owned(),
        ("postgres", "boolean") => "false".to_owned(),
        ("postgres", "timestamp with time zone") => "now()".to_owned(),
        ("sqlite", "BLOB") => format!("x'{place:032}'"),
        (_, "text" | "TEXT") => "'text'".to_owned(),
        _ => "1".to_owned(),
    }
}

kernel::on_both! { control_plane::migrations();
    // Row T-1.11a.
    async fn each_check_refuses_what_it_is_there_for(ctx) {
        let dialect = match ctx.db {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        };
        let mut refused = BTreeSet::new();
        for (table, column, good, bad) in CHECKED {
            let columns = columns(&ctx, table).await;
            let row = |value: &str| {
                // The checked ones as they may be, of the others those that must be there.
                let there = columns.iter().enumerate().filter_map(|(place, (name, kind, must_be))| {
                    let checked = CHECKED.iter().find(|one| (one.0, one.1) == (*table, name.as_str()));
                    let value = if name == column { Some(value.to_owned()) } else { checked.map(|one| one.2.to_owned()) };
                    Some((name.as_str(), value.or_else(|| must_be.then(|| any(dialect, kind, place)))?))
                });
                insertion(table, there)
            };
            let may_be = attempt(&ctx, &row(good)).await;
            assert!(!is_check(may_be.as_deref()), "{table}.{column} = {good}: {may_be:?}");
            let may_not = attempt(&ctx, &row(bad)).await;
            assert!(is_check(may_not.as_deref()), "{table}.{column} = {bad}: {may_not:?}");
            refused.insert(format!("{table}_{column}_check"));
        }
        let same = if dialect == "postgres" { "CAST('00000000-0000-0000-0000-000000000001' AS UUID)" } else { "x'01'" };
        let itself = columns(&ctx, "dependencies").await.into_iter().enumerate().filter(|(_, (_, _, must_be))| *must_be);
        let itself = itself.map(|(place, (name, kind, _))| {
            let value = match name.as_str() {
                "task_id" | "depends_on_task_id" => same.to_owned(),
                "dependency_type" => "'hard'".to_owned(),
                _ => any(dialect, &kind, place),
            };
            (name, value)
        });
        let may_not = attempt(&ctx, &insertion("dependencies", itself)).await;
        assert!(is_check(may_not.as_deref()), "{may_not:?}");
        refused.insert("dependencies_check".to_owned());
        // None is forgotten.
        if dialect == "postgres" {
            let described = describe(&mut ctx.read("test.describe").await.expect("begins")).await.expect("describes");
            let lines = described.values().flat_map(|text| text.lines());
            let checks = lines.filter_map(|line| line.strip_prefix("constraint ")?.split_once(" CHECK ").map(|(name, _)| name.to_owned()));
            assert_eq!(checks.collect::<BTreeSet<_>>(), refused);
        }
    }
}

/// The statement that inserts one row of these columns and values.
fn insertion<Name: AsRef<str>>(table: &str, row: impl Iterator<Item = (Name, String)>) -> String {
    let (names, values): (Vec<_>, Vec<_>) = row.map(|(name, value)| (name.as_ref().to_owned(), value)).unzip();
    format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))
}

/// The columns of a table: their names, their types, and whether each must be given.
async fn columns(ctx: &Ctx, table: &str) -> Vec<(String, String, bool)> {
    let mut tx = ctx.read("test.columns").await.expect("begins");
    let sql = match tx.inner() {
        Inner::Sqlite(_) => {
            "SELECT name, type, CAST(\"notnull\" AND dflt_value IS NULL AS BOOLEAN) FROM pragma_table_info($1)"
        }
        Inner::Postgres(_) => {
            "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT), \
             is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' \
             FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position"
        }
    };
    match tx.inner() {
        Inner::Sqlite(connection) => sqlx::query_as(sql).bind(table).fetch_all(&mut **connection).await,
        Inner::Postgres(connection) => sqlx::query_as(sql).bind(table).fetch_all(&mut **connection).await,
    }
    .expect("reads")
}

/// What the database says to a statement; nothing is kept of it.
async fn attempt(ctx: &Ctx, sql: &str) -> Option<String> {
    let mut tx = ctx.begin("test.attempt").await.expect("begins");
    let query = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
    match tx.inner() {
        Inner::Sqlite(connection) => query.execute(&mut **connection).await.err(),
        Inner::Postgres(connection) => query.execute(&mut **connection).await.err(),
    }
    .map(|error| error.to_string())
}

fn is_check(said: Option<&str>) -> bool {
    said.is_some_and(|said| said.to_lowercase().contains("check constraint"))
}
