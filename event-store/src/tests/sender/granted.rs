//! A machine's sender shows the grants that its events need, also after a crash.

use client::events::EventStore;
use client::sender::{Flushed, Sender};
use kit::Tasks;
use tempfile::TempDir;
use wire::limit::GRANTS_PER_REQUEST;

use super::super::grants::{execution, grant, told};
use super::super::world::{DEADLINE, Place, World, key, signer};
use super::open;

fn take(sender: &Sender, of: u8) {
    sender.grant(execution(of), &grant(&key(), 7, of)).expect("is fit");
}

#[tokio::test]
async fn what_a_machine_spooled_before_a_crash_is_delivered_with_its_grants() {
    let (place, spool) = (Place::sqlite(), TempDir::new().unwrap());
    let world = World::start(&place).await;
    let nowhere = EventStore::new("http://127.0.0.1:9", signer(key(), None, &world.clock));
    let before = Tasks::new();
    let sender = open(spool.path(), nowhere, &before);
    // Far more executions than one request may carry grants for, taking turns.
    let executions = 3 * GRANTS_PER_REQUEST as u8;
    for number in 0..2 * executions {
        take(&sender, number % executions);
        sender.send(told(number.into(), number % executions)).await;
    }
    before.stop_within(DEADLINE).await.unwrap();
    drop(sender);
    let (tasks, (store, _)) = (Tasks::new(), world.machine(7));
    let sender = open(spool.path(), store, &tasks);
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    assert!(world.stored().await.into_iter().eq(0..u64::from(2 * executions)));
    assert!(!spool.path().join("rejected.jsonl").exists());
    tasks.stop_within(DEADLINE).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn events_without_a_grant_are_set_aside_and_hold_up_no_other() {
    let (place, spool, tasks) = (Place::sqlite(), TempDir::new().unwrap(), Tasks::new());
    let world = World::start(&place).await;
    let (store, _) = world.machine(7);
    let sender = open(spool.path(), store, &tasks);
    take(&sender, 1);
    for number in 0..9 {
        sender.send(told(number, if number % 4 == 3 { 2 } else { 1 })).await;
    }
    assert_eq!(sender.flush(DEADLINE).await, Flushed::Delivered);
    assert_eq!(world.stored().await, [0, 1, 2, 4, 5, 6, 8]);
    let rejected = std::fs::read_to_string(spool.path().join("rejected.jsonl")).unwrap();
    assert_eq!(rejected.lines().count(), 2);
    assert!(rejected.lines().all(|line| line.contains("execution_id is not covered by a grant")), "{rejected}");
    tasks.stop_within(DEADLINE).await.unwrap();
    world.stop().await;
}
