//! Who gets in, and what everybody else is told (FLY-020).

use std::time::Duration;

use client::events::EventStore;
use reqwest::{RequestBuilder, Response};
use wire::event::Event;
use wire::problem::{CONTENT_TYPE, Problem};
use wire::signature::{HEADER_ID, HEADER_KEY_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Key};

use super::world::{DEADLINE, Place, World, event, key, now, over_both_engines, signer, task};
use crate::Ungranted;

over_both_engines! {
    only_what_the_key_signed_lately_gets_in,
    a_repeated_write_is_a_retry_unless_its_body_changed,
    a_machine_writes_its_own_events_and_reads_none,
    the_previous_secret_is_accepted_while_it_is_replaced,
    a_client_whose_clock_is_behind_signs_by_the_servers,
    what_is_wrong_with_a_request_is_named,
}

async fn problem(response: Response) -> Problem {
    assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
    let status = response.status().as_u16();
    let problem: Problem = serde_json::from_slice(&response.bytes().await.expect("a body")).expect("a problem");
    assert_eq!(problem.status, status);
    problem
}

fn sign(request: RequestBuilder, key: &Key, id: &str, timestamp: i64, content: &str) -> RequestBuilder {
    let signature = key.sign(id, timestamp, content.as_bytes());
    request.header(HEADER_ID, id).header(HEADER_TIMESTAMP, timestamp).header(HEADER_SIGNATURE, signature)
}

fn post(world: &World, body: &str) -> RequestBuilder {
    kit::http::client(DEADLINE).post(format!("{}/events", world.base)).body(body.to_owned())
}

fn get(world: &World, target: &str) -> RequestBuilder {
    kit::http::client(DEADLINE).get(format!("{}{target}", world.base))
}

fn body(number: u64) -> String {
    serde_json::to_string(&event(number)).expect("an event is JSON")
}

async fn only_what_the_key_signed_lately_gets_in(place: Place) {
    let world = World::start(&place).await;
    let (body, time) = (body(1), now().timestamp());
    let wrong = Key::from_bytes([2; 32]);
    let cases = [
        (post(&world, &body), "signature_missing"),
        (sign(post(&world, &body), &wrong, "a", time, &body), "signature_wrong"),
        (sign(post(&world, &body), &key(), "a", time, "other"), "signature_wrong"),
        (sign(post(&world, &body), &key(), "a", time - 301, &body), "clock_skew"),
        (sign(post(&world, &body), &key(), "a", time + 301, &body), "clock_skew"),
        (sign(post(&world, &body), &key(), "a", time, &body).header(HEADER_KEY_ID, "other"), "signature_wrong"),
        (get(&world, "/events"), "signature_missing"),
        (sign(get(&world, "/events?limit=5"), &key(), "b", time, "/events?limit=6"), "signature_wrong"),
    ];
    for (request, code) in cases {
        let problem = problem(request.send().await.expect("answers")).await;
        assert_eq!((problem.status, problem.code.as_str()), (401, code));
        assert_eq!(problem.server_time_us.is_some(), code == "clock_skew");
    }
    assert!(world.stored().await.is_empty());
    let accepted = sign(post(&world, &body), &key(), "a", time - 299, &body).send().await.expect("answers");
    assert_eq!(accepted.status(), 201);
    world.stop().await;
}

async fn a_repeated_write_is_a_retry_unless_its_body_changed(place: Place) {
    let world = World::start(&place).await;
    let time = now().timestamp();
    for (id, number, expect) in [("a", 1, 201), ("a", 1, 201), ("a", 2, 401), ("b", 2, 201)] {
        let request = sign(post(&world, &body(number)), &key(), id, time, &body(number));
        assert_eq!(request.send().await.expect("answers").status(), expect, "{id} {number}");
    }
    assert_eq!(world.stored().await, [1, 2]);
    let read = || sign(get(&world, "/events"), &key(), "c", time, "/events");
    assert_eq!(read().send().await.expect("answers").status(), 200);
    assert_eq!(problem(read().send().await.expect("answers")).await.code, "replayed");
    world.stop().await;
}

async fn a_machine_writes_its_own_events_and_reads_none(place: Place) {
    let world = World::start(&place).await;
    let (machine, id) = world.machine(7);
    let own = Event { producer: id.clone(), task_id: None, ..event(1) };
    machine.append(std::slice::from_ref(&own)).await.expect("its own");
    let foreign = machine.append(&[own, event(2)]).await.expect_err("another's");
    assert_eq!((foreign.status(), foreign.code()), (Some(403), Some("wrong_producer")));
    let read = machine.task_events(task(1), 0, 10).await.expect_err("a read");
    assert_eq!((read.status(), read.code()), (Some(403), Some("write_only")));
    let stolen = EventStore::new(&world.base, signer(key().derive("other"), Some(id), &world.clock));
    assert_eq!(stolen.append(&[event(3)]).await.expect_err("a wrong key").code(), Some("signature_wrong"));
    assert_eq!(world.stored().await, [1]);
    world.stop().await;
}

async fn the_previous_secret_is_accepted_while_it_is_replaced(place: Place) {
    let previous = Key::from_bytes([9; 32]);
    let world = World::start_with(&place, Some(previous.clone()), Ungranted::Refused).await;
    let late = EventStore::new(&world.base, signer(previous, None, &world.clock));
    late.append(&[event(1)]).await.expect("the previous secret");
    world.store.append(&[event(2)]).await.expect("the current secret");
    assert_eq!(late.feed(0, 10).await.expect("reads with the previous secret").events.len(), 2);
    late.follow(None, 0).await.expect("follows with the previous secret");
    let neither = EventStore::new(&world.base, signer(Key::from_bytes([8; 32]), None, &world.clock));
    assert_eq!(neither.feed(0, 10).await.expect_err("is neither").code(), Some("signature_wrong"));
    world.stop().await;
}

async fn a_client_whose_clock_is_behind_signs_by_the_servers(place: Place) {
    let world = World::start(&place).await;
    let asleep = kit::Clock::manual(now());
    let sleeper = EventStore::new(&world.base, signer(key(), None, &asleep));
    world.clock.advance(Duration::from_secs(3_600));
    sleeper.append(&[event(1)]).await.expect("signs again");
    sleeper.feed(0, 10).await.expect("has learnt it");
    world.stop().await;
}

async fn what_is_wrong_with_a_request_is_named(place: Place) {
    let world = World::start(&place).await;
    let time = now().timestamp();
    let cases = [
        ("/v1/events/7", 400, "invalid", Some("task_id")),
        ("/v1/events/%ff", 400, "invalid", Some("task_id")),
        ("/v1/events?limit=0", 400, "invalid", Some("limit")),
        ("/v1/events?limit=10001", 400, "invalid", Some("limit")),
        ("/v1/events?after=-1", 400, "invalid", Some("after")),
        ("/v1/events?after=18446744073709551615", 400, "invalid", Some("after")),
        ("/v1/events?type=No", 400, "invalid", Some("type")),
        ("/v1/events?follow=maybe", 400, "invalid", Some("follow")),
        ("/v1/events?colour=red", 400, "invalid", Some("colour")),
        ("/nothing", 404, "not_found", None),
    ];
    for (target, status, code, field) in cases {
        let answer = sign(get(&world, target), &key(), target, time, target).send().await.expect("answers");
        let problem = problem(answer).await;
        assert_eq!(
            (problem.status, problem.code.as_str(), problem.field.as_deref()),
            (status, code, field),
            "{target}"
        );
    }
    let wrong_method = kit::http::client(DEADLINE).delete(format!("{}/v1/events", world.base)).send().await;
    assert_eq!(problem(wrong_method.expect("answers")).await.code, "method_not_allowed");
    let large = "x".repeat(wire::limit::EVENT_BATCH_BYTES + 1);
    let refused = sign(post(&world, &large), &key(), "large", time, &large).send().await.expect("answers");
    assert_eq!(problem(refused).await.code, "too_large");
    let malformed = sign(post(&world, "{"), &key(), "half", time, "{").send().await.expect("answers");
    assert_eq!(problem(malformed).await.code, "malformed");
    world.stop().await;
}

#[test]
fn a_start_without_a_fit_secret_is_refused_with_the_cure() {
    let refused = |pairs: &[(&str, &str)]| {
        let mut vars = kit::Vars::from_pairs(pairs.iter().copied());
        assert!(crate::Config::from_vars(&mut vars, "data".into()).is_none());
        vars.finish().expect_err("no fit secret").to_string()
    };
    assert!(refused(&[]).contains("FLY_EVENT_SECRET: is not set; make one with"));
    assert!(refused(&[("FLY_EVENT_SECRET", "c2hvcnQ=")]).contains("fewer than 32 bytes"));
    assert!(refused(&[("FLY_EVENT_SECRET", "!")]).contains("not base64"));
}
