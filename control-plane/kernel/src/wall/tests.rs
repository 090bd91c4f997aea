//! Rows T-1.12a–d and T-1.10b on the kernel's own tables, as a user who is no superuser.

use wire::id::TenantId;

use super::*;
use crate::testing::with_postgres;
use crate::{Db, Error, MIGRATIONS, Migration, Sql, execute, fetch_all, fetch_one, migrate};

const INSERT: &str = "INSERT INTO idempotency_keys (tenant_id, idempotency_key, digest, answer, created_at) \
                      VALUES ($1, $2, 'x', '1', $3)";
const KEYS: &str = "SELECT idempotency_key FROM idempotency_keys ORDER BY idempotency_key";

fn sql(text: &'static str) -> Sql {
    Sql { sqlite: text, postgres: text }
}

fn of(ctx: &Ctx, tenant: TenantId) -> Ctx {
    let own = ctx.of_request(None);
    own.belongs_to(tenant);
    own
}

async fn insert(ctx: &Ctx, tenant: TenantId, key: &str) -> Result<()> {
    let mut tx = ctx.begin("test.insert").await?;
    execute!(tx, sql(INSERT), tenant.uuid(), key, ctx.now())?;
    tx.commit(()).await
}

/// Two tenants with a row each.
async fn two_tenants(ctx: &Ctx) -> [TenantId; 2] {
    let tenants = [(); 2].map(|()| ctx.id(TenantId::mint));
    for (tenant, key) in tenants.iter().zip(["a", "b"]) {
        insert(ctx, *tenant, key).await.expect("the control plane itself may write for anybody");
    }
    tenants
}

async fn texts(ctx: &Ctx, query: &'static str) -> Vec<String> {
    let mut tx = ctx.begin("test.texts").await.expect("begins");
    let rows = fetch_all!(tx, (String,), sql(query)).expect("reads");
    rows.into_iter().map(|(text,)| text).collect()
}

async fn changes(ctx: &Ctx, statement: &'static str) -> u64 {
    let mut tx = ctx.begin("test.change").await.expect("begins");
    execute!(tx, sql(statement)).expect("is understood")
}

#[tokio::test]
async fn a_query_that_forgets_its_where_finds_no_other_tenants_rows_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        let [a, b] = two_tenants(&ctx).await;
        assert_eq!(texts(&of(&ctx, a), KEYS).await, ["a"]);
        assert_eq!(texts(&of(&ctx, b), KEYS).await, ["b"]);
        let joined = "SELECT two.idempotency_key FROM idempotency_keys one CROSS JOIN idempotency_keys two";
        assert_eq!(texts(&of(&ctx, a), joined).await, ["a"]);
        assert_eq!(changes(&of(&ctx, a), "UPDATE idempotency_keys SET digest = 'y'").await, 1);
        assert_eq!(changes(&of(&ctx, a), "DELETE FROM idempotency_keys").await, 1);
        let refused = insert(&of(&ctx, a), b, "c").await.expect_err("the row is another tenant's");
        assert!(refused.causes().contains("row-level security"), "{}", refused.causes());
    })
    .await;
}

#[tokio::test]
async fn the_control_planes_own_work_sees_everything_and_so_does_what_is_across_tenants_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        let [a, _] = two_tenants(&ctx).await;
        for everyones in [ctx.clone(), ctx.of_request(None), of(&ctx, a).across_tenants(), ctx.of_maintenance()] {
            assert_eq!(texts(&everyones, KEYS).await, ["a", "b"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_pooled_connection_takes_no_tenant_to_whoever_is_next_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        let [a, _] = two_tenants(&ctx).await;
        let Db::Postgres(pool) = &ctx.db else { panic!("it is Postgres") };
        let mut held = Vec::new();
        for _ in 0..pool.size() {
            texts(&of(&ctx, a), KEYS).await;
            held.push(pool.acquire().await.expect("connects"));
        }
        for mut connection in held {
            let left = sqlx::query_as::<_, (String,)>(KEYS).fetch_all(&mut *connection).await.expect("reads");
            assert_eq!(left, [], "outside of a transaction nothing is anybody's");
        }
    })
    .await;
}

#[tokio::test]
async fn the_older_name_of_the_setting_serves_too_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        let [a, _] = two_tenants(&ctx).await;
        let Db::Postgres(pool) = &ctx.db else { panic!("it is Postgres") };
        let mut tx = pool.begin().await.expect("begins");
        let set = "SELECT set_config('app.operator_id', $1, true)";
        sqlx::query(set).bind(a.to_string()).execute(&mut *tx).await.expect("sets");
        let rows = sqlx::query_as::<_, (String,)>(KEYS).fetch_all(&mut *tx).await.expect("reads");
        assert_eq!(rows, [("a".to_owned(),)]);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_a_migration_adds_gets_its_wall_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        let up = sql("CREATE TABLE extra (id BIGINT, tenant_id UUID NOT NULL)");
        let extra = Migration { name: "30000101000000_extra", up, down: sql("DROP TABLE extra") };
        let mut tx = ctx.begin("test.bare").await.expect("begins");
        execute!(tx, sql("CREATE TABLE bare (id BIGINT, tenant_id UUID NOT NULL)")).expect("creates");
        tx.commit(()).await.expect("commits");
        assert_eq!(unwalled(&ctx).await.expect("looks"), ["bare"]);
        migrate(&ctx, &[MIGRATIONS, &[extra]].concat()).await.expect("migrates");
        assert_eq!(unwalled(&ctx).await.expect("looks"), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_migration_finds_the_rows_behind_the_wall_and_may_change_its_column_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        let [a, _] = two_tenants(&ctx).await;
        let up = sql("UPDATE idempotency_keys SET idempotency_key = idempotency_key || '!'; \
             ALTER TABLE idempotency_keys ALTER COLUMN tenant_id SET DEFAULT gen_random_uuid(), \
             ALTER COLUMN tenant_id TYPE UUID USING tenant_id;");
        let extra = Migration { name: "30000101000000_extra", up, down: sql("") };
        migrate(&ctx, &[MIGRATIONS, &[extra]].concat()).await.expect("migrates");
        assert_eq!(texts(&ctx, KEYS).await, ["a!", "b!"]);
        assert_eq!(texts(&of(&ctx, a), KEYS).await, ["a!"]);
    })
    .await;
}

#[tokio::test]
async fn each_class_has_its_timeout_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        for (class, shown) in [(ctx.of_request(None), "10s"), (ctx.clone(), "1min"), (ctx.of_maintenance(), "0")] {
            assert_eq!(texts(&class, "SHOW statement_timeout").await, [shown]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_cancelled_and_says_so_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        let mut tx = ctx.begin("test.slow").await.expect("begins");
        execute!(tx, sql("SET LOCAL statement_timeout = 1")).expect("sets");
        let slow = fetch_one!(tx, (bool,), sql("SELECT pg_sleep(60) IS NULL")).expect_err("it is cancelled");
        assert_eq!(Error::from(slow).code(), "statement_timeout");
    })
    .await;
}
