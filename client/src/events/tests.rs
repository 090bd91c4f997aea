//! What is signed, against a server that speaks the real wire.

use chrono::DateTime;
use kit::{Chance, Clock};
use serde_json::json;
use wire::problem::Problem;
use wire::signature::Signed;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;

fn clock() -> Clock {
    Clock::manual(DateTime::from_timestamp(1_700_000_000, 0).expect("in range"))
}

fn key() -> Key {
    Key::from_bytes([1; 32])
}

fn store(server: &MockServer, prefix: &str) -> EventStore {
    let signer = Signer { key: key(), key_id: Some("machine/7".into()), clock: clock(), chance: Chance::seeded(1) };
    EventStore::new(&format!("{}{prefix}", server.uri()), signer)
}

/// Whether the request's headers are the key's signature of the content.
fn signs(request: &Request, content: &[u8], clock: &Clock) -> bool {
    let header = |name: &str| request.headers[name].to_str().expect("is text");
    let signed =
        Signed { id: header(HEADER_ID), timestamp: header(HEADER_TIMESTAMP), signature: header(HEADER_SIGNATURE) };
    header(HEADER_KEY_ID) == "machine/7" && key().verify(&signed, content, clock.now()).is_ok()
}

#[tokio::test]
async fn a_read_signs_the_path_and_query_that_the_server_sees() {
    let server = MockServer::start().await;
    let page = ResponseTemplate::new(200).set_body_json(json!({ "events": [] }));
    Mock::given(path("/below/v1/events")).respond_with(page).mount(&server).await;
    store(&server, "/below/").feed(7, 10).await.expect("reads");
    let requests = server.received_requests().await.expect("recorded");
    assert!(signs(&requests[0], b"/below/v1/events?after=7&limit=10", &clock()));
}

#[tokio::test]
async fn a_write_signs_its_body_and_each_request_has_an_id_of_its_own() {
    let server = MockServer::start().await;
    let appended = ResponseTemplate::new(201).set_body_json(json!({ "events": [] }));
    Mock::given(method("POST")).respond_with(appended).mount(&server).await;
    let store = store(&server, "");
    store.append(&[]).await.expect("writes");
    store.append(&[]).await.expect("writes");
    let requests = server.received_requests().await.expect("recorded");
    assert!(requests.iter().all(|request| signs(request, br#"{"events":[]}"#, &clock())));
    assert_ne!(requests[0].headers[HEADER_ID], requests[1].headers[HEADER_ID]);
}

#[tokio::test]
async fn a_refusal_that_tells_the_time_is_answered_once_by_that_time() {
    let server = MockServer::start().await;
    let theirs = clock();
    theirs.advance(Duration::from_secs(3_600));
    let mut skew = Problem::new(401, "Unauthorized", CLOCK_SKEW, "too far away");
    skew.server_time_us = Some(theirs.now().timestamp_micros());
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(401).set_body_json(&skew)).mount(&server).await;
    let refused = store(&server, "").append_granted(&[], &["a-grant".into()]).await.expect_err("is refused again");
    assert_eq!(refused.code(), Some(CLOCK_SKEW));
    let requests = server.received_requests().await.expect("recorded");
    let [first, second] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert!(signs(first, br#"{"events":[]}"#, &clock()));
    assert!(signs(second, br#"{"events":[]}"#, &theirs));
    assert!(requests.iter().all(|request| request.headers[grant::HEADER] == "a-grant"));
    assert_ne!(first.headers[HEADER_ID], second.headers[HEADER_ID]);
}
