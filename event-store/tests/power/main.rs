//! A power cut: whatever was not synced may be lost, and nothing that was acknowledged
//! or shown to a reader is.
//!
//! The real program runs under load while strace writes down every write and sync of its
//! files and every byte it sends. From that record the files are built as a power cut at
//! some moment could leave them: synced writes are there, of the others each may be there,
//! missing or torn. Then the store is started on them.

mod files;
mod trace;

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::DateTime;
use client::events::{EventStore, Signer};
use kit::process::{Sig, command, signal_group};
use kit::starting::address;
use kit::{Chance, Clock, Tasks};
use serde_json::value::to_raw_value;
use tokio::net::TcpListener;
use tokio::process::Child;
use wire::event::{Event, StoredEvent};
use wire::id::{EventId, TaskId};
use wire::signature::Key;

use trace::Step;

const DEADLINE: Duration = Duration::from_secs(120);
const WRITERS: u64 = 8;
/// Enough for the journal to begin anew more than once.
const EVENTS: u64 = 800;
const LARGE: usize = 40_000;
/// Moments at which the power is cut.
const CUTS: usize = 30;
/// Some of them while the store has only begun.
const EARLY: usize = 400;

fn key() -> Key {
    Key::from_bytes([1; 32])
}

fn signer() -> Signer {
    Signer { key: key(), key_id: None, clock: Clock::system(), chance: Chance::system() }
}

fn followed_task() -> TaskId {
    TaskId::mint(DateTime::UNIX_EPOCH, [1; 10])
}

/// Every other one is large; the small ones are of the task that is followed.
fn event(number: u64) -> Event {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let is_large = number.is_multiple_of(2);
    let filling = if is_large { "x".repeat(LARGE) } else { String::new() };
    Event {
        id: EventId::mint(DateTime::UNIX_EPOCH, random),
        kind: "test".into(),
        task_id: (!is_large).then(followed_task),
        execution_id: None,
        producer: "tests".into(),
        created_at: DateTime::UNIX_EPOCH,
        schema_version: 1,
        payload: to_raw_value(&format!("{number} {filling}")).expect("a text is JSON"),
    }
}

/// Starts the program under strace and waits until it says where it listens.
async fn start_traced(data: &Path, record: &Path) -> (Child, EventStore) {
    let mut command = command("strace");
    command.args(["-f", "-y", "-xx", "-s", "1000000", "-e", trace::CALLS, "-o"]).arg(record);
    command.arg(env!("CARGO_BIN_EXE_bifrost-events")).args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut child = command.env("FLY_EVENT_SECRET", key().reveal()).stderr(Stdio::piped()).spawn().expect("starts");
    let address = address(&mut child).await;
    (child, EventStore::new(&format!("http://{address}"), signer()))
}

/// Writes every event, while somebody follows, then ends the program at once.
async fn run_traced(data: &Path, record: &Path) {
    let (mut child, store) = start_traced(data, record).await;
    let mut followed = store.follow(Some(followed_task()), 0).await.expect("follows");
    let next = Arc::new(AtomicU64::new(0));
    let writers = Tasks::new();
    for _ in 0..WRITERS {
        let (store, next) = (store.clone(), next.clone());
        writers.spawn("writer", async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= EVENTS {
                    return;
                }
                store.append(&[event(number)]).await.expect("stores");
            }
        });
    }
    for _ in 0..EVENTS / 2 {
        tokio::time::timeout(DEADLINE, followed.next()).await.expect("comes").expect("is open");
    }
    writers.stop_within(DEADLINE).await.expect("all is written");
    signal_group(child.id().expect("runs"), Sig::SIGKILL).expect("is killed");
    child.wait().await.expect("ends");
}

/// Everything in a store that is started on these files.
async fn stored(data: &Path) -> Vec<StoredEvent> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let store = EventStore::new(&format!("http://{}", listener.local_addr().expect("bound")), signer());
    let config = event_store::Config::new(data.to_owned(), key());
    let tasks = Tasks::new();
    event_store::start(config, listener, Clock::system(), None, &tasks).await.expect("starts");
    let mut events = Vec::new();
    loop {
        let after = events.last().map_or(0, |event: &StoredEvent| event.seq);
        let page = store.feed(after, 10_000).await.expect("reads");
        if page.events.is_empty() {
            break;
        }
        events.extend(page.events);
    }
    tasks.stop_within(DEADLINE).await.expect("ends");
    events
}

#[tokio::test]
async fn no_power_cut_takes_back_what_was_acknowledged_or_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (data, record) = (folder.path().join("data"), folder.path().join("trace"));
    run_traced(&data, &record).await;
    let steps = trace::read(&record, &data).expect("the record can be read");
    let syncs = steps.iter().filter(|step| matches!(step, Step::Sync { .. })).count();
    let copies = steps.iter().filter(|step| matches!(step, Step::Write { file, .. } if file == "events.db")).count();
    assert!(syncs > 100 && copies > 1_000, "{syncs} syncs, {copies} pages copied: the record shows what it should");
    let chance = Chance::seeded(7);
    for cut in 0..CUTS {
        let most = if cut % 3 == 0 { EARLY } else { steps.len() };
        let line = steps[files::below(most, &chance)].began();
        let cut_data = folder.path().join(format!("cut-{cut}"));
        files::write_as_of(&steps, line, &chance, &cut_data);
        let events = stored(&cut_data).await;
        assert!(events.iter().map(|event| event.seq).eq(1..=events.len() as u64), "a gap after a cut at {line}");
        for stored in &events {
            let number = stored.payload.get()[1..].split(' ').next().expect("a number").parse().expect("a number");
            let written = event(number);
            assert_eq!((stored.id, stored.payload.get()), (written.id, written.payload.get()), "cut at {line}");
        }
        let kept: HashSet<EventId> = events.iter().map(|event| event.id).collect();
        let told = trace::told_before(&steps, line);
        let lost: Vec<_> = told.difference(&kept).collect();
        assert!(lost.is_empty(), "a power cut at line {line} took back {lost:?}");
        std::fs::remove_dir_all(&cut_data).unwrap();
    }
}
