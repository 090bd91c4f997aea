//! Followers: what they cost, and that they miss nothing across restarts.

use client::sse::{Decoder, Messages};
use futures_util::future::join_all;
use wire::event::StoredEvent;
use wire::id::TaskId;
use wire::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP};

use crate::program::{DEADLINE, Program, event, key, task};

const READS: &str = "event_store_follower_reads_total";

async fn next(messages: &mut Messages) -> u64 {
    let message = tokio::time::timeout(DEADLINE, messages.next()).await.expect("comes").expect("is open");
    serde_json::from_str::<StoredEvent>(&message.data).expect("an event").seq
}

#[tokio::test]
async fn a_follower_of_one_task_reads_nothing_while_only_another_is_written() {
    let data = tempfile::tempdir().unwrap();
    let program = Program::start(data.path()).await;
    let mut follower = program.store.follow(Some(task(1)), 0).await.expect("follows");
    program.store.append(&[event(1, task(1))]).await.expect("stores");
    assert_eq!(next(&mut follower).await, 1);
    let before = program.metric(READS).await;
    for number in 2..=50 {
        program.store.append(&[event(number, task(2))]).await.expect("stores");
    }
    program.store.append(&[event(51, task(1))]).await.expect("stores");
    assert_eq!(next(&mut follower).await, 51);
    assert_eq!(program.metric(READS).await - before, 1);
    program.stop().await;
}

#[tokio::test]
async fn many_followers_of_single_tasks_each_hear_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let program = Program::start(data.path()).await;
    let tasks: Vec<TaskId> = (0..500_u64).map(|number| event(number, task(0)).id.uuid().into()).collect();
    let follow = tasks.iter().map(|task| program.store.follow(Some(*task), 0));
    let mut followers: Vec<Messages> = join_all(follow).await.into_iter().map(|it| it.expect("follows")).collect();
    for (number, task) in (0..).zip(&tasks) {
        program.store.append(&[event(number, *task)]).await.expect("stores");
    }
    let heard = join_all(followers.iter_mut().map(next)).await;
    assert!(heard.into_iter().eq(1..=500));
    assert_eq!(program.metric(READS).await, 500);
    program.stop().await;
}

/// The ids of messages behind the last id, until there are so many or the stream ends.
async fn ids_behind(program: &Program, last: u64, task: Option<TaskId>, most: usize) -> Vec<u64> {
    let target = task.map_or("/v1/events".to_owned(), |task| format!("/v1/events/{task}"));
    let (id, time) = (kit::Chance::system().hex::<16>(), kit::Clock::system().now().timestamp());
    let request = kit::http::client(DEADLINE).get(format!("http://{}{target}", program.address));
    let request = request.header("accept", "text/event-stream").header("last-event-id", last);
    let request = request.header(HEADER_ID, &id).header(HEADER_TIMESTAMP, time);
    let signature = key().sign(&id, time, target.as_bytes());
    let mut answer = request.header(HEADER_SIGNATURE, signature).send().await.expect("answers");
    let (mut decoder, mut ids) = (Decoder::default(), Vec::new());
    while ids.len() < most {
        let Ok(Some(bytes)) = answer.chunk().await else { break };
        decoder.feed(&bytes);
        while let Some(message) = decoder.next_message() {
            ids.push(message.id.expect("has one").parse().expect("a number"));
        }
    }
    ids
}

#[tokio::test]
async fn a_stream_resumed_by_its_last_id_has_no_gap_and_no_repeat_across_stops_and_kills() {
    let data = tempfile::tempdir().unwrap();
    let (mut all, mut of_task): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
    for round in 0..6_u64 {
        let program = Program::start(data.path()).await;
        // Every third event is of the task that is followed.
        let writes = async {
            for number in round * 60..(round + 1) * 60 {
                let of = task(u8::from(number % 3 == 0));
                program.store.append(&[event(number, of)]).await.expect("stores");
            }
        };
        let last = |ids: &[u64]| ids.last().copied().unwrap_or(0);
        // They read a part of what is written, so that the next stream has to catch up first.
        let (last_of_all, last_of_task) = (last(&all), last(&of_task));
        let (more, more_of_task, ()) = tokio::join!(
            ids_behind(&program, last_of_all, None, 50),
            ids_behind(&program, last_of_task, Some(task(1)), 15),
            writes,
        );
        all.extend(more);
        of_task.extend(more_of_task);
        if round % 2 == 0 { program.stop().await } else { program.kill().await }
    }
    assert!(all.iter().copied().eq(1..=all.len() as u64), "{all:?}");
    assert!(all.len() >= 300);
    assert!(of_task.iter().copied().eq((0..of_task.len() as u64).map(|number| number * 3 + 1)), "{of_task:?}");
    assert!(of_task.len() >= 90);
}

#[tokio::test]
async fn a_follower_that_never_reads_is_read_no_more_for_than_the_wire_holds() {
    let data = tempfile::tempdir().unwrap();
    let program = Program::start(data.path()).await;
    let _deaf = program.store.follow(None, 0).await.expect("follows");
    let large = serde_json::value::to_raw_value(&"x".repeat(500_000)).expect("a string is JSON");
    let before = program.resident_kib();
    for number in 0..100 {
        let event = wire::event::Event { payload: large.clone(), ..event(number, task(1)) };
        program.store.append(&[event]).await.expect("the writer goes on");
    }
    // Every event is more than a follower is handed at a time, so each takes a read.
    let reads = program.metric(READS).await;
    assert!(reads < 50, "{reads} of 100 events were read for somebody who takes none");
    let grown = program.resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    program.stop().await;
}
