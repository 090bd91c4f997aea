//! The program itself: killed at any moment it has what it acknowledged, and
//! told to stop it ends well.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use client::events::{EventStore, Signer};
use kit::process::{Sig, command, signal_group};
use kit::{Chance, Clock, Tasks, starting};
use tokio::process::Child;
use wire::event::Event;
use wire::id::EventId;
use wire::signature::Key;

const DEADLINE: Duration = Duration::from_secs(30);
/// How often the program is killed, and what it acknowledges in between.
const KILLS: usize = 200;
const ACKNOWLEDGED: usize = 40;

fn key() -> Key {
    Key::from_bytes([1; 32])
}

fn event(number: u64) -> Event {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let now: DateTime<Utc> = DateTime::UNIX_EPOCH;
    Event {
        id: EventId::mint(now, random),
        kind: "test".into(),
        task_id: None,
        execution_id: None,
        producer: "tests".into(),
        created_at: now,
        schema_version: 1,
        payload: serde_json::value::to_raw_value(&number).expect("a number is JSON"),
    }
}

/// Starts the program and waits until it takes writes.
async fn start(data: &Path, arguments: &[&str]) -> (Child, EventStore) {
    let mut command = command(env!("CARGO_BIN_EXE_bifrost-events"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data).args(arguments);
    let mut child = command.env("FLY_EVENT_SECRET", key().reveal()).stderr(Stdio::piped()).spawn().expect("starts");
    let address = starting::address(&mut child).await;
    let signer = Signer { key: key(), key_id: None, clock: Clock::system(), chance: Chance::system() };
    let store = EventStore::new(&format!("http://{address}"), signer);
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    let ready = async {
        while store.ready().await.is_err() {
            beat.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.expect("gets ready");
    (child, store)
}

/// A NATS server that ends with its handle, and its URL.
#[cfg(feature = "jetstream")]
async fn start_nats(directory: &Path) -> (Child, starting::Log, String) {
    let configuration = directory.join("nats.conf");
    let settings = "listen: \"127.0.0.1:-1\"\nmax_payload: 9MB\njetstream { store_dir: \"data\" }\n";
    std::fs::write(&configuration, settings).expect("writes");
    let mut command = command("nats-server");
    command.arg("--config").arg(configuration).current_dir(directory).stderr(Stdio::piped());
    let mut child = command.spawn().expect("nats-server is installed (Debian: apt-get install nats-server)");
    let address = |line: &str| Some(line.split_once("Listening for client connections on ")?.1.to_owned());
    let (address, log) = starting::said(&mut child, address).await;
    (child, log, format!("nats://{address}"))
}

async fn stored(store: &EventStore) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    loop {
        let after = found.last().map_or(0, |(seq, _)| *seq);
        let page = store.feed(after, 10_000).await.expect("reads");
        if page.events.is_empty() {
            return found;
        }
        found.extend(page.events.iter().map(|event| (event.seq, event.payload.get().parse().expect("a number"))));
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kills_under_load() {
    survives_kills_under_load(KILLS, &[]).await;
}

#[cfg(feature = "jetstream")]
#[tokio::test]
async fn what_was_acknowledged_survives_kills_under_load_with_jetstream() {
    let directory = tempfile::tempdir().unwrap();
    let (_nats, _log, url) = start_nats(directory.path()).await;
    survives_kills_under_load(KILLS / 10, &["--engine", "jetstream", "--nats", &url]).await;
}

async fn survives_kills_under_load(kills: usize, arguments: &[&str]) {
    let data = tempfile::tempdir().expect("a directory");
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let number = Arc::new(AtomicU64::new(0));
    for round in 0..kills {
        let (mut child, store) = start(data.path(), arguments).await;
        let writers = Tasks::new();
        let (enough, mut reached) = tokio::sync::mpsc::channel(1);
        for _ in 0..16 {
            let (store, acknowledged, number, enough) =
                (store.clone(), acknowledged.clone(), number.clone(), enough.clone());
            let goal = (round + 1) * ACKNOWLEDGED;
            writers.spawn("writer", async move {
                loop {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    if store.append(&[event(number)]).await.is_err() {
                        return;
                    }
                    let mut acknowledged = acknowledged.lock().expect("no writer panics");
                    acknowledged.push(number);
                    if acknowledged.len() >= goal {
                        // Somebody else may have said so already.
                        enough.try_send(()).ok();
                    }
                }
            });
        }
        tokio::time::timeout(DEADLINE, reached.recv()).await.expect("writes go on").expect("writers run");
        signal_group(child.id().expect("runs"), Sig::SIGKILL).expect("is killed");
        child.wait().await.expect("ends");
        writers.stop_within(DEADLINE).await.expect("writers see that it is gone");
    }
    let (mut child, store) = start(data.path(), arguments).await;
    let stored = stored(&store).await;
    assert!(stored.iter().map(|(seq, _)| *seq).eq(1..=stored.len() as u64), "a gap");
    let mut numbers: Vec<u64> = stored.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    let acknowledged = acknowledged.lock().expect("no writer panics").clone();
    assert!(acknowledged.len() >= kills * ACKNOWLEDGED);
    let lost: Vec<u64> = acknowledged.into_iter().filter(|number| numbers.binary_search(number).is_err()).collect();
    assert_eq!(lost, Vec::<u64>::new());
    numbers.dedup();
    assert_eq!(numbers.len(), stored.len(), "an event was stored twice");
    signal_group(child.id().expect("runs"), Sig::SIGTERM).expect("is told to stop");
    let status = tokio::time::timeout(DEADLINE, child.wait()).await.expect("stops").expect("ends");
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_start_that_cannot_succeed_says_why() {
    let data = tempfile::tempdir().unwrap();
    let (mut child, store) = start(data.path(), &[]).await;
    let taken = store.base().trim_start_matches("http://").to_owned();
    let other = tempfile::tempdir().unwrap();
    let secret = key().reveal();
    let cases = [
        ("127.0.0.1:0", other.path(), "", "FLY_EVENT_SECRET: is not set"),
        ("127.0.0.1:0", other.path(), "c2hvcnQ=", "fewer than 32 bytes"),
        ("0.0.0.0:0", other.path(), &secret, "--allow-public"),
        (&taken, other.path(), &secret, "is another program listening there?"),
        ("127.0.0.1:0", data.path(), &secret, "in use by another event store"),
        ("127.0.0.1:0", Path::new("/proc/nowhere"), &secret, "cannot write to the data directory /proc/nowhere"),
    ];
    for (listen, data, secret, expect) in cases {
        let mut command = command(env!("CARGO_BIN_EXE_bifrost-events"));
        command.args(["--listen", listen, "--data"]).arg(data).env("FLY_EVENT_SECRET", secret);
        let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("ends").expect("runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(expect), "{expect}: {text}");
    }
    child.kill().await.expect("is killed");
}

#[cfg(feature = "jetstream")]
#[tokio::test]
async fn an_engine_for_several_machines_asks_for_its_servers_and_for_no_secret() {
    let data = tempfile::tempdir().unwrap();
    let cases = [
        (&["--engine", "jetstream"][..], "needs a NATS server"),
        (&["--engine", "jetstream", "--nats", "nats://host", "--keep-days", "5"], "every event is kept"),
        (&["--engine", "jetstream", "--nats", "nats://me:hunter2@host"], "set BIFROST_NATS_USER"),
        (&["--engine", "jetstream", "--nats", "nats://127.0.0.1:9"], "cannot connect to NATS at nats://127.0.0.1:9"),
        (&["--engine", "paper"], "possible values: sqlite, jetstream"),
    ];
    for (arguments, expect) in cases {
        let mut command = command(env!("CARGO_BIN_EXE_bifrost-events"));
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data.path()).args(arguments);
        let output = command.env("FLY_EVENT_SECRET", key().reveal()).output();
        let output = tokio::time::timeout(DEADLINE, output).await.expect("ends").expect("runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(expect), "{expect}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
