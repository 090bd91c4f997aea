//! The program as a process, and who talks to it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use client::events::{EventStore, Signer};
use kit::process::command;
use kit::starting::address;
use kit::{Chance, Clock};
use tokio::process::Child;
use wire::event::Event;
use wire::id::EventId;
use wire::signature::Key;

/// Nothing in a test takes longer unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn key() -> Key {
    Key::from_bytes([1; 32])
}

/// An event whose id and payload are the number's.
pub(crate) fn event(number: u64) -> Event {
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

/// Starts the program and waits until it says where it listens.
pub(crate) async fn start(data: &Path) -> (Child, EventStore) {
    let (child, address) = listening(data).await;
    let signer = Signer { key: key(), key_id: None, clock: Clock::system(), chance: Chance::system() };
    (child, EventStore::new(&format!("http://{address}"), signer))
}

/// As [`start`], for who asks it by its address.
pub(crate) async fn listening(data: &Path) -> (Child, String) {
    let mut command = command(env!("CARGO_BIN_EXE_bifrost-events"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut child = command.env("FLY_EVENT_SECRET", key().reveal()).stderr(Stdio::piped()).spawn().expect("starts");
    let address = address(&mut child).await;
    (child, address)
}
