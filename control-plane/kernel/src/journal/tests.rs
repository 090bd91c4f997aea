//! A commit is answered for once a sync covers it that began after it; one sync covers many.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use chrono::DateTime;
use kit::{Chance, Clock, Tasks};
use tokio::sync::mpsc as channel;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::{Ctx, Db, MIGRATIONS, RequestScope, Sql, execute, fetch_one, migrate};

const PATIENCE: Duration = Duration::from_secs(20);
const INSERT: &str = "INSERT INTO schema_migrations (name, applied_at) VALUES ($1, '2026-01-01')";
const COUNT: &str = "SELECT count(*) FROM schema_migrations WHERE applied_at = '2026-01-01'";

fn sql(text: &'static str) -> Sql {
    Sql { sqlite: text, postgres: text }
}

/// A disk that syncs when it is told to.
struct Disk {
    began: channel::UnboundedReceiver<()>,
    end: mpsc::Sender<io::Result<()>>,
}

impl Disk {
    /// Waits until a sync is under way.
    async fn has_begun(&mut self) {
        timeout(PATIENCE, self.began.recv()).await.expect("a sync begins").expect("the thread lives");
    }

    fn ends(&self, with: io::Result<()>) {
        self.end.send(with).expect("a sync waits for it");
    }
}

/// A database over such a disk, with its schema in place.
async fn database(folder: &Path) -> (Ctx, Disk) {
    let (started, began) = channel::unbounded_channel();
    let (end, ended) = mpsc::channel();
    let journal = || {
        Journal::start(move || {
            started.send(()).ok();
            ended.recv().unwrap_or(Ok(()))
        })
    };
    let db = Db::open_sqlite_with(&folder.join("test.db"), journal).await.expect("opens");
    let ctx = Ctx::new(db, Clock::manual(DateTime::UNIX_EPOCH), Chance::seeded(1));
    let mut disk = Disk { began, end };
    let (own, tasks) = (ctx.clone(), Tasks::new());
    let migrating = tasks.spawn("migrate", async move { migrate(&own, MIGRATIONS).await.expect("migrates") });
    disk.has_begun().await;
    disk.ends(Ok(()));
    migrating.await.expect("ends");
    (ctx, disk)
}

async fn insert(ctx: &Ctx, name: &str) -> Result<()> {
    let mut tx = ctx.begin("test.insert").await?;
    execute!(tx, sql(INSERT), name)?;
    tx.commit(()).await
}

fn commit(ctx: &Ctx, name: &'static str) -> JoinHandle<Result<()>> {
    let ctx = ctx.clone();
    Tasks::new().spawn("commit", async move { insert(&ctx, name).await })
}

async fn answer(commit: JoinHandle<Result<()>>) -> Result<()> {
    timeout(PATIENCE, commit).await.expect("is answered").expect("does not panic")
}

/// How many are committed, on disk or not.
async fn visible(ctx: &Ctx) -> i64 {
    let look = async {
        let mut tx = ctx.read("test.look").await.expect("begins");
        fetch_one!(tx, (i64,), sql(COUNT)).expect("reads").0
    };
    RequestScope::default().run(look).await
}

async fn until_visible(ctx: &Ctx, count: i64) {
    let seen = async { while visible(ctx).await < count {} };
    timeout(PATIENCE, seen).await.expect("is committed");
}

#[tokio::test]
async fn a_commit_is_answered_once_it_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (ctx, mut disk) = database(folder.path()).await;
    let first = commit(&ctx, "first");
    disk.has_begun().await;
    assert_eq!(visible(&ctx).await, 1);
    assert!(!first.is_finished());
    disk.ends(Ok(()));
    answer(first).await.expect("is on disk");
}

#[tokio::test]
async fn commits_go_on_beside_a_sync_and_share_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (ctx, mut disk) = database(folder.path()).await;
    let first = commit(&ctx, "first");
    disk.has_begun().await;
    let later = ["a", "b", "c", "d", "e"].map(|name| commit(&ctx, name));
    until_visible(&ctx, 6).await;
    disk.ends(Ok(()));
    answer(first).await.expect("the first sync covers it");
    disk.has_begun().await;
    assert!(later.iter().all(|commit| !commit.is_finished()), "the first sync began before they were committed");
    disk.ends(Ok(()));
    for commit in later {
        answer(commit).await.expect("the second sync covers all of them");
    }
    assert!(disk.began.is_empty(), "two syncs are enough");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_answered_for() {
    let folder = tempfile::tempdir().unwrap();
    let (ctx, mut disk) = database(folder.path()).await;
    let lost = commit(&ctx, "lost");
    disk.has_begun().await;
    disk.ends(Err(io::Error::from_raw_os_error(5)));
    let told = answer(lost).await.expect_err("it may not be on disk");
    assert_eq!(told.code(), "unavailable");
    assert!(told.causes().contains("could not be written to the disk"), "{}", told.causes());
    assert_eq!(ctx.begin("test").await.expect_err("refused").causes(), told.causes());
    assert_eq!(ctx.read("test").await.expect_err("refused").causes(), told.causes());
    assert_eq!(ctx.db.settle().await.expect_err("refused").causes(), told.causes());
}

#[tokio::test]
async fn background_work_reads_only_what_is_on_disk_and_a_request_says_that_it_saw_more() {
    let folder = tempfile::tempdir().unwrap();
    let (ctx, mut disk) = database(folder.path()).await;
    let writing = commit(&ctx, "first");
    disk.has_begun().await;
    let Db::Sqlite { journal, .. } = &ctx.db else { panic!("it is SQLite") };
    let (own, asked) = (ctx.clone(), journal.asked());
    let reading = Tasks::new().spawn("read", async move { own.read("test").await.map(drop) });
    let asks = async {
        while journal.asked() == asked {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, asks).await.expect("it asks for a sync of what it sees");
    let request = RequestScope::default();
    request.run(async { ctx.read("test").await.map(drop) }).await.expect("a request reads at once");
    assert!(request.has_seen() && !request.has_committed());
    disk.ends(Ok(()));
    answer(writing).await.expect("is on disk");
    // That sync began before it looked.
    disk.has_begun().await;
    assert!(!reading.is_finished());
    disk.ends(Ok(()));
    answer(reading).await.expect("reads");
    ctx.db.settle().await.expect("nothing is left to sync");
    assert!(disk.began.is_empty());
}

#[tokio::test]
async fn a_requests_own_commit_covers_what_it_saw() {
    let folder = tempfile::tempdir().unwrap();
    let (ctx, disk) = database(folder.path()).await;
    disk.ends(Ok(()));
    let request = RequestScope::default();
    request
        .run(async {
            ctx.read("test").await.map(drop).expect("reads");
            insert(&ctx, "own").await.expect("commits");
        })
        .await;
    assert!(!request.has_seen() && request.has_committed());
}

#[test]
fn a_journal_that_was_replaced_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let (database, path) = (folder.path().join("x.db"), folder.path().join("x.db-wal"));
    let mut journal = JournalFile::open(&database).expect("one that is not there has nothing to sync");
    for content in ["first", "second"] {
        std::fs::write(&path, content).unwrap();
        journal.sync().expect("syncs");
        assert_eq!(journal.synced_bytes(), Some(content.len() as u64));
        std::fs::remove_file(&path).unwrap();
    }
    journal.sync().expect("what was removed needs no sync");
    assert_eq!(journal.synced_bytes(), None);
}
