//! Whatever changes something does so whole or not at all: a database that gives up at the last statement of an
//! operation, as it does when the control plane or the server dies there, is left as it was, and the same request
//! made again succeeds.

use std::collections::BTreeMap;

use kernel::Inner;
use kernel::schema::describe;

use super::*;

/// Tables that are only about how far others were read, which may go on whatever becomes of a request.
const PROGRESS: [&str; 2] = ["outbox_places", "webhook_progress"];

async fn run(ctx: &Ctx, sqlite: &str, postgres: &str) {
    let mut tx = ctx.begin("test.run").await.expect("begins");
    let query = |text: &str| sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned()));
    match tx.inner() {
        Inner::Sqlite(connection) => query(sqlite).execute(&mut **connection).await.map(drop),
        Inner::Postgres(connection) => query(postgres).execute(&mut **connection).await.map(drop),
    }
    .expect("is carried out");
    tx.commit(()).await.expect("commits");
}

/// Every audit is refused from now on. It is the last that a transaction writes.
async fn set_trap(ctx: &Ctx) {
    let sqlite = "CREATE TRIGGER trap BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'trap'); END";
    let postgres = "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trap''; END'; \
                    CREATE TRIGGER trap BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION trap()";
    run(ctx, sqlite, postgres).await;
}

async fn take_trap_away(ctx: &Ctx) {
    run(ctx, "DROP TRIGGER trap", "DROP TRIGGER trap ON audit_log; DROP FUNCTION trap").await;
}

/// All that is stored, each table as one text.
async fn contents(ctx: &Ctx) -> BTreeMap<String, String> {
    let mut tx = ctx.read("test.contents").await.expect("begins");
    let tables = describe(&mut tx).await.expect("describes").into_keys();
    let mut contents = BTreeMap::new();
    for table in tables.filter(|table| !PROGRESS.contains(&table.as_str())) {
        let (text,): (String,) = match tx.inner() {
            Inner::Sqlite(connection) => {
                let columns: Vec<(String,)> = sqlx::query_as("SELECT name FROM pragma_table_info($1)")
                    .bind(&table)
                    .fetch_all(&mut **connection)
                    .await
                    .expect("lists");
                let columns = columns.into_iter().filter(|(name,)| name != "position");
                let row: Vec<String> = columns.map(|(name,)| format!("quote(\"{name}\")")).collect();
                let rows = format!("SELECT {} AS line FROM \"{table}\" ORDER BY 1", row.join(" || ',' || "));
                let text = format!("SELECT coalesce(group_concat(line, char(10)), '') FROM ({rows})");
                sqlx::query_as(sqlx::AssertSqlSafe(text)).fetch_one(&mut **connection).await
            }
            Inner::Postgres(connection) => {
                let line = "CAST(to_jsonb(t) - 'position' AS TEXT)";
                let text = format!("SELECT coalesce(string_agg({line}, E'\\n' ORDER BY {line}), '') FROM {table} t");
                sqlx::query_as(sqlx::AssertSqlSafe(text)).fetch_one(&mut **connection).await
            }
        }
        .expect("reads");
        contents.insert(table, text);
    }
    contents
}

kernel::on_both! { crate::migrations();
    async fn an_operation_that_does_not_reach_its_end_has_changed_nothing(ctx) {
        let app = app(&ctx).await;
        operations::each_change(&ctx, &app, async |method, _, path, body| {
            let before = contents(&ctx).await;
            assert!(!before["api_keys"].is_empty(), "what is there is seen");
            set_trap(&ctx).await;
            let call = || ask(&app, method.parse().expect("a method"), path, Some(KEY), Some(body));
            let broken = call().await;
            // Of several things that are done each by itself, each says what became of it.
            let is_told = broken.status.is_server_error() || broken.body.to_string().contains("\"status\":500");
            assert!(is_told, "{method} {path}: {} {}", broken.status, broken.body);
            take_trap_away(&ctx).await;
            let after = contents(&ctx).await;
            for (table, text) in &before {
                assert_eq!(after.get(table), Some(text), "{method} {path} left something in {table}");
            }
            let again = call().await;
            assert!(again.status.is_success(), "{method} {path}: {}", again.body);
        })
        .await;
    }
}
