//! Any interleaving of sends, failures of the store and crashes of the sender
//! shows each event once and in order.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use client::events::EventStore;
use client::sender::Flushed;
use kit::{Clock, Tasks};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::net::TcpListener;
use wire::event::{Appended, Event, Receipt};
use wire::problem::Problem;

use super::super::world::{DEADLINE, event, key, now, signer};
use super::open;

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many events are sent.
    Send(u8),
    /// The store will treat a request so.
    Fail(Failure),
    /// The sender's process dies, perhaps in the middle of a line, and another takes over.
    Crash { torn: bool },
    /// Everything sent so far arrives.
    Settle,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    /// Nothing is stored.
    Before,
    /// All is stored, but the sender does not learn it.
    After,
}

/// A store that fails when told, and keeps ids apart as the real one does.
#[derive(Clone, Default)]
struct FailingStore(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    failures: VecDeque<Failure>,
    events: Vec<Event>,
}

async fn append(
    State(store): State<FailingStore>,
    body: String,
) -> Result<Json<Appended>, (StatusCode, Json<Problem>)> {
    #[derive(serde::Deserialize)]
    struct Batch {
        events: Vec<Event>,
    }
    let failed = || (StatusCode::SERVICE_UNAVAILABLE, Json(Problem::new(503, "", "busy", "as told")));
    let batch: Batch = serde_json::from_str(&body).expect("a batch of events");
    let mut kept = store.0.lock().unwrap();
    let failure = kept.failures.pop_front();
    if matches!(failure, Some(Failure::Before)) {
        return Err(failed());
    }
    for event in batch.events {
        if !kept.events.iter().any(|known| known.id == event.id) {
            kept.events.push(event);
        }
    }
    match failure {
        Some(Failure::After) => Err(failed()),
        _ => Ok(Json(Appended { events: Vec::<Receipt>::new() })),
    }
}

fn tear(spool: &Path) {
    let names = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path());
    let last = names.filter(|path| path.to_string_lossy().ends_with("0.jsonl")).max();
    let Some(last) = last else { return };
    OpenOptions::new().append(true).open(last).unwrap().write_all(b"{\"id\":\"half a li").unwrap();
}

async fn run(steps: &[Step]) -> (u64, Vec<u64>) {
    let (store, spool, server) = (FailingStore::default(), TempDir::new().unwrap(), Tasks::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/v1/events", post(append)).route("/health", get(async || StatusCode::OK));
    let serving = axum::serve(listener, routes.with_state(store.clone())).into_future();
    server.spawn_until_stopped("failing store", async move { serving.await.unwrap() });
    let client = EventStore::new(&base, signer(key(), None, &Clock::manual(now())));
    let mut tasks = Tasks::new();
    let mut sender = open(spool.path(), client.clone(), &tasks);
    let mut sent = 0;
    for step in steps {
        match *step {
            Step::Send(count) => {
                for _ in 0..count {
                    sender.send(event(sent)).await;
                    sent += 1;
                }
            }
            Step::Fail(failure) => store.0.lock().unwrap().failures.push_back(failure),
            Step::Crash { torn } => {
                tasks.stop_within(DEADLINE).await.unwrap();
                drop(sender);
                if torn {
                    tear(spool.path());
                }
                tasks = Tasks::new();
                sender = open(spool.path(), client.clone(), &tasks);
            }
            Step::Settle => assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered),
        }
    }
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    tasks.stop_within(DEADLINE).await.unwrap();
    server.stop_within(DEADLINE).await.unwrap();
    let kept = store.0.lock().unwrap();
    (sent, kept.events.iter().map(|event| event.payload.get().parse().unwrap()).collect())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let failure = prop_oneof![Just(Failure::Before), Just(Failure::After)];
    let step = prop_oneof![
        4 => (1..20_u8).prop_map(Step::Send),
        1 => failure.prop_map(Step::Fail),
        2 => any::<bool>().prop_map(|torn| Step::Crash { torn }),
        1 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_event_arrives_once_and_in_order(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sent, arrived) = runtime.block_on(run(&steps));
        prop_assert!(arrived.iter().copied().eq(0..sent), "sent {sent}, arrived {arrived:?}");
    }
}
