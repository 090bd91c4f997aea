//! A power cut: what was not synced may be lost, and no task is that anybody was answered for or shown.
//!
//! The real program runs under load while strace writes down every write and sync of its files and every
//! byte it sends. From that record the files are built as a power cut at some moment could leave them, as
//! in the event store's test, and opened.

#[path = "../../../event-store/tests/power/files.rs"]
mod files;
#[path = "../../../event-store/tests/power/trace.rs"]
mod trace;

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::control::Control;
use kernel::{Address, Ctx, Db, Sql, fetch_all, outbox};
use kit::process::{Sig, command, signal_group};
use kit::{Chance, Clock, Tasks};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use wire::id::EventId;
use wire::signature::Key;
use wire::task::NewTask;
use work::tasks::{self, Filter};

use trace::Step;

const DEADLINE: Duration = Duration::from_secs(120);
const KEY: &str = "bifrost_0123456789abcdef";
const WRITERS: u64 = 8;
/// Enough for the journal to be folded into the database more than once.
const TASKS: u64 = 500;
const LARGE: usize = 40_000;
/// Moments at which the power is cut.
const CUTS: usize = 30;

fn task(number: u64) -> NewTask {
    let description = if number.is_multiple_of(2) { "x".repeat(LARGE) } else { String::new() };
    NewTask {
        title: format!("task-{number}"),
        description,
        priority: Default::default(),
        effort_estimate: None,
        spec: None,
        ..NewTask::default()
    }
}

/// Starts the program under strace and waits until it says that it serves.
async fn start_traced(data: &Path, record: &Path) -> (Child, Control) {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
    let mut command = command("strace");
    command.args(["-f", "-y", "-xx", "-s", "1000000", "-e", trace::CALLS, "-o"]).arg(record);
    command.arg(env!("CARGO_BIN_EXE_bifrost-control")).arg("--data").arg(data);
    command.args(["--listen", &address.to_string()]);
    command.env("BIFROST_API_KEY", KEY).env("FLY_EVENT_SECRET", Key::from_bytes([1; 32]).reveal());
    // Nobody is there.
    command.env("BIFROST_EVENTS_URL", "http://127.0.0.1:1").env("FLY_FLAPS_BASE_URL", "http://127.0.0.1:1");
    let mut child = command.env("FLY_API_TOKEN", "any").stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines();
    loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("says something");
        let line = line.expect("is text").expect("does not end");
        if line.contains("the control plane serves") {
            Tasks::new().spawn("log", async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, Control::new(&format!("http://{address}"), KEY));
        }
    }
}

/// Submits every task, each twice at once, while somebody looks for the newest; then ends the program.
async fn run_traced(data: &Path, record: &Path) {
    let (mut child, control) = start_traced(data, record).await;
    let next = Arc::new(AtomicU64::new(0));
    let (writers, readers) = (Tasks::new(), Tasks::new());
    for _ in 0..WRITERS {
        let (control, next) = (control.clone(), next.clone());
        writers.spawn("writer", async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= TASKS {
                    return;
                }
                let (task, key) = (task(number), number.to_string());
                let (first, again) = tokio::join!(control.submit(&task, &key), control.submit(&task, &key));
                assert_eq!(first.expect("is taken").id, again.expect("is the same").id);
            }
        });
    }
    let looking = control.clone();
    readers.spawn_until_stopped("reader", async move {
        loop {
            let number = next.load(Ordering::Relaxed) | 1;
            looking.search(&format!("task-{number}")).await.expect("answers");
        }
    });
    writers.stop_within(DEADLINE).await.expect("all is written");
    readers.stop_within(DEADLINE).await.expect("ends");
    signal_group(child.id().expect("runs"), Sig::SIGKILL).expect("is killed");
    child.wait().await.expect("ends");
}

/// The tasks in a database that is opened from these files, and those that the outbox tells of.
async fn stored(data: &Path) -> (HashSet<EventId>, HashSet<EventId>) {
    let db = Db::open(&Address::Sqlite(data.join("control.db"))).await.expect("opens");
    let ctx = Ctx::new(db, Clock::system(), Chance::seeded(1));
    let mut tx = ctx.read("test.stored").await.expect("begins");
    let check = Sql { sqlite: "PRAGMA integrity_check", postgres: "" };
    assert_eq!(fetch_all!(tx, (String,), check).expect("checks"), [("ok".to_owned(),)]);
    let mut ids = <(HashSet<_>, HashSet<_>)>::default();
    // After a cut so early that nobody is known yet there is nothing, and nothing was told.
    if let Ok(caller) = access::authenticate(&ctx, KEY).await {
        let everything = Filter { limit: Some(1_000), ..Default::default() };
        let tasks = tasks::list(&ctx, caller.tenant, everything).await.expect("lists").tasks;
        ids.0 = tasks.iter().map(|task| task.id.uuid().into()).collect();
        let outbox = outbox::pending(&mut tx, 10_000).await.expect("reads");
        ids.1 = outbox.iter().filter_map(|event| Some(event.task_id?.uuid().into())).collect();
    }
    drop(tx);
    ctx.db.close().await;
    ids
}

#[tokio::test]
async fn no_power_cut_takes_back_a_task_that_was_answered_for_or_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (data, record) = (folder.path().join("data"), folder.path().join("trace"));
    run_traced(&data, &record).await;
    let steps = trace::read(&record, &data).expect("the record can be read");
    let syncs = steps.iter().filter(|step| matches!(step, Step::Sync { file, .. } if file == "control.db-wal")).count();
    let copies = steps.iter().filter(|step| matches!(step, Step::Write { file, .. } if file == "control.db")).count();
    let told = trace::told_before(&steps, usize::MAX).len();
    assert!(syncs > 50 && copies > 4_000, "{syncs} syncs, {copies} pages copied: the record shows what it should");
    assert!(told >= usize::try_from(TASKS).unwrap(), "{told} tasks were told of");
    let chance = Chance::seeded(7);
    for cut in 0..CUTS {
        let line = steps[files::below(steps.len(), &chance)].began();
        let cut_data = folder.path().join(format!("cut-{cut}"));
        files::write_as_of(&steps, line, &chance, &cut_data);
        let (tasks, outbox) = stored(&cut_data).await;
        assert_eq!(tasks, outbox, "a cut at {line} tore a transaction apart");
        let told = trace::told_before(&steps, line);
        let lost: Vec<_> = told.difference(&tasks).collect();
        assert!(lost.is_empty(), "a power cut at line {line} took back {lost:?}");
        std::fs::remove_dir_all(&cut_data).unwrap();
    }
}
