//! How SQLite carries each statement out is written down, as the schema is. Whoever changes a statement or an index
//! changes that file too, and a reviewer sees which statement has begun to read a whole table. (On Postgres the settings
//! of each connection keep it to its indexes; see `kernel::Db`.)

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use kernel::{Inner, Sql, Tx};

fn statements() -> Vec<(&'static str, Sql)> {
    let slices =
        [access::statements(), pool::statements(), runtimes::statements(), signals::statements(), work::statements()];
    [kernel::statements(), slices.concat()].concat()
}

/// The steps of a plan, in their order.
async fn plan(tx: &mut Tx, sql: &str) -> Vec<String> {
    let Inner::Sqlite(connection) = tx.inner() else { unreachable!("this is SQLite") };
    let steps = sqlx::query_as::<_, (i64, i64, i64, String)>(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    steps.fetch_all(&mut **connection).await.expect("explains").into_iter().map(|step| step.3).collect()
}

#[tokio::test]
async fn each_statement_finds_its_rows_as_it_is_written_down() {
    kernel::testing::with_sqlite(&control_plane::migrations(), async |ctx| {
        let mut tx = ctx.begin("test.plans").await.expect("begins");
        let mut found = String::new();
        for (name, sql) in statements() {
            let steps = plan(&mut tx, sql.sqlite).await;
            // The parts of a plan that read rows.
            let steps = steps.iter().filter(|step| step.starts_with("SCAN") || step.starts_with("SEARCH"));
            let steps = steps.filter(|step| !step.contains("VIRTUAL TABLE") && *step != "SCAN CONSTANT ROW");
            let steps: Vec<&str> = steps.map(String::as_str).collect();
            if !steps.is_empty() {
                writeln!(found, "{name}: {}", steps.join("; ")).expect("fits");
            }
        }
        let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/sqlite-plans.txt");
        let expected = fs::read_to_string(&written).unwrap_or_default();
        if found == expected {
            return;
        }
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sqlite-plans.txt");
        fs::write(&made, &found).expect("a file");
        let new = found.lines().filter(|line| !expected.lines().any(|other| other == *line));
        let new: Vec<&str> = new.collect();
        panic!("if it is meant: cp {} {}\n{}", made.display(), written.display(), new.join("\n"));
    })
    .await;
}
