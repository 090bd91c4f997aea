//! The sender against the real store, and against one that fails in every order.

use std::path::Path;

use client::events::EventStore;
use client::sender::{Flushed, Limits, Sender};
use futures_util::FutureExt;
use kit::{Chance, Tasks};
use tempfile::TempDir;
use wire::event::Event;
use wire::signature::Key;

use super::world::{DEADLINE, Place, World, event, over_both_engines, signer};

mod granted;
mod interleavings;

over_both_engines! {
    events_wait_while_the_store_is_away_and_go_to_the_next_one,
    an_event_that_is_refused_for_good_is_set_aside_and_holds_up_no_other,
    a_wrong_key_keeps_events_until_the_right_one_is_given,
    a_full_spool_makes_the_producer_wait_and_loses_nothing,
}

pub(super) const LIMITS: Limits = Limits { spool_bytes: 1_000_000, batch_events: 100, batch_bytes: 100_000 };

pub(super) fn open(directory: &Path, store: EventStore, tasks: &Tasks) -> Sender {
    Sender::open(directory, store, LIMITS, Chance::seeded(1), tasks).expect("opens")
}

async fn events_wait_while_the_store_is_away_and_go_to_the_next_one(place: Place) {
    let (spool, tasks) = (TempDir::new().unwrap(), Tasks::new());
    let world = World::start(&place).await;
    let sender = open(spool.path(), world.store.clone(), &tasks);
    sender.send(event(1)).await;
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    world.stop().await;
    for number in 2..10 {
        sender.send(event(number)).await;
    }
    let world = World::start(&place).await;
    sender.redirect(world.store.clone());
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    assert!(world.stored().await.into_iter().eq(1..10));
    tasks.stop_within(DEADLINE).await.unwrap();
    world.stop().await;
}

async fn an_event_that_is_refused_for_good_is_set_aside_and_holds_up_no_other(place: Place) {
    let (spool, tasks) = (TempDir::new().unwrap(), Tasks::new());
    let world = World::start(&place).await;
    world.store.append(&[Event { kind: "first".into(), ..event(5) }]).await.expect("stores");
    // Everything waits before the delivery begins, so that the refused ones are among others.
    let nowhere = EventStore::new("http://127.0.0.1:9", signer(super::world::key(), None, &world.clock));
    let sender = open(spool.path(), nowhere, &tasks);
    for number in 1..10 {
        let kind = if number == 7 { "NOT ALLOWED" } else { "test" };
        sender.send(Event { kind: kind.into(), ..event(number) }).await;
    }
    sender.redirect(world.store.clone());
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    assert_eq!(world.stored().await, [5, 1, 2, 3, 4, 6, 8, 9]);
    let rejected = std::fs::read_to_string(spool.path().join("rejected.jsonl")).unwrap();
    let rejected: Vec<&str> = rejected.lines().collect();
    assert_eq!(rejected.len(), 2);
    assert!(rejected[0].contains("written before with other content"), "{}", rejected[0]);
    assert!(rejected[1].contains("NOT ALLOWED"), "{}", rejected[1]);
    tasks.stop_within(DEADLINE).await.unwrap();
    world.stop().await;
}

async fn a_wrong_key_keeps_events_until_the_right_one_is_given(place: Place) {
    let (spool, tasks) = (TempDir::new().unwrap(), Tasks::new());
    let world = World::start(&place).await;
    let wrong = EventStore::new(&world.base, signer(Key::from_bytes([8; 32]), None, &world.clock));
    let sender = open(spool.path(), wrong, &tasks);
    sender.send(event(1)).await;
    sender.redirect(world.store.clone());
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    assert_eq!(world.stored().await, [1]);
    assert!(!spool.path().join("rejected.jsonl").exists());
    tasks.stop_within(DEADLINE).await.unwrap();
    world.stop().await;
}

async fn a_full_spool_makes_the_producer_wait_and_loses_nothing(place: Place) {
    let (spool, tasks) = (TempDir::new().unwrap(), Tasks::new());
    let world = World::start(&place).await;
    let limits = Limits { spool_bytes: 1_000, ..LIMITS };
    let nowhere = EventStore::new("http://127.0.0.1:9", signer(super::world::key(), None, &world.clock));
    let sender = Sender::open(spool.path(), nowhere, limits, Chance::seeded(1), &tasks).expect("opens");
    let waits = |number: &u64| sender.send(event(*number)).now_or_never().is_none();
    let first_that_waits = (0..100).find(waits).expect("the spool fills up");
    sender.redirect(world.store.clone());
    for number in first_that_waits..100 {
        tokio::time::timeout(DEADLINE, sender.send(event(number))).await.expect("room comes");
    }
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    assert!(world.stored().await.into_iter().eq(0..100));
    tasks.stop_within(DEADLINE).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn what_waits_at_a_full_spool_is_kept_when_the_process_ends() {
    for end in [|_: &Sender, tasks: &Tasks| tasks.stop(), |sender: &Sender, _: &Tasks| sender.lift_bound()] {
        let (place, spool, tasks) = (Place::sqlite(), TempDir::new().unwrap(), Tasks::new());
        let world = World::start(&place).await;
        let limits = Limits { spool_bytes: 1_000, ..LIMITS };
        let nowhere = EventStore::new("http://127.0.0.1:9", signer(super::world::key(), None, &world.clock));
        let sender = Sender::open(spool.path(), nowhere, limits, Chance::seeded(1), &tasks).expect("opens");
        let waits = |number: &u64| sender.send(event(*number)).now_or_never().is_none();
        let first_that_waits = (0..100).find(waits).expect("the spool fills up");
        let mut waiting = Box::pin(sender.send(event(first_that_waits)));
        assert!(waiting.as_mut().now_or_never().is_none());
        end(&sender, &tasks);
        tokio::time::timeout(DEADLINE, waiting).await.expect("it goes over the bound");
        for number in first_that_waits + 1..100 {
            sender.send(event(number)).now_or_never().expect("nothing waits any more");
        }
        tasks.stop_within(DEADLINE).await.unwrap();
        drop(sender);
        let tasks = Tasks::new();
        let sender = open(spool.path(), world.store.clone(), &tasks);
        assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
        assert!(world.stored().await.into_iter().eq(0..100));
        tasks.stop_within(DEADLINE).await.unwrap();
        world.stop().await;
    }
}
