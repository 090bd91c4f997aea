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

#[cfg(feature = "jetstream")]
use super::nats::Server;
use crate::engine::EngineConfig;
use crate::serve::Limits;
use crate::{Amount, Config, Marks, StartError, Ungranted};

/// Nothing in a test takes longer unless it is broken.
pub(super) const DEADLINE: Duration = Duration::from_secs(100);

/// Looks again and again until there is something to see, within the deadline.
pub(super) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        loop {
            beat.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("not within the deadline: {what}"))
}

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

/// What is left of a store while it is stopped.
pub(super) struct Place {
    pub(super) data: TempDir,
    pub(super) engine: EngineConfig,
    /// Held, not used: it ends with the test.
    #[cfg(feature = "jetstream")]
    pub(super) _server: Option<Server>,
}

impl Place {
    pub(super) fn sqlite() -> Self {
        Self {
            data: TempDir::new().unwrap(),
            engine: EngineConfig::Sqlite,
            #[cfg(feature = "jetstream")]
            _server: None,
        }
    }

    /// With a NATS server of its own.
    #[cfg(feature = "jetstream")]
    pub(super) async fn jetstream() -> Self {
        let server = Server::start().await;
        Self { data: TempDir::new().unwrap(), engine: server.engine(), _server: Some(server) }
    }

    /// With the stream of a server that is there.
    #[cfg(feature = "jetstream")]
    pub(super) fn on(engine: EngineConfig) -> Self {
        Self { data: TempDir::new().unwrap(), engine, _server: None }
    }
}

/// Runs each test on both engines: `sqlite::<name>` and `jetstream::<name>`.
macro_rules! over_both_engines {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::sqlite()).await;
            })*
        }

        #[cfg(feature = "jetstream")]
        mod jetstream {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::jetstream().await).await;
            })*
        }
    };
}
pub(super) use over_both_engines;

/// Everything as usual, in this place. Whatever room there is where the tests run is enough.
pub(super) fn config(place: &Place) -> Config {
    let marks = Marks { warn: Amount::Bytes(0), stop: Amount::Bytes(0) };
    Config { marks, engine: place.engine.clone(), ..Config::new(place.data.path().to_owned(), key()) }
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
    pub(super) async fn start(place: &Place) -> Self {
        Self::start_as(config(place)).await
    }

    pub(super) async fn start_with(place: &Place, previous_secret: Option<Key>, ungranted: Ungranted) -> Self {
        Self::start_as(Config { previous_secret, ungranted, ..config(place) }).await
    }

    pub(super) async fn start_within(place: &Place, limits: Limits) -> Self {
        Self::start_as(Config { limits, ..config(place) }).await
    }

    pub(super) async fn start_as(config: Config) -> Self {
        Self::start_at(config, Clock::manual(now())).await
    }

    pub(super) async fn start_at(config: Config, clock: Clock) -> Self {
        let is_copy = !matches!(config.engine, EngineConfig::Sqlite);
        let world = Self::try_start(config, clock).await.expect("starts");
        // It asks its stream first; a log of its own takes writes from the start, if ever.
        if is_copy {
            world.is_ready().await;
        }
        world
    }

    pub(super) async fn try_start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let base = format!("http://{address}");
        let tasks = Tasks::new();
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        crate::start(config, listener, clock.clone(), Some(metrics), &tasks).await?;
        let store = EventStore::new(&base, signer(key(), None, &clock));
        Ok(Self { base, address, clock, store, tasks })
    }

    /// Returns once the store takes writes.
    pub(super) async fn is_ready(&self) {
        until("the store is ready", async || self.store.ready().await.ok()).await;
    }

    /// Returns once the store has stopped by itself.
    #[cfg(feature = "jetstream")]
    pub(super) async fn gives_up(self) {
        tokio::time::timeout(DEADLINE, self.tasks.stopping()).await.expect("gives up");
        self.stop().await;
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

    /// Every event, page by page.
    pub(super) async fn everything(&self) -> Vec<StoredEvent> {
        let (mut events, mut after) = (Vec::new(), Some(0));
        while let Some(behind) = after {
            let page = self.store.feed(behind, 10_000).await.expect("reads");
            after = page.next;
            events.extend(page.events);
        }
        events
    }

    /// The numbers in the payloads of everything stored, in order.
    pub(super) async fn stored(&self) -> Vec<u64> {
        self.everything().await.iter().map(|event| event.payload.get().parse().expect("a number")).collect()
    }
}

pub(super) async fn next(messages: &mut Messages) -> StoredEvent {
    let message = tokio::time::timeout(DEADLINE, messages.next()).await.expect("comes").expect("is open");
    let event: StoredEvent = serde_json::from_str(&message.data).expect("is an event");
    assert_eq!((message.id, message.event.as_str()), (Some(event.seq.to_string()), "event"));
    event
}
