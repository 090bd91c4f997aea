//! The probe before a batch (TEL-3a). Deliveries to a real store are tested beside the store.

use chrono::DateTime;
use kit::Clock;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use wire::id::EventId;
use wire::signature::Key;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::events::Signer;

const DEADLINE: Duration = Duration::from_secs(30);

fn event(payload: &str) -> Event {
    let now = DateTime::from_timestamp(1_700_000_000, 0).expect("in range");
    Event {
        id: EventId::mint(now, [1; 10]),
        kind: "test".into(),
        task_id: None,
        execution_id: None,
        producer: "tests".into(),
        created_at: now,
        schema_version: 1,
        payload: serde_json::value::RawValue::from_string(payload.into()).expect("is JSON"),
    }
}

/// Answers with the status and says so.
fn telling(seen: &mpsc::UnboundedSender<u16>, status: u16) -> impl Fn(&Request) -> ResponseTemplate + use<> {
    let seen = seen.clone();
    move |_| {
        seen.send(status).expect("the test listens");
        ResponseTemplate::new(status).set_body_json(json!({ "events": [] }))
    }
}

#[tokio::test]
async fn after_a_failure_nothing_is_posted_to_a_store_that_is_not_healthy() {
    let server = MockServer::start().await;
    let (seen, mut statuses) = mpsc::unbounded_channel();
    Mock::given(path("/v1/events")).respond_with(telling(&seen, 500)).up_to_n_times(1).mount(&server).await;
    Mock::given(path("/health")).respond_with(telling(&seen, 503)).up_to_n_times(2).mount(&server).await;
    Mock::given(path("/health")).respond_with(telling(&seen, 200)).mount(&server).await;
    Mock::given(path("/v1/events")).respond_with(telling(&seen, 201)).mount(&server).await;
    let key = Key::from_bytes([1; 32]);
    let signer = Signer { key, key_id: None, clock: Clock::system(), chance: Chance::system() };
    let store = EventStore::new(&server.uri(), signer);
    let (directory, tasks) = (TempDir::new().unwrap(), Tasks::new());
    let limits = Limits { spool_bytes: 1_000_000, batch_events: 10, batch_bytes: 100_000 };
    let sender = Sender::open(directory.path(), store, limits, Chance::system(), &tasks).unwrap();
    sender.send(event("1")).await;
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    tasks.stop_within(DEADLINE).await.unwrap();
    let mut order = Vec::new();
    while let Ok(status) = statuses.try_recv() {
        order.push(status);
    }
    assert_eq!(order, [500, 503, 503, 200, 201]);
}

#[tokio::test]
async fn a_flush_that_does_not_deliver_says_whether_the_disk_has_it() {
    let key = Key::from_bytes([1; 32]);
    let signer = Signer { key, key_id: None, clock: Clock::system(), chance: Chance::system() };
    let nowhere = EventStore::new("http://127.0.0.1:9", signer);
    let (directory, tasks) = (TempDir::new().unwrap(), Tasks::new());
    let limits = Limits { spool_bytes: 1_000_000, batch_events: 10, batch_bytes: 100_000 };
    let sender = Sender::open(directory.path(), nowhere, limits, Chance::system(), &tasks).unwrap();
    sender.send(event("1")).await;
    assert_eq!(sender.flush(Duration::from_millis(1)).await, Flushed::OnDisk);
    directory.close().unwrap();
    assert_eq!(sender.flush(Duration::from_millis(1)).await, Flushed::Unsafe);
    tasks.stop_within(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn what_the_disk_refuses_goes_to_the_store_behind_what_was_spooled_before() {
    let server = MockServer::start().await;
    let (seen, mut bodies) = mpsc::unbounded_channel();
    // Away once for each event.
    let refused = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let take = move |request: &Request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if refused.lock().unwrap().insert(body.clone()) {
            return ResponseTemplate::new(503);
        }
        seen.send(body).expect("the test listens");
        ResponseTemplate::new(201).set_body_json(json!({ "events": [] }))
    };
    Mock::given(path("/health")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    Mock::given(path("/v1/events")).respond_with(take).mount(&server).await;
    let signer =
        Signer { key: Key::from_bytes([1; 32]), key_id: None, clock: Clock::system(), chance: Chance::system() };
    let store = EventStore::new(&server.uri(), signer);
    let (directory, tasks) = (TempDir::new().unwrap(), Tasks::new());
    let limits = Limits { spool_bytes: 1_000_000, batch_events: 10, batch_bytes: 100_000 };
    let sender = Sender::open(directory.path(), store, limits, Chance::system(), &tasks).unwrap();
    sender.send(event("1")).await;
    // No grant can be written where its file is a directory, and no event without it.
    let grants = directory.path().join("grants");
    std::fs::create_dir(&grants).unwrap();
    std::fs::write(grants.join("x"), "").unwrap();
    sender.grant(ExecutionId::mint(Clock::system().now(), [7; 10]), "a-grant").unwrap();
    for payload in ["2", "3"] {
        tokio::time::timeout(DEADLINE, sender.send(event(payload))).await.unwrap();
    }
    std::fs::remove_dir_all(&grants).unwrap();
    sender.send(event("4")).await;
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    tasks.stop_within(DEADLINE).await.unwrap();
    let mut order = Vec::new();
    while let Ok(body) = bodies.try_recv() {
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        order.extend(body["events"].as_array().unwrap().iter().map(|event| event["payload"].clone()));
    }
    assert_eq!(order, [1, 2, 3, 4]);
}

#[test]
fn an_event_is_one_line_however_its_payload_is_laid_out() {
    let line = line(&event("{\n\"a\":\r\n\"\\n\"}"));
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let back: Event = serde_json::from_slice(&line).expect("reads back");
    assert_eq!(back.payload.get(), "{ \"a\":\r \"\\n\"}");
}
