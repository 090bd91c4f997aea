//! Throw-away databases of both dialects, and [`on_both!`](crate::on_both), which
//! runs one test body on each.
//!
//! The Postgres half wants `BIFROST_TEST_POSTGRES_URL`, the address of a server on
//! which databases may be made and dropped; `scripts/test` starts one.

use std::future::Future;

use chrono::{DateTime, Utc};
use kit::{Chance, Clock, Vars};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{Address, Ctx, Db, Inner, Migration, Sql, migrate};

/// Where the Postgres half of the tests finds its server.
pub const POSTGRES_URL: &str = "BIFROST_TEST_POSTGRES_URL";

/// Runs the body on a fresh SQLite database.
pub async fn with_sqlite<F: Future<Output = ()>>(migrations: &[Migration], body: impl FnOnce(Ctx) -> F) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let db = Db::open(&Address::Sqlite(directory.path().join("test.db"))).await.expect("opens");
    run(db, migrations, body).await;
}

/// Runs the body on a fresh Postgres database, and drops it afterwards.
pub async fn with_postgres<F: Future<Output = ()>>(migrations: &[Migration], body: impl FnOnce(Ctx) -> F) {
    let vars = Vars::from_process();
    let server = vars.text(POSTGRES_URL).expect("set BIFROST_TEST_POSTGRES_URL, or run scripts/test");
    let name = format!("test_{}", Chance::system().hex::<8>());
    copy_template(server, migrations, &name).await;
    let db = Db::open(&Address::Postgres(url_of(server, &name))).await.expect("opens");
    run(db, migrations, body).await;
    admin(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// Makes a database that has these migrations. They are carried out once on each server, into a template: a copy of
/// it takes a fraction of that time.
async fn copy_template(server: &str, migrations: &[Migration], name: &str) {
    let digest = migrations.iter().fold(Sha256::new(), |digest, one| {
        digest.chain_update(one.name).chain_update([0]).chain_update(one.up.postgres).chain_update([0])
    });
    let digest = digest.finalize();
    let template =
        format!("template_{:016x}", u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes")));
    let mut connection = PgConnection::connect(server).await.expect("the test server answers");
    let copy = format!("CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template}");
    if execute(&mut connection, &copy).await.is_err() {
        // Several tests may find that there is none; whoever dies in the middle leaves no half of one behind.
        execute(&mut connection, &format!("SELECT pg_advisory_lock({TEMPLATES})")).await.expect("locks");
        if execute(&mut connection, &copy).await.is_err() {
            execute(&mut connection, MAKE_ROLE).await.expect("makes the role");
            let unfinished = format!("{template}_unfinished");
            execute(&mut connection, &format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)"))
                .await
                .expect("drops");
            execute(&mut connection, &format!("CREATE DATABASE {unfinished} OWNER {ROLE}")).await.expect("makes it");
            let db = Db::open(&Address::Postgres(url_of(server, &unfinished))).await.expect("opens");
            migrate(&Ctx::new(db.clone(), Clock::manual(start()), Chance::seeded(7)), migrations)
                .await
                .expect("migrates");
            db.close().await;
            execute(&mut connection, &format!("ALTER DATABASE {unfinished} RENAME TO {template}"))
                .await
                .expect("renames");
            execute(&mut connection, &copy).await.expect("copies");
        }
    }
    connection.close().await.expect("closes");
}

/// Held while a template is made.
const TEMPLATES: i64 = 7_601;

/// Who owns the tests' databases, as an operator's own would: no superuser, whom row-level security lets pass.
const ROLE: &str = "bifrost_test";
/// Several tests may try at once.
const MAKE_ROLE: &str = "DO $$ BEGIN CREATE ROLE bifrost_test LOGIN PASSWORD 'bifrost_test'; \
                         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";

/// The address of that database for its owner.
fn url_of(server: &str, name: &str) -> String {
    let (_, place) = server.rsplit_once('@').expect("an address such as postgres://user@host:port/postgres");
    let (host, _) = place.split_once('/').expect("an address with the name of a database");
    format!("postgres://{ROLE}:{ROLE}@{host}/{name}")
}

/// Another control plane's context on the same database, with connections and wake-up calls of its own.
pub fn another(ctx: &Ctx) -> Ctx {
    Ctx::new(ctx.db.apart(), ctx.clock.clone(), Chance::system())
}

async fn admin(server: &str, statement: &str) {
    let mut connection = PgConnection::connect(server).await.expect("the test server answers");
    execute(&mut connection, statement).await.expect("the test server obeys");
    connection.close().await.expect("closes");
}

async fn execute(connection: &mut PgConnection, statement: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.map(drop)
}

/// When each test begins.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
}

async fn run<F: Future<Output = ()>>(db: Db, migrations: &[Migration], body: impl FnOnce(Ctx) -> F) {
    let ctx = Ctx::new(db.clone(), Clock::manual(start()), Chance::seeded(7));
    migrate(&ctx, migrations).await.expect("migrates");
    body(ctx).await;
    db.close().await;
}

/// Has the database prepare each statement: a text that one dialect does not understand is found here.
pub async fn prepare_all(ctx: &Ctx, statements: &[(&str, Sql)]) {
    use sqlx::{Executor, SqlSafeStr};
    for (name, sql) in statements {
        let mut tx = ctx.begin("test.prepare").await.expect("begins");
        let prepared = match tx.inner() {
            Inner::Sqlite(connection) => connection.prepare(AssertSqlSafe(sql.sqlite).into_sql_str()).await.map(drop),
            Inner::Postgres(connection) => {
                connection.prepare(AssertSqlSafe(sql.postgres).into_sql_str()).await.map(drop)
            }
        };
        if let Err(error) = prepared {
            panic!("{name}: {error}");
        }
    }
}

/// Tests that run on SQLite and on Postgres:
/// `on_both! { MIGRATIONS; async fn a_fact(ctx) { … } }`.
#[macro_export]
macro_rules! on_both {
    ($migrations:expr; $($(#[$meta:meta])* async fn $name:ident($ctx:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "what the test module imports is for all its tests")]
            use super::*;

            async fn body($ctx: $crate::Ctx) $body

            #[tokio::test]
            async fn sqlite() {
                $crate::testing::with_sqlite(&$migrations, body).await;
            }

            #[tokio::test]
            async fn postgres() {
                $crate::testing::with_postgres(&$migrations, body).await;
            }
        }
    )*};
}
