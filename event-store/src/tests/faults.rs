//! Bodies that are wrong in every way we know: each is refused with its cure,
//! nothing is stored, and the store goes on serving.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Response;
use serde_json::{Value, json};
use wire::limit::{EVENT_BATCH_BYTES, EVENTS_PER_BATCH};
use wire::problem::Problem;
use wire::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP};

use super::world::{DEADLINE, Place, World, event, key, now, over_both_engines};

over_both_engines! {
    the_same_events_are_stored_in_every_shape_and_encoding,
    what_is_wrong_with_an_event_is_named,
    payloads_are_the_producers_own,
}

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Posts what the master secret has signed.
async fn post(world: &World, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response {
    let (body, time) = (body.into(), now().timestamp());
    // The id is made of the content, so that no two bodies share one.
    let signature = key().sign("", time, &body);
    let id = format!("{signature}{headers:?}").replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let mut request = kit::http::client(DEADLINE)
        .post(format!("{}/v1/events", world.base))
        .header(HEADER_SIGNATURE, key().sign(&id, time, &body))
        .header(HEADER_TIMESTAMP, time)
        .header(HEADER_ID, id);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.expect("answers")
}

async fn problem(response: Response) -> Problem {
    let body = response.bytes().await.expect("a body");
    serde_json::from_slice(&body).expect("a problem document")
}

/// What the refusal must be: its status, its code, the field and a word of the cure.
type Expected<'a> = (u16, &'a str, Option<&'a str>, &'a str);

async fn check(world: &World, headers: &[(&str, &str)], body: impl Into<Vec<u8>>, expected: Expected<'_>) {
    let problem = problem(post(world, headers, body).await).await;
    let (status, code, field, cure) = expected;
    let found = (problem.status, problem.code.as_str(), problem.field.as_deref());
    assert_eq!(found, (status, code, field), "{headers:?}: {}", problem.detail);
    assert!(problem.detail.contains(cure), "{:?} says nothing of {cure:?}", problem.detail);
}

/// Nothing was stored, and the next event is.
async fn goes_on(world: World) {
    assert!(world.stored().await.is_empty());
    world.store.append(&[event(1)]).await.expect("stores");
    assert_eq!(world.stored().await, [1]);
    world.stop().await;
}

fn text() -> String {
    serde_json::to_string(&event(1)).expect("an event is JSON")
}

fn with(name: &str, json: &str) -> String {
    let mut event: serde_json::Map<String, Value> = serde_json::from_str(&text()).expect("an object");
    event.remove(name);
    let rest = Value::Object(event).to_string();
    format!("{},\"{name}\":{json}}}", rest.trim_end_matches('}'))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(body).expect("memory can be written to");
    packed.finish().expect("memory can be written to")
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).expect("memory can be written to")
}

async fn the_same_events_are_stored_in_every_shape_and_encoding(place: Place) {
    let world = World::start(&place).await;
    let number = |offset: u64| serde_json::to_string(&event(offset)).expect("an event is JSON");
    let mut expected = Vec::new();
    for (round, encoding) in ["identity", "gzip", "x-gzip", "zstd", "GZIP"].into_iter().enumerate() {
        let first = 10 * round as u64;
        let [one, two, three, four] = [first, first + 1, first + 2, first + 3].map(number);
        let bodies = [
            (JSON, one.clone()),
            (JSON, format!("[{one},{two}]")),
            ("text/json; charset=utf-8", format!(" {{\"events\":[{two},{three}]}}\n")),
            (LINES, format!("\n{three}\r\n  \n{four}")),
        ];
        for (content_type, body) in bodies {
            let body = match encoding {
                "identity" => body.into_bytes(),
                "zstd" => zstd(body.as_bytes()),
                _ => gzip(body.as_bytes()),
            };
            let headers = [("content-type", content_type), ("content-encoding", encoding)];
            assert_eq!(post(&world, &headers, body).await.status(), 201, "{headers:?}");
        }
        expected.extend(first..first + 4);
    }
    assert_eq!(world.stored().await, expected);
    world.stop().await;
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_packed_and_unpacked() {
    let place = Place::sqlite();
    let world = World::start(&place).await;
    let nine_mebibytes = vec![b' '; 9 * 1024 * 1024];
    let too_large = (413, "too_large", None, "send smaller batches");
    check(&world, &[], nine_mebibytes.clone(), too_large).await;
    // A gibibyte, of which no more than the bound is ever unpacked.
    let mut gzip_bomb = GzEncoder::new(Vec::new(), Compression::best());
    let mut zstd_bomb = zstd::Encoder::new(Vec::new(), 1).expect("memory can be written to");
    for _ in 0..114 {
        gzip_bomb.write_all(&nine_mebibytes[..EVENT_BATCH_BYTES / 8]).expect("memory can be written to");
        zstd_bomb.write_all(&nine_mebibytes).expect("memory can be written to");
    }
    let gzip_bomb = gzip_bomb.finish().expect("memory can be written to");
    let zstd_bomb = zstd_bomb.finish().expect("memory can be written to");
    assert!(gzip_bomb.len() < 1024 * 1024 && zstd_bomb.len() < 1024 * 1024);
    check(&world, &[("content-encoding", "gzip")], gzip_bomb, too_large).await;
    check(&world, &[("content-encoding", "zstd")], zstd_bomb, too_large).await;
    goes_on(world).await;
}

#[tokio::test]
async fn packed_bodies_that_cannot_be_unpacked_say_so() {
    let place = Place::sqlite();
    let world = World::start(&place).await;
    let (gzipped, zstded) = (gzip(text().as_bytes()), zstd(text().as_bytes()));
    let mut wrong_sum = gzipped.clone();
    let place = wrong_sum.len() - 8;
    wrong_sum[place] ^= 1;
    let mut wide = zstd::Encoder::new(Vec::new(), 1).expect("memory can be written to");
    wide.window_log(24).expect("is allowed");
    wide.write_all(&[b' '; 1024]).expect("memory can be written to");
    wide.flush().expect("memory can be written to");
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("gzip", gzipped[..gzipped.len() - 9].to_vec(), "send it whole"),
        ("gzip", Vec::new(), "send it whole"),
        ("gzip", [&gzipped[..], b"and then some more"].concat(), "content-encoding says"),
        ("gzip", wrong_sum, "content-encoding says"),
        ("gzip", text().into_bytes(), "content-encoding says"),
        ("zstd", zstded[..zstded.len() - 1].to_vec(), "send it whole"),
        ("zstd", [&zstded[..], b"and then some more"].concat(), "content-encoding says"),
        ("zstd", text().into_bytes(), "content-encoding says"),
        ("zstd", wide.finish().expect("memory can be written to"), "too much memory"),
    ];
    for (encoding, body, cure) in cases {
        let expected = (400, "malformed", Some("content-encoding"), cure);
        check(&world, &[("content-encoding", encoding)], body, expected).await;
    }
    goes_on(world).await;
}

#[tokio::test]
async fn forms_that_are_not_known_are_refused_with_those_that_are() {
    let place = Place::sqlite();
    let world = World::start(&place).await;
    for encoding in ["br", "deflate", "gzip, gzip", "identity, gzip", ""] {
        let answer = post(&world, &[("content-encoding", encoding)], text()).await;
        assert_eq!(answer.headers()["accept-encoding"], "gzip, zstd", "{encoding}");
        assert_eq!(problem(answer).await.code, "unknown_encoding", "{encoding}");
    }
    let twice = [("content-encoding", "gzip"), ("content-encoding", "zstd")];
    check(&world, &twice, text(), (415, "unknown_encoding", Some("content-encoding"), "one alone")).await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonl", ""] {
        let answer = post(&world, &[("content-type", kind)], text()).await;
        assert_eq!(answer.headers()["accept"], "application/json, application/x-ndjson", "{kind}");
        assert_eq!(problem(answer).await.code, "unknown_type", "{kind}");
    }
    goes_on(world).await;
}

#[tokio::test]
async fn a_packed_body_is_signed_as_it_was_sent() {
    let place = Place::sqlite();
    let world = World::start(&place).await;
    let time = now().timestamp();
    let request = kit::http::client(DEADLINE)
        .post(format!("{}/v1/events", world.base))
        .header(HEADER_ID, "a")
        .header(HEADER_TIMESTAMP, time)
        .header(HEADER_SIGNATURE, key().sign("a", time, text().as_bytes()))
        .header("content-encoding", "gzip");
    let answer = request.body(gzip(text().as_bytes())).send().await.expect("answers");
    assert_eq!(problem(answer).await.code, "signature_wrong");
    goes_on(world).await;
}

#[tokio::test]
async fn what_is_no_json_is_refused_with_its_place() {
    let place = Place::sqlite();
    let world = World::start(&place).await;
    let bad_utf8 = with("payload", "\"?\"").replace('?', "\u{1}").into_bytes();
    let bad_utf8: Vec<u8> = bad_utf8.into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
    let cases: [(Vec<u8>, &str); 9] = [
        (bad_utf8, "is not UTF-8 at byte"),
        (with("payload", "\"a\u{0}b\"").into(), "control character"),
        (format!("{}\u{0}", text()).into(), "trailing characters"),
        (format!("{} {}", text(), text()).into(), "trailing characters"),
        (format!("\u{feff}{}", text()).into(), "byte order mark"),
        (text()[..100].into(), "EOF"),
        ("[".repeat(1_000).into(), "EOF"),
        ("".into(), "EOF"),
        (with("payload", "01").into(), "column"),
    ];
    for (body, cure) in cases {
        check(&world, &[], body, (400, "malformed", None, cure)).await;
    }
    let second = format!("{}\n{{\"id\":\n{}", text(), text());
    let lines = [("content-type", LINES)];
    check(&world, &lines, second, (400, "malformed", Some("events.1"), "EOF")).await;
    goes_on(world).await;
}

async fn what_is_wrong_with_an_event_is_named(place: Place) {
    let world = World::start(&place).await;
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let cases = [
        (with("payload", &deep), "payload", "deeper than 64"),
        (with("payload", "\"\\ud800\""), "payload", "surrogate"),
        (with("producer", "\"a\\u0000b\""), "producer", "control characters"),
        (with("producer", "\"\\udc00\""), "producer", "must be a string"),
        (with("type", "\"a\\u0000b\""), "type", "a-z"),
        (with("schema_version", "1e400"), "schema_version", "0 to 65535"),
        (with("schema_version", "65536"), "schema_version", "0 to 65535"),
        (with("schema_version", "1.0"), "schema_version", "0 to 65535"),
        (with("created_at", "\"99999999-01-01T00:00:00Z\""), "created_at", "RFC 3339"),
        (with("colour", "\"red\""), "colour", "is not a field"),
        (with("id", "null,\"id\":null"), "id", "is given twice"),
    ];
    for (event, field, cure) in cases {
        check(&world, &[], event.clone(), (400, "invalid", Some(field), cure)).await;
        let field = format!("events.1.{field}");
        let lines = format!("{}\n{event}\n", text());
        check(&world, &[("content-type", LINES)], lines, (400, "invalid", Some(&field), cure)).await;
        let batch = format!("{{\"events\":[{},{event}]}}", text());
        check(&world, &[], batch, (400, "invalid", Some(&field), cure)).await;
    }
    goes_on(world).await;
}

#[tokio::test]
async fn too_many_events_and_none_are_refused() {
    let place = Place::sqlite();
    let world = World::start(&place).await;
    let lines = [("content-type", LINES)];
    let too_many = (413, "too_many_events", Some("events"), "send smaller batches");
    check(&world, &[], format!("[{}0]", "0,".repeat(999_999)), too_many).await;
    check(&world, &[], json!(vec![event(1); EVENTS_PER_BATCH + 1]).to_string(), too_many).await;
    check(&world, &lines, format!("{}\n", text()).repeat(EVENTS_PER_BATCH + 1), too_many).await;
    let none = (400, "invalid", Some("events"), "must not be empty");
    check(&world, &[], "[]", none).await;
    check(&world, &[], "{\"events\":[]}", none).await;
    check(&world, &lines, "\n \n", none).await;
    check(&world, &lines, "", none).await;
    goes_on(world).await;
}

async fn payloads_are_the_producers_own(place: Place) {
    let world = World::start(&place).await;
    let odd = ["\"\\u0000\"", "1e400", "{\"a\":1,\"a\":2}", "123456789012345678901234567890.10", "\"\\ud83d\\ude00\""];
    for (number, payload) in odd.into_iter().enumerate() {
        let id = serde_json::to_string(&event(number as u64).id).expect("an id is JSON");
        let body = with("payload", payload).replace(&serde_json::to_string(&event(1).id).unwrap(), &id);
        assert_eq!(post(&world, &[], body).await.status(), 201, "{payload}");
    }
    let page = world.store.feed(0, 10).await.expect("reads");
    assert!(page.events.iter().map(|event| event.payload.get()).eq(odd));
    world.stop().await;
}
