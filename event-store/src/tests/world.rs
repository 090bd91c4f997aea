//! A running event store and everybody who talks to it.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use client::events::{EventStore, Signer};
use client::sse::Messages;
use kit::{Chance, Clock, Tasks};
use tempfile::TempDir;
use tokio::net::TcpListener;
use wire::event::{Event, StoredEvent};
use wire::id::{EventId, TaskId};
use wire::signature::Key;

use crate::serve::Limits;
use crate::{Amount, Config, Marks, Ungranted};

/// Nothing in a test takes longer unless it is broken.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("in range")
}

pub(super) fn key() -> Key {
    Key::from_bytes([1; 32])
}

pub(super) fn task(number: u8) -> TaskId {
    TaskId::mint(now(), [number; 10])
}

pub(super) fn signer(key: Key, key_id: Option<String>, clock: &Clock) -> Signer {
    Signer { key, key_id, clock: clock.clone(), chance: Chance::system() }
}

/// An event of task 1 whose id is made of the number.
pub(super) fn event(number: u64) -> Event {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Event {
        id: EventId::mint(now(), random),
        kind: "test".into(),
        task_id: Some(task(1)),
        execution_id: None,
        producer: "tests".into(),
        created_at: now(),
        schema_version: 1,
        payload: serde_json::value::to_raw_value(&number).expect("a number is JSON"),
    }
}

/// Everything as usual, in this directory. Whatever room there is where the tests run is enough.
pub(super) fn config(data: &TempDir) -> Config {
    let marks = Marks { warn: Amount::Bytes(0), stop: Amount::Bytes(0) };
    Config { marks, ..Config::new(data.path().to_owned(), key()) }
}

/// An event store on a free port.
pub(super) struct World {
    pub(super) base: String,
    pub(super) address: SocketAddr,
    pub(super) clock: Clock,
    pub(super) store: EventStore,
    pub(super) tasks: Tasks,
}

impl World {
    pub(super) async fn start(data: &TempDir) -> Self {
        Self::start_as(config(data)).await
    }

    pub(super) async fn start_with(data: &TempDir, previous_secret: Option<Key>, ungranted: Ungranted) -> Self {
        Self::start_as(Config { previous_secret, ungranted, ..config(data) }).await
    }

    pub(super) async fn start_within(data: &TempDir, limits: Limits) -> Self {
        Self::start_as(Config { limits, ..config(data) }).await
    }

    pub(super) async fn start_as(config: Config) -> Self {
        Self::start_at(config, Clock::manual(now())).await
    }

    pub(super) async fn start_at(config: Config, clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let base = format!("http://{address}");
        let tasks = Tasks::new();
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        crate::start(config, listener, clock.clone(), Some(metrics), &tasks).await.expect("starts");
        let store = EventStore::new(&base, signer(key(), None, &clock));
        Self { base, address, clock, store, tasks }
    }

    pub(super) async fn stop(self) {
        self.tasks.stop_within(DEADLINE).await.expect("everything ends");
    }

    /// A machine's client and the id of its key.
    pub(super) fn machine(&self, number: u8) -> (EventStore, String) {
        let id = wire::signature::machine_key_id(wire::id::MachineId::mint(now(), [number; 10]));
        let signer = signer(key().derive(&id), Some(id.clone()), &self.clock);
        (EventStore::new(&self.base, signer), id)
    }

    /// The numbers in the payloads of everything stored, in order.
    pub(super) async fn stored(&self) -> Vec<u64> {
        let page = self.store.feed(0, 10_000).await.expect("reads");
        page.events.iter().map(|event| event.payload.get().parse().expect("a number")).collect()
    }
}

pub(super) async fn next(messages: &mut Messages) -> StoredEvent {
    let message = tokio::time::timeout(DEADLINE, messages.next()).await.expect("comes").expect("is open");
    let event: StoredEvent = serde_json::from_str(&message.data).expect("is an event");
    assert_eq!((message.id, message.event.as_str()), (Some(event.seq.to_string()), "event"));
    event
}
