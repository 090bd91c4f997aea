//! What an operator sees, and what the store does by itself about its disk.

use std::time::Duration;

use kit::Vars;
use wire::event::{self, Occupancy, SignedHead, VolumeLevel, VolumePayload, kind};

#[cfg(feature = "jetstream")]
use super::nats;
use super::world::{Place, World, config, event, key, next, now, over_both_engines};
use crate::engine::EngineConfig;
use crate::{Amount, Config, Keep, Marks};

over_both_engines! {
    the_head_is_signed_and_follows_the_log,
    the_state_of_the_store_is_told_to_its_operator_alone,
}

async fn the_head_is_signed_and_follows_the_log(place: Place) {
    let world = World::start(&place).await;
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

async fn the_state_of_the_store_is_told_to_its_operator_alone(place: Place) {
    let world = World::start(&place).await;
    let engine = match place.engine {
        EngineConfig::Sqlite => "sqlite",
        #[cfg(feature = "jetstream")]
        EngineConfig::Jetstream(_) => "jetstream",
    };
    let empty = world.store.stats().await.expect("answers");
    assert_eq!((empty.events, empty.oldest, empty.newest), (0, None, None));
    world.store.append(&[event(1), event(2), event(3)]).await.expect("stores");
    let follower = world.store.follow(None, 0).await.expect("follows");
    let stats = world.store.stats().await.expect("answers");
    assert_eq!((stats.engine.as_str(), stats.schema_version, stats.events), (engine, 3, 3));
    assert_eq!(stats.oldest, Some(event::Place { seq: 1, created_at: now() }));
    assert_eq!(stats.newest, Some(event::Place { seq: 3, created_at: now() }));
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
    let place = Place::sqlite();
    let marks = Marks { warn: Amount::Percent(100), stop: Amount::Bytes(0) };
    let world = World::start_as(Config { marks, ..config(&place) }).await;
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
    let place = Place::sqlite();
    let world = World::start(&place).await;
    world.store.append(&[event(1)]).await.expect("stores");
    world.stop().await;
    let marks = Marks { warn: Amount::Bytes(0), stop: Amount::Bytes(u64::MAX) };
    let world = World::start_as(Config { marks, ..config(&place) }).await;
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
    let place = Place::sqlite();
    let world = World::start(&place).await;
    world.store.append(&[event(1), event(2), event(3)]).await.expect("stores");
    world.stop().await;
    let keep = Keep { days: std::num::NonZeroU32::new(1), bytes: None };
    let clock = kit::Clock::manual(now() + Duration::from_secs(3 * 24 * 3_600));
    let world = World::start_at(Config { keep, ..config(&place) }, clock).await;
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
    let mut vars = Vars::from_pairs(settings);
    Config::from_vars(&mut vars, "data".into());
    let problems = vars.finish().expect_err("nonsense").to_string();
    for (name, _) in settings {
        assert!(problems.contains(&format!("{name}: ")), "{name} in {problems}");
    }
}

#[cfg(feature = "jetstream")]
#[test]
fn what_would_make_a_copy_of_a_stream_differ_from_the_others_is_refused() {
    let settings = [
        ("BIFROST_EVENTS_KEEP_DAYS", "5", "every event is kept"),
        ("BIFROST_EVENTS_REPLICA", "s3://a/b", "is the copy"),
    ];
    for (name, value, expect) in settings {
        let servers = ["nats://host".to_owned()];
        let check = |engine: fn(&[String], &mut Vars) -> EngineConfig| {
            let secret = key().reveal();
            let mut vars = Vars::from_pairs([("FLY_EVENT_SECRET", secret.as_str()), (name, value)]);
            let config = Config::from_vars(&mut vars, "data".into()).expect("is complete");
            Config { engine: engine(&servers, &mut vars), ..config }.check(&mut vars);
            vars.finish()
        };
        check(|_, _| EngineConfig::Sqlite).expect("a log of one store may");
        let problem =
            check(|servers, vars| nats::engine(servers, None, vars)).expect_err("a copy must not").to_string();
        assert!(problem.contains(name) && problem.contains(expect), "{problem}");
    }
}
