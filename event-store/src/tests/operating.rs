//! What an operator sees, and what the store does by itself about its disk.

use std::time::Duration;

use tempfile::TempDir;
use wire::event::{Occupancy, Place, SignedHead, VolumeLevel, VolumePayload, kind};

use super::world::{World, config, event, key, next, now};
use crate::{Amount, Config, Keep, Marks};

#[tokio::test]
async fn the_head_is_signed_and_follows_the_log() {
    let data = TempDir::new().unwrap();
    let world = World::start(&data).await;
    let empty = world.store.head().await.expect("answers");
    assert_eq!((empty.seq, empty.link.0), (0, [0; 32]));
    world.store.append(&[event(1), event(2)]).await.expect("stores");
    let head = world.store.head().await.expect("answers");
    assert_eq!((head.seq, head.at), (2, now()));
    assert!(head.is_signed_by(&key()));
    assert!(!SignedHead { seq: 1, ..head.clone() }.is_signed_by(&key()));
    assert_ne!(head.link, empty.link);
    world.stop().await;
}

#[tokio::test]
async fn the_state_of_the_store_is_told_to_its_operator_alone() {
    let data = TempDir::new().unwrap();
    let world = World::start(&data).await;
    let empty = world.store.stats().await.expect("answers");
    assert_eq!((empty.events, empty.oldest, empty.newest), (0, None, None));
    world.store.append(&[event(1), event(2), event(3)]).await.expect("stores");
    let follower = world.store.follow(None, 0).await.expect("follows");
    let stats = world.store.stats().await.expect("answers");
    assert_eq!((stats.engine.as_str(), stats.schema_version, stats.events), ("sqlite", 3, 3));
    assert_eq!(stats.oldest, Some(Place { seq: 1, created_at: now() }));
    assert_eq!(stats.newest, Some(Place { seq: 3, created_at: now() }));
    assert_eq!(stats.followers, Occupancy { taken: 1, bound: 1_024 });
    assert_eq!((stats.queue, stats.disk.level), (Occupancy { taken: 0, bound: 1_024 }, VolumeLevel::Ample));
    assert!(stats.disk.database_bytes > 0 && stats.disk.free_bytes > 0, "{:?}", stats.disk);
    drop(follower);
    let (machine, _) = world.machine(7);
    assert_eq!(machine.stats().await.expect_err("a machine").code(), Some("write_only"));
    assert_eq!(machine.head().await.expect_err("a machine").code(), Some("write_only"));
    world.stop().await;
}

#[tokio::test]
async fn little_room_is_an_event_and_writes_go_on() {
    let data = TempDir::new().unwrap();
    let marks = Marks { warn: Amount::Percent(100), stop: Amount::Bytes(0) };
    let world = World::start_as(Config { marks, ..config(&data) }).await;
    let mut events = world.store.follow(None, 0).await.expect("follows");
    let warning = next(&mut events).await;
    assert_eq!((warning.kind.as_str(), warning.producer.as_str()), (kind::VOLUME_LOW, "event-store"));
    let payload: VolumePayload = serde_json::from_str(warning.payload.get()).expect("is one");
    assert_eq!(payload.level, VolumeLevel::Low);
    assert!(payload.free_bytes <= payload.volume_bytes);
    world.store.append(&[event(1)]).await.expect("stores");
    assert_eq!(next(&mut events).await.seq, 2);
    world.store.ready().await.expect("can write");
    world.stop().await;
}

#[tokio::test]
async fn too_little_room_refuses_writes_and_serves_reads() {
    let data = TempDir::new().unwrap();
    let world = World::start(&data).await;
    world.store.append(&[event(1)]).await.expect("stores");
    world.stop().await;
    let marks = Marks { warn: Amount::Bytes(0), stop: Amount::Bytes(u64::MAX) };
    let world = World::start_as(Config { marks, ..config(&data) }).await;
    let refused = world.store.append(&[event(2)]).await.expect_err("too little room");
    assert_eq!((refused.status(), refused.code()), (Some(507), Some("disk_full")));
    assert!(refused.is_transient(), "a sender keeps its events and tries again");
    assert_eq!(world.store.ready().await.expect_err("not ready").status(), Some(507));
    world.store.health().await.expect("is up");
    let mut events = world.store.follow(None, 0).await.expect("follows");
    assert_eq!(next(&mut events).await.seq, 1);
    // The store's own warning is let through: the mark leaves room for it.
    assert_eq!(next(&mut events).await.kind, kind::VOLUME_LOW);
    assert_eq!(world.store.stats().await.expect("answers").disk.level, VolumeLevel::Full);
    world.stop().await;
}

#[tokio::test]
async fn old_events_go_by_themselves_and_reads_begin_behind_them() {
    let data = TempDir::new().unwrap();
    let world = World::start(&data).await;
    world.store.append(&[event(1), event(2), event(3)]).await.expect("stores");
    world.stop().await;
    let keep = Keep { days: std::num::NonZeroU32::new(1), bytes: None };
    let clock = kit::Clock::manual(now() + Duration::from_secs(3 * 24 * 3_600));
    let world = World::start_at(Config { keep, ..config(&data) }, clock).await;
    let mut events = world.store.follow(None, 3).await.expect("follows");
    assert_eq!(next(&mut events).await.kind, kind::LOG_PRUNED);
    let page = world.store.feed(0, 10).await.expect("reads");
    assert_eq!(page.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4]);
    let stats = world.store.stats().await.expect("answers");
    assert_eq!((stats.events, stats.oldest.map(|place| place.seq)), (2, Some(3)));
    world.stop().await;
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let settings = [
        ("BIFROST_EVENTS_KEEP_DAYS", "0"),
        ("BIFROST_EVENTS_KEEP_BYTES", "5"),
        ("BIFROST_EVENTS_WARN_FREE", "much"),
        ("BIFROST_EVENTS_STOP_FREE", "101%"),
    ];
    let mut vars = kit::Vars::from_pairs(settings);
    Config::from_vars(&mut vars, "data".into());
    let problems = vars.finish().expect_err("nonsense").to_string();
    for (name, _) in settings {
        assert!(problems.contains(&format!("{name}: ")), "{name} in {problems}");
    }
}
