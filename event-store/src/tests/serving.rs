//! Writing, reading, following, stopping.

use futures_util::future::join_all;
use serde_json::value::RawValue;
use wire::event::Event;

use super::world::{DEADLINE, Place, World, event, next, over_both_engines, task};

over_both_engines! {
    what_was_acknowledged_is_there_after_a_restart_in_order,
    events_of_a_task_come_back_whole_and_page_by_page,
    an_id_with_other_content_is_a_conflict_and_nothing_is_stored,
    many_writers_at_once_lose_nothing_and_leave_no_gap,
    a_follower_sees_every_event_once_and_resumes_where_it_was,
    a_follower_catches_up_over_many_chunks,
    the_probes_need_no_signature,
}

async fn what_was_acknowledged_is_there_after_a_restart_in_order(place: Place) {
    let world = World::start(&place).await;
    let batch = [event(1), event(2), event(3)];
    let appended = world.store.append(&batch).await.expect("stores");
    assert_eq!(appended.events.iter().map(|receipt| receipt.seq).collect::<Vec<_>>(), [1, 2, 3]);
    world.stop().await;
    let files = std::fs::read_dir(place.data.path()).unwrap().map(|file| file.unwrap().file_name());
    assert!(files.into_iter().all(|name| !name.to_string_lossy().ends_with("-wal")), "closed cleanly");
    let world = World::start(&place).await;
    let again = world.store.append(&[event(3), event(4)]).await.expect("stores");
    assert_eq!(
        again.events.iter().map(|receipt| (receipt.seq, receipt.duplicate)).collect::<Vec<_>>(),
        [(3, true), (4, false)]
    );
    assert_eq!(world.stored().await, [1, 2, 3, 4]);
    world.stop().await;
}

async fn events_of_a_task_come_back_whole_and_page_by_page(place: Place) {
    let world = World::start(&place).await;
    let payload = RawValue::from_string("{\"b\": 1.10,  \"a\":[ ]}".into()).unwrap();
    let of_two = Event { task_id: Some(task(2)), payload, ..event(9) };
    let of_none = Event { task_id: None, ..event(10) };
    world.store.append(&[event(1), of_two.clone(), event(2), of_none, event(3)]).await.expect("stores");
    let page = world.store.task_events(task(2), 0, 10).await.expect("reads");
    let [stored] = page.events.as_slice() else { panic!("{page:?}") };
    assert_eq!(stored.payload.get(), of_two.payload.get());
    assert_eq!(
        (stored.seq, stored.id, stored.task_id, stored.created_at),
        (2, of_two.id, of_two.task_id, of_two.created_at)
    );
    assert_eq!((&stored.kind, &stored.producer, stored.schema_version), (&of_two.kind, &of_two.producer, 1));
    let first = world.store.task_events(task(1), 0, 2).await.expect("reads");
    assert_eq!(first.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 3]);
    let rest = world.store.task_events(task(1), 3, 2).await.expect("reads");
    assert_eq!(rest.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [5]);
    assert!(world.store.task_events(task(3), 0, 2).await.expect("an unknown task is no error").events.is_empty());
    world.stop().await;
}

async fn an_id_with_other_content_is_a_conflict_and_nothing_is_stored(place: Place) {
    let world = World::start(&place).await;
    world.store.append(&[event(1)]).await.expect("stores");
    let changed = Event { kind: "changed".into(), ..event(1) };
    let refused = world.store.append(&[event(2), changed]).await.expect_err("conflicts");
    assert_eq!((refused.status(), refused.code()), (Some(409), Some("event_conflict")));
    let client::Error::Refused(problem) = refused else { panic!("a problem") };
    assert_eq!(problem.field.as_deref(), Some("events.1.id"));
    let twice = [event(3), Event { kind: "changed".into(), ..event(3) }];
    for _ in 0..2 {
        let refused = world.store.append(&twice).await.expect_err("conflicts with itself");
        assert_eq!(refused.code(), Some("event_conflict"));
    }
    assert_eq!(world.stored().await, [1]);
    world.stop().await;
}

async fn many_writers_at_once_lose_nothing_and_leave_no_gap(place: Place) {
    let world = World::start(&place).await;
    let writers = (0..32_u64).map(|writer| {
        let store = world.store.clone();
        async move {
            for number in 0..10 {
                store.append(&[event(writer * 10 + number)]).await.expect("stores");
            }
        }
    });
    join_all(writers).await;
    let page = world.store.feed(0, 1_000).await.expect("reads");
    assert!(page.events.iter().map(|event| event.seq).eq(1..=320));
    let mut numbers = world.stored().await;
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..320));
    world.stop().await;
}

async fn a_follower_sees_every_event_once_and_resumes_where_it_was(place: Place) {
    let world = World::start(&place).await;
    let laid_out = RawValue::from_string("{\n \"a\":\r\n 1\r}".into()).unwrap();
    world.store.append(&[event(1), Event { payload: laid_out, ..event(2) }]).await.expect("stores");
    let mut all = world.store.follow(None, 0).await.expect("follows");
    let mut of_task = world.store.follow(Some(task(1)), 1).await.expect("follows");
    assert_eq!(next(&mut all).await.seq, 1);
    assert_eq!(next(&mut all).await.payload.get(), "{\n \"a\":\n\n 1\n}");
    assert_eq!(next(&mut of_task).await.seq, 2);
    let other = Event { task_id: Some(task(2)), ..event(3) };
    world.store.append(&[other]).await.expect("stores");
    world.store.append(&[event(4)]).await.expect("stores");
    assert_eq!((next(&mut all).await.seq, next(&mut all).await.seq), (3, 4));
    assert_eq!(next(&mut of_task).await.seq, 4);
    world.stop().await;
    // The stop has ended the streams; a new store goes on behind the last id.
    assert_eq!(tokio::time::timeout(DEADLINE, all.next()).await.expect("ends"), None);
    let world = World::start(&place).await;
    let mut all = world.store.follow(None, 4).await.expect("follows");
    world.store.append(&[event(5)]).await.expect("stores");
    assert_eq!(next(&mut all).await.seq, 5);
    world.stop().await;
}

async fn a_follower_catches_up_over_many_chunks(place: Place) {
    let world = World::start(&place).await;
    world.store.append(&(0..1_000).map(event).collect::<Vec<_>>()).await.expect("stores");
    let mut all = world.store.follow(None, 0).await.expect("follows");
    for seq in 1..=1_000 {
        assert_eq!(next(&mut all).await.seq, seq);
    }
    world.stop().await;
}

async fn the_probes_need_no_signature(place: Place) {
    let world = World::start(&place).await;
    world.store.health().await.expect("is up");
    world.store.ready().await.expect("can write");
    let http = kit::http::client(DEADLINE);
    let metrics = http.get(format!("{}/metrics", world.base)).send().await.expect("answers");
    assert_eq!(metrics.status(), 200);
    world.stop().await;
}
