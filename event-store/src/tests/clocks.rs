//! The store's clock jumps while clients write.

use futures_util::future::join_all;

use chrono::TimeDelta;
use client::events::EventStore;
use kit::Clock;
use wire::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP};

use super::world::{DEADLINE, Place, World, event, key, now, over_both_engines, signer};

over_both_engines! {
    while_the_clock_jumps_writes_go_on_without_gaps_and_keep_the_producers_time,
}

const HOURS: [i64; 6] = [3, -5, 48, -47, 0, -8_760];

async fn while_the_clock_jumps_writes_go_on_without_gaps_and_keep_the_producers_time(place: Place) {
    let world = World::start(&place).await;
    let own_clock = Clock::manual(now());
    let clients: Vec<EventStore> =
        (0..8).map(|_| EventStore::new(&world.base, signer(key(), None, &own_clock))).collect();
    for (round, hours) in (0..).zip(HOURS) {
        world.clock.set(now() + TimeDelta::hours(hours));
        let writes = (0..).zip(&clients).map(|(client, store)| async move {
            for number in 0..4 {
                store
                    .append(&[event(round * 100 + client * 10 + number)])
                    .await
                    .expect("signs again by the store's clock");
            }
        });
        join_all(writes).await;
        let page = clients[0].feed(0, 1_000).await.expect("reads");
        assert!(page.events.iter().map(|event| event.seq).eq(1..=(round + 1) * 32), "{hours} hours");
        assert!(page.events.iter().all(|event| event.created_at == now()));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_request_signed_by_the_time_before_a_jump_is_told_the_time() {
    let place = Place::sqlite();
    let world = World::start(&place).await;
    let http = kit::http::client(DEADLINE);
    for hours in HOURS.into_iter().filter(|hours| *hours != 0) {
        let jumped = now() + TimeDelta::hours(hours);
        world.clock.set(jumped);
        let (id, time, body) = (format!("{hours}"), now().timestamp(), "{}");
        let request = http.post(format!("{}/v1/events", world.base)).body(body);
        let request = request.header(HEADER_ID, &id).header(HEADER_TIMESTAMP, time);
        let signature = key().sign(&id, time, body.as_bytes());
        let answer = request.header(HEADER_SIGNATURE, signature).send().await.expect("answers");
        let problem: wire::problem::Problem =
            serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("a problem");
        assert_eq!((problem.code.as_str(), problem.server_time_us), ("clock_skew", Some(jumped.timestamp_micros())));
    }
    assert!(world.stored().await.is_empty());
    world.stop().await;
}
