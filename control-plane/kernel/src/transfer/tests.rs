//! A filled database is the same wherever it is carried, and what cannot be carried is refused whole.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kit::{Chance, Clock};
use serde_json::json;
use sqlx::ConnectOptions as _;
use wire::id::TenantId;

use super::*;
use crate::idempotency::{self, Attempt};
use crate::outbox::{self, About};
use crate::testing::with_postgres;
use crate::{Address, Db, MIGRATIONS, Sql, execute};

const ROWS: usize = 300;

fn quiet(_: &str, _: u64) {}

/// Rows of every kind of value, among them odd ones.
async fn fill(ctx: &Ctx) {
    let tenant = ctx.id(TenantId::mint);
    let mut tx = ctx.begin("test.fill").await.expect("begins");
    for number in 0..ROWS {
        let payload =
            json!({ "z": number, "a": [1.5, -0.0, 1e300, null, true], "text": "ż\u{202e}\"\\ 🦀", "big": u64::MAX });
        outbox::push(ctx, &mut tx, "test", About::default(), &payload).await.expect("pushes");
    }
    let attempt = Attempt::new("key", "test", &"request").expect("a key");
    idempotency::remember(&mut tx, tenant, &attempt, &json!({ "b": 1, "a": 2 }), ctx.now()).await.expect("remembers");
    tx.commit(()).await.expect("commits");
    let mut tx = ctx.begin("test.told").await.expect("begins");
    let first = outbox::pending(&mut tx, 1).await.expect("reads");
    outbox::processed(&mut tx, &[first[0].id], ctx.now()).await.expect("notes");
    tx.commit(()).await.expect("commits");
}

async fn file(path: &Path) -> Ctx {
    let db = Db::open(&Address::Sqlite(path.to_owned())).await.expect("opens");
    Ctx::new(db, Clock::manual(chrono::DateTime::UNIX_EPOCH), Chance::seeded(3))
}

async fn content(ctx: &Ctx) -> Transferred {
    survey(&mut ctx.read("test.survey").await.expect("begins"), &mut quiet).await.expect("reads")
}

fn rows(transferred: &Transferred) -> BTreeMap<&str, u64> {
    transferred.tables.iter().map(|tally| (tally.table.as_str(), tally.rows)).collect()
}

async fn carry(from: &Ctx, to: &Ctx) -> Result<Transferred> {
    copy(from, to, MIGRATIONS, &mut quiet).await
}

fn address(ctx: &Ctx) -> Address {
    let Db::Postgres(pool) = &ctx.db else { panic!("it is Postgres") };
    Address::Postgres(pool.connect_options().to_url_lossy().to_string())
}

fn code(result: Result<Transferred>) -> &'static str {
    result.expect_err("it is refused").code()
}

#[tokio::test]
async fn a_filled_database_goes_to_postgres_and_back_and_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    with_postgres(MIGRATIONS, async |postgres| {
        let (first, last) = (file(&folder.path().join("first.db")).await, file(&folder.path().join("last.db")).await);
        crate::migrate(&first, MIGRATIONS).await.expect("migrates");
        fill(&first).await;
        let there = carry(&first, &postgres).await.expect("goes");
        // The new file has no schema yet.
        let back = carry(&postgres, &last).await.expect("comes back");
        // Each was compared with what arrived, in the types of Postgres.
        assert_eq!(there, back);
        assert_eq!(rows(&there)["outbox"], ROWS as u64);
        // Both number on behind what was carried.
        for ctx in [&postgres, &last] {
            let mut tx = ctx.begin("test.push").await.expect("begins");
            outbox::push(ctx, &mut tx, "newest", About::default(), &json!({})).await.expect("pushes");
            tx.commit(()).await.expect("commits");
            let mut tx = ctx.read("test.pending").await.expect("begins");
            let newest = outbox::pending(&mut tx, 1_000).await.expect("reads").pop().expect("is there");
            assert_eq!(newest.kind, "newest");
        }
    })
    .await;
}

crate::on_both! { MIGRATIONS;
    async fn a_target_with_rows_is_refused_and_stays_as_it_is(ctx) {
        let folder = tempfile::tempdir().unwrap();
        let source = file(&folder.path().join("source.db")).await;
        crate::migrate(&source, MIGRATIONS).await.expect("migrates");
        fill(&source).await;
        fill(&ctx).await;
        let before = content(&ctx).await;
        assert_eq!(code(carry(&source, &ctx).await), "database_not_empty");
        assert_eq!(content(&ctx).await, before);
    }

    async fn another_version_is_refused_on_either_side(ctx) {
        let folder = tempfile::tempdir().unwrap();
        let older = file(&folder.path().join("older.db")).await;
        crate::migrate(&older, &MIGRATIONS[..1]).await.expect("migrates");
        assert_eq!(code(carry(&older, &ctx).await), "schema_differs");
        assert_eq!(code(carry(&ctx, &older).await), "schema_differs");
    }

    async fn a_backup_restores_to_the_same_content(ctx) {
        fill(&ctx).await;
        let folder = tempfile::tempdir().unwrap();
        let (kept, restored) = (folder.path().join("kept.db"), folder.path().join("restored.db"));
        let backed_up = backup(&ctx, &kept, MIGRATIONS, &mut quiet).await.expect("backs up");
        assert_eq!(backed_up, content(&ctx).await);
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        let to = Address::Sqlite(restored.clone());
        let (clock, chance) = (ctx.clock.clone(), Chance::system());
        let back = restore(clock.clone(), chance.clone(), &kept, &to, MIGRATIONS, &mut quiet).await.expect("restores");
        assert_eq!(rows(&back), rows(&backed_up));
        assert_eq!(content(&file(&restored).await).await, back);
        if let Db::Sqlite { .. } = &ctx.db {
            assert_eq!(back, backed_up);
        }
        let again = restore(clock, chance, &kept, &to, MIGRATIONS, &mut quiet).await;
        assert_eq!((code(again), code(backup(&ctx, &kept, MIGRATIONS, &mut quiet).await)), ("file_exists", "file_exists"));
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("partial")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    async fn a_sound_database_passes_and_a_change_by_hand_is_named(ctx) {
        fill(&ctx).await;
        let problems = async || {
            let findings = check(&ctx, MIGRATIONS).await.expect("looks");
            findings.into_iter().flat_map(|finding| finding.problems).collect::<Vec<_>>()
        };
        assert_eq!(problems().await, [""; 0]);
        let mut tx = ctx.begin("test.change").await.expect("begins");
        let change = "DROP INDEX outbox_pending";
        execute!(tx, Sql { sqlite: change, postgres: change }).expect("drops");
        tx.commit(()).await.expect("commits");
        let found = problems().await;
        assert!(found.len() == 1 && found[0].contains("outbox_pending"), "{found:?}");
    }
}

#[tokio::test]
async fn a_backup_of_postgres_goes_back_to_postgres_and_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept.db");
    with_postgres(MIGRATIONS, async |first| {
        fill(&first).await;
        let backed_up = backup(&first, &kept, MIGRATIONS, &mut quiet).await.expect("backs up");
        with_postgres(&[], async |second| {
            let (clock, to) = (second.clock.clone(), address(&second));
            let back = restore(clock, Chance::system(), &kept, &to, MIGRATIONS, &mut quiet).await.expect("restores");
            assert_eq!((&back, content(&second).await), (&backed_up, content(&first).await));
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_backup_is_restored_into_an_empty_database_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let (source, kept) = (file(&folder.path().join("source.db")).await, folder.path().join("kept.db"));
    // Of an older version, which the restore brings up to date.
    crate::migrate(&source, &MIGRATIONS[..1]).await.expect("migrates");
    let backed_up = backup(&source, &kept, &MIGRATIONS[..1], &mut quiet).await.expect("backs up");
    with_postgres(&[], async |postgres| {
        let to = address(&postgres);
        let clock = postgres.clock.clone();
        let done = restore(clock, Chance::system(), &kept, &to, MIGRATIONS, &mut quiet).await.expect("restores");
        assert!(done.tables.len() > backed_up.tables.len());
        assert_eq!(content(&postgres).await, done);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_backup_or_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let to = Address::Sqlite(folder.path().join("restored.db"));
    let restore =
        async |file: &Path| code(restore(Clock::system(), Chance::system(), file, &to, MIGRATIONS, &mut quiet).await);
    assert_eq!(restore(&folder.path().join("nothing.db")).await, "not_found");
    let text = folder.path().join("text.db");
    std::fs::write(&text, "not a database ".repeat(1_000)).unwrap();
    assert_eq!(restore(&text).await, "damaged");
    let (source, kept) = (file(&folder.path().join("source.db")).await, folder.path().join("kept.db"));
    crate::migrate(&source, MIGRATIONS).await.expect("migrates");
    fill(&source).await;
    backup(&source, &kept, MIGRATIONS, &mut quiet).await.expect("backs up");
    let mut bytes = std::fs::read(&kept).unwrap();
    let length = bytes.len();
    bytes[length / 2..length / 2 + 8_192].fill(0xa5);
    std::fs::write(&kept, bytes).unwrap();
    assert_eq!(restore(&kept).await, "damaged");
    assert!(!folder.path().join("restored.db").exists());
}
