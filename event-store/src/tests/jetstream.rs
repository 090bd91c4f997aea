//! What only several machines have: servers that die, stores beside each other, copies.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::jetstream::{self, stream::Stream};
use client::events::EventStore;
use futures_util::future::join_all;
use kit::{Clock, Vars};
use wire::event::Event;

use super::nats::{self, Server};
use super::world::{DEADLINE, Place, World, config, event, next, now, until};
use crate::engine::EngineConfig;
use crate::log::{Head, Log};

/// Writes these events from eight clients, each until it is acknowledged, and counts.
async fn write_all(stores: &[EventStore], count: u64, acknowledged: &AtomicU64) {
    let writers = (0..8).map(|writer| async move {
        for number in (writer..count).step_by(8) {
            let store = &stores[usize::try_from(number).unwrap() % stores.len()];
            until("it is acknowledged", async || store.append(&[event(number)]).await.ok()).await;
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    });
    join_all(writers).await;
}

async fn reaches(acknowledged: &AtomicU64, goal: u64) {
    until("writes go on", async || (acknowledged.load(Ordering::Relaxed) >= goal).then_some(())).await;
}

/// Everything the store has, once it has so many.
async fn log_of(world: &World, count: u64) -> Vec<(u64, u64)> {
    let look = async || {
        let events = world.store.feed(0, 10_000).await.expect("reads").events;
        (events.len() as u64 >= count).then_some(events)
    };
    let events = until("everything is copied", look).await;
    events.iter().map(|event| (event.seq, event.payload.get().parse().expect("a number"))).collect()
}

/// Each of the numbers once, without a gap between sequence numbers.
fn assert_whole(log: &[(u64, u64)], count: u64) {
    assert!(log.iter().map(|(seq, _)| *seq).eq(1..=count), "a gap: {log:?}");
    let mut numbers: Vec<u64> = log.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..count), "lost or repeated: {log:?}");
}

/// Of a store that is stopped.
fn head(place: &Place) -> Head {
    Log::open(place.data.path(), now()).expect("opens").0.head()
}

/// A client of the stream itself.
async fn stream(servers: &[String]) -> (jetstream::Context, Stream) {
    let context = jetstream::new(async_nats::connect(servers).await.expect("connects"));
    let stream = context.get_stream("test-events").await.expect("there is a stream");
    (context, stream)
}

#[tokio::test]
async fn what_was_acknowledged_survives_kills_of_the_nats_server() {
    let mut server = Server::start().await;
    let place = Place::on(server.engine());
    let world = World::start(&place).await;
    let (acknowledged, stores) = (AtomicU64::new(0), [world.store.clone()]);
    let kills = async {
        for round in 1..4 {
            reaches(&acknowledged, round * 100).await;
            server.kill().await;
            server.restart().await;
        }
    };
    tokio::join!(write_all(&stores, 400, &acknowledged), kills);
    assert_whole(&log_of(&world, 400).await, 400);
    world.stop().await;
}

#[tokio::test]
async fn stores_over_one_stream_have_the_same_log() {
    let server = Server::start().await;
    let places = [Place::on(server.engine()), Place::on(server.engine())];
    let worlds = [World::start(&places[0]).await, World::start(&places[1]).await];
    let mut followed = worlds[1].store.follow(None, 0).await.expect("follows");
    worlds[0].store.append(&[event(0)]).await.expect("stores");
    assert_eq!(next(&mut followed).await.payload.get(), "0");
    // Every event is written to both, so that one of the two finds it there.
    let all: Vec<Event> = (0..200).map(event).collect();
    let receipts =
        join_all(all.chunks(10).flat_map(|batch| worlds.each_ref().map(|world| world.store.append(batch)))).await;
    let receipts: Vec<_> = receipts.into_iter().flat_map(|appended| appended.expect("stores").events).collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 199);
    let first = log_of(&worlds[0], 200).await;
    assert_whole(&first, 200);
    assert_eq!(log_of(&worlds[1], 200).await, first);
    let late = Place::on(server.engine());
    let late_world = World::start(&late).await;
    assert_eq!(log_of(&late_world, 200).await, first);
    for world in worlds.into_iter().chain([late_world]) {
        world.stop().await;
    }
    assert_eq!((head(&places[0]), head(&places[1])), (head(&late), head(&late)));
}

#[tokio::test]
async fn what_the_stream_has_twice_the_log_has_once_however_late() {
    let server = Server::start().await;
    let place = Place::on(server.engine());
    let world = World::start(&place).await;
    world.store.append(&[event(1)]).await.expect("stores");
    let (context, stream) = stream(&[server.url()]).await;
    let again = stream.get_raw_message(1).await.expect("the first message");
    // Without its id the stream takes it again, as it does when its window is over.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Bifrost-Format", "1");
    let changed = Event { kind: "changed".into(), ..event(1) };
    let conflict = serde_json::json!({ "events": [event(2), changed] }).to_string();
    for body in [again.payload.clone(), conflict.into(), again.payload] {
        let published = context.publish_with_headers(again.subject.clone(), headers.clone(), body).await;
        published.expect("is sent").await.expect("is stored");
    }
    context.publish("test-events._", "not ours".into()).await.expect("is sent").await.expect("is stored");
    let refused = world.store.append(&[Event { kind: "changed".into(), ..event(1) }]).await.expect_err("conflicts");
    assert_eq!(refused.code(), Some("event_conflict"));
    let receipts = world.store.append(&[event(1), event(3)]).await.expect("stores").events;
    assert_eq!(
        receipts.iter().map(|receipt| (receipt.seq, receipt.duplicate)).collect::<Vec<_>>(),
        [(1, true), (2, false)]
    );
    assert_eq!(world.stored().await, [1, 3]);
    world.stop().await;
}

#[tokio::test]
async fn a_message_of_a_later_format_is_not_passed_over() {
    let server = Server::start().await;
    let place = Place::on(server.engine());
    let world = World::start(&place).await;
    let (context, _) = stream(&[server.url()]).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Bifrost-Format", "2");
    let published = context.publish_with_headers("test-events._", headers, "of the future".into()).await;
    published.expect("is sent").await.expect("is stored");
    world.gives_up().await;
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_not_copied_behind_the_old_one() {
    let server = Server::start().await;
    let place = Place::on(server.engine());
    let world = World::start(&place).await;
    world.store.append(&[event(1)]).await.expect("stores");
    let (context, stream) = stream(&[server.url()]).await;
    let config = stream.cached_info().config.clone();
    context.delete_stream(&config.name).await.expect("is deleted");
    context.create_stream(config).await.expect("is made");
    world.gives_up().await;
    assert_refused(&place, "is a copy of another stream").await;
}

#[tokio::test]
async fn while_nats_is_away_writes_are_refused_and_reads_go_on() {
    let mut server = Server::start().await;
    let place = Place::on(server.engine());
    let world = World::start(&place).await;
    world.store.append(&[event(1)]).await.expect("stores");
    server.kill().await;
    let refused = world.store.append(&[event(2)]).await.expect_err("nobody acknowledges");
    assert_eq!((refused.status(), refused.code()), (Some(503), Some("stream_unavailable")));
    let probed = kit::http::client(DEADLINE).get(format!("{}/ready", world.base)).send().await.expect("answers");
    assert_eq!((probed.status().as_u16(), probed.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    assert_eq!(world.stored().await, [1]);
    server.restart().await;
    world.is_ready().await;
    world.store.append(&[event(2)]).await.expect("stores again");
    assert_eq!(world.stored().await, [1, 2]);
    world.stop().await;
}

#[tokio::test]
async fn a_node_of_three_that_dies_takes_nothing_with_it() {
    let mut servers = Server::cluster().await;
    let urls = servers.each_ref().map(Server::url);
    let engine = nats::engine(&urls, Some(3), &mut Vars::default());
    let places = [Place::on(engine.clone()), Place::on(engine)];
    // The servers take a moment to agree on who leads.
    let first = until("three servers find each other", async || {
        World::try_start(config(&places[0]), Clock::manual(now())).await.ok()
    })
    .await;
    let worlds = [first, World::start(&places[1]).await];
    let (acknowledged, stores) = (AtomicU64::new(0), worlds.each_ref().map(|world| world.store.clone()));
    let (_, stream) = stream(&urls).await;
    let leader = stream.get_info().await.expect("answers").cluster.and_then(|cluster| cluster.leader).expect("has one");
    let leader: usize = leader.strip_prefix("node-").and_then(|number| number.parse().ok()).expect("is one of ours");
    let death = async {
        reaches(&acknowledged, 100).await;
        servers[leader].kill().await;
    };
    tokio::join!(write_all(&stores, 300, &acknowledged), death);
    let log = log_of(&worlds[0], 300).await;
    assert_whole(&log, 300);
    assert_eq!(log_of(&worlds[1], 300).await, log);
    for world in worlds {
        world.stop().await;
    }
    assert_eq!(head(&places[0]), head(&places[1]));
}

#[tokio::test]
async fn what_is_applied_again_changes_nothing() {
    let server = Server::start().await;
    let place = Place::on(server.engine());
    let world = World::start(&place).await;
    for batch in (0..100).map(event).collect::<Vec<_>>().chunks(5) {
        world.store.append(batch).await.expect("stores");
    }
    let log = log_of(&world, 100).await;
    world.stop().await;
    let before = head(&place);
    // As after a kill that came before the place was noted.
    let note = place.data.path().join("stream.json");
    let noted: serde_json::Value = serde_json::from_slice(&std::fs::read(&note).unwrap()).unwrap();
    assert_eq!((&noted["sequence"], &noted["event"]), (&20.into(), &100.into()));
    let mut behind = noted.clone();
    behind["sequence"] = 0.into();
    std::fs::write(&note, behind.to_string()).unwrap();
    World::start(&place).await.stop().await;
    assert_eq!(head(&place), before);
    // As after a database that was lost, or comes from an old backup.
    std::fs::remove_file(place.data.path().join("events.db")).unwrap();
    let world = World::start(&place).await;
    assert_eq!(log_of(&world, 100).await, log);
    world.stop().await;
    assert_eq!(head(&place), before);
}

#[tokio::test]
async fn a_directory_that_is_no_copy_of_the_stream_is_refused() {
    let server = Server::start().await;
    let own = Place::sqlite();
    let world = World::start(&own).await;
    world.store.append(&[event(1)]).await.expect("stores");
    world.stop().await;
    let copy = Place::on(server.engine());
    World::start(&copy).await.stop().await;
    let other = Server::start().await;
    let cases = [
        (own, server.engine(), "has events of its own"),
        (copy, other.engine(), "is a copy of another stream, test-events"),
    ];
    for (place, engine, expect) in cases {
        let place = Place { engine, ..place };
        assert_refused(&place, expect).await;
    }
    let copy = Place::on(server.engine());
    World::start(&copy).await.stop().await;
    assert_refused(&Place { engine: EngineConfig::Sqlite, ..copy }, "remove stream.json from it").await;
}

async fn assert_refused(place: &Place, expect: &str) {
    let error = World::try_start(config(place), Clock::manual(now())).await.err().expect("does not start").to_string();
    assert!(error.contains(expect), "{expect}: {error}");
}

#[tokio::test]
async fn a_server_that_will_not_do_is_named_with_the_cure() {
    let nobody = ["nats://127.0.0.1:9".to_owned()];
    let place = Place::on(nats::engine(&nobody, None, &mut Vars::default()));
    assert_refused(&place, "cannot connect to NATS at nats://127.0.0.1:9").await;
    let small = Server::start_as("max_payload: 1MB\n").await;
    assert_refused(&Place::on(small.engine()), "set max_payload: 9MB").await;
    let server = Server::start().await;
    World::start(&Place::on(server.engine())).await.stop().await;
    let three = nats::engine(&[server.url()], Some(3), &mut Vars::default());
    assert_refused(&Place::on(three), "it has 1 replicas, not 3").await;
}

#[tokio::test]
async fn credentials_of_every_kind_let_in_and_none_does_not() {
    let password = Server::start_as("authorization { user: me, password: hunter2 }\n").await;
    let token = Server::start_as("authorization { token: hunter2 }\n").await;
    let cases = [
        (&password, &[("BIFROST_NATS_USER", "me"), ("BIFROST_NATS_PASSWORD", "hunter2")][..]),
        (&token, &[("BIFROST_NATS_TOKEN", "hunter2")]),
    ];
    for (server, pairs) in cases {
        assert_refused(&Place::on(server.engine()), "cannot connect to NATS").await;
        let mut vars = Vars::from_pairs(pairs.iter().copied());
        let place = Place::on(nats::engine(&[server.url()], None, &mut vars));
        World::start(&place).await.stop().await;
    }
}
