//! Bodies of every shape, and the field that each refusal names.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::event::Event;

use super::payload::PAYLOAD_BYTES;
use super::*;
use crate::log::Payload;

fn event() -> Value {
    json!({
        "id": "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70",
        "type": "execution.log",
        "task_id": "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b71",
        "producer": "control-plane",
        "created_at": "2026-11-21T05:00:00.1234567Z",
        "schema_version": 1,
        "payload": null,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut event = event();
    event[name] = value;
    event
}

fn decode(body: impl AsRef<[u8]>) -> Result<Request, Refusal> {
    request(Format::Json, &Bytes::copy_from_slice(body.as_ref()))
}

#[test]
fn the_three_shapes_hold_the_same_event() {
    let one = decode(event().to_string()).expect("one event");
    let array = decode(json!([event()]).to_string()).expect("an array");
    let object = decode(json!({ "events": [event()] }).to_string()).expect("an object");
    assert_eq!((one.shape, array.shape, object.shape), (Shape::One, Shape::Several, Shape::Several));
    assert_eq!(one.events, array.events);
    assert_eq!(one.events, object.events);
    assert_eq!(one.events[0].created_at.timestamp_subsec_nanos(), 123_456_000);
    assert_eq!(one.events[0].execution_id, None);
}

#[test]
fn payloads_of_any_kind_are_kept_byte_for_byte() {
    for payload in ["null", "true", "1.10e+2", r#""\u0041\ud83d\ude00""#, "{ \"b\" : [ 1 ,\n2 ], \"a\":{}}"] {
        let body = event().to_string().replace("\"payload\":null", &format!("\"payload\":{payload}"));
        let expect = Bytes::from(payload);
        assert_eq!(decode(body).expect("is allowed").events[0].payload, Payload::within(&expect, payload));
    }
}

#[test]
fn a_refusal_names_the_field_at_fault() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut missing = event();
    missing.as_object_mut().unwrap().remove("producer");
    let cases = [
        (with("id", json!("7")), "id"),
        (with("id", json!("{0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b7}")), "id"),
        (with("id", Value::Null), "id"),
        (with("type", json!("")), "type"),
        (with("type", json!("Upper")), "type"),
        (with("type", json!("x".repeat(201))), "type"),
        (with("type", json!(5)), "type"),
        (with("task_id", json!("none")), "task_id"),
        (with("execution_id", json!([])), "execution_id"),
        (with("producer", json!("")), "producer"),
        (with("producer", json!("a\u{0}b")), "producer"),
        (with("producer", json!("ż".repeat(201))), "producer"),
        (with("created_at", json!("yesterday")), "created_at"),
        (with("schema_version", json!(-1)), "schema_version"),
        (with("payload", serde_json::from_str(&nested(65)).unwrap()), "payload"),
        (with("payload", json!("x".repeat(PAYLOAD_BYTES))), "payload"),
        (with("colour", json!("red")), "colour"),
        (missing, "producer"),
    ];
    for (event, field) in cases {
        let one = decode(event.to_string()).expect_err(field);
        assert_eq!(one, one.clone().at(field), "alone");
        let batch = json!({ "events": [self::event(), event] });
        let several = decode(batch.to_string()).expect_err(field);
        assert_eq!(several, several.clone().at(format!("events.1.{field}")), "in a batch");
    }
    assert!(decode(with("payload", serde_json::from_str(&nested(64)).unwrap()).to_string()).is_ok());
}

#[test]
fn what_is_no_batch_is_refused_with_its_place() {
    let twice = event().to_string().replacen('{', "{\"type\":\"first\",", 1);
    let cases = [
        (twice, "type"),
        ("[[]]".into(), "events.0"),
        ("[null]".into(), "events.0"),
        ("[]".into(), "events"),
        ("{\"events\":[]}".into(), "events"),
        ("{\"events\":{}}".into(), "events"),
        ("{\"events\":[],\"type\":\"x\"}".into(), "type"),
        ("{\"events\":[{\"events\":[]}]}".into(), "events.0.events"),
        ("{\"events\":[],\"more\":1}".into(), "more"),
    ];
    for (body, field) in cases {
        let refusal = decode(&body).expect_err(field);
        assert_eq!(refusal, refusal.clone().at(field), "{body}");
    }
}

#[test]
fn what_is_no_json_is_malformed() {
    let deep = "[".repeat(100_000);
    for body in ["", "null", "7", "{", "{\"id\":\u{0}}", "[1,]", "{\"type\":\"\u{1}\"}", &deep] {
        let refusal = decode(body).expect_err("is no JSON of ours");
        assert!(format!("{refusal:?}").contains("malformed"), "{refusal:?}");
    }
    let mut bad_utf8 = event().to_string().into_bytes();
    let place = bad_utf8.len() - 2;
    bad_utf8.splice(place - 3..place + 1, *b"\"\xff\"");
    assert!(format!("{:?}", decode(bad_utf8).expect_err("bad UTF-8")).contains("malformed"));
}

#[test]
fn more_than_a_thousand_events_are_refused() {
    let of = |count: usize| json!({ "events": vec![event(); count] }).to_string();
    assert_eq!(decode(of(1_000)).expect("a thousand").events.len(), 1_000);
    assert_eq!(decode(of(1_001)), Err(Refusal::too_many_events()));
    assert_eq!(decode(format!("[{}1]", "1,".repeat(1_000_000))), Err(Refusal::too_many_events()));
}

#[test]
fn a_line_is_an_event() {
    let lines = |body: &str| request(Format::Lines, &Bytes::copy_from_slice(body.as_bytes()));
    let (one, two) = (event(), with("type", json!("other")));
    let decoded = lines(&format!("\n{one}\r\n\t\n{two}")).expect("two lines");
    assert_eq!(decoded, decode(json!([one, two]).to_string()).expect("an array"));
    let several = [
        (format!("{one}\n[{two}]"), "events.1"),
        (format!("{one}\n7"), "events.1"),
        (format!("{one}\n{{\"events\":[]}}"), "events.1.events"),
        (format!("{one}\n{one}{one}"), "events.1"),
        (format!("{one:#}"), "events.0"),
        (format!("{one}\n\n{}", with("type", json!(""))), "events.1.type"),
        ("\n".into(), "events"),
    ];
    for (body, field) in several {
        let refusal = lines(&body).expect_err(field);
        assert_eq!(refusal, refusal.clone().at(field), "{body}");
    }
    let of = |count: usize| format!("{one}\n").repeat(count);
    assert_eq!(lines(&of(1_000)).expect("a thousand").events.len(), 1_000);
    assert_eq!(lines(&of(1_001)), Err(Refusal::too_many_events()));
}

#[test]
fn a_retry_equals_what_was_stored_even_in_a_leap_second() {
    let at =
        |time: &str| decode(with("created_at", json!(time)).to_string()).map(|request| request.events[0].created_at);
    for time in ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.999999999Z", "1969-12-31T23:59:59.9999999Z"] {
        let time = at(time).expect("is a time");
        assert_eq!(DateTime::from_timestamp_micros(time.timestamp_micros()), Some(time));
    }
    assert_eq!(at(&DateTime::<Utc>::MAX_UTC.to_rfc3339()).map(|time| time.timestamp_micros() % 1_000_000), Ok(999_999));
    assert!(at("+262142-12-31T23:59:60Z").is_err());
}

/// Every example, with its name. The fuzz targets start from the same.
fn examples() -> Vec<(String, Format, Bytes)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/decode/examples");
    let example = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("is text");
        let format = if name.ends_with(".ndjson") { Format::Lines } else { Format::Json };
        (name, format, fs::read(entry.path()).expect("is readable").into())
    };
    fs::read_dir(directory).expect("is there").map(|entry| example(entry.expect("is readable"))).collect()
}

#[test]
fn examples_are_accepted_or_refused_as_their_names_say() {
    assert!(examples().len() > 10);
    for (name, format, body) in examples() {
        assert_eq!(request(format, &body).is_ok(), name.starts_with("accepted-"), "{name}");
    }
}

/// Any event that the client can write, with a payload of some depth.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let payload = leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let names = ("[a-z0-9_.-]{1,200}", "[^\\pC]{1,200}");
    let ids = (any::<u128>(), any::<Option<u128>>(), any::<Option<u128>>());
    let time = -8_000_000_000_000_000_i64..8_000_000_000_000_000;
    let event =
        (ids, names, time, any::<u16>(), payload).prop_map(|(ids, names, time, schema_version, payload)| Event {
            id: uuid::Uuid::from_u128(ids.0).into(),
            kind: names.0,
            task_id: ids.1.map(|id| uuid::Uuid::from_u128(id).into()),
            execution_id: ids.2.map(|id| uuid::Uuid::from_u128(id).into()),
            producer: names.1,
            created_at: DateTime::from_timestamp_micros(time).expect("in range"),
            schema_version,
            payload: serde_json::value::to_raw_value(&payload).expect("is JSON"),
        });
    prop::collection::vec(event, 1..4)
}

/// Whether the decoded event is the one that was written.
fn is_same(decoded: &NewEvent, event: &Event) -> bool {
    decoded.id == event.id
        && decoded.kind == event.kind
        && decoded.task_id == event.task_id
        && decoded.execution_id == event.execution_id
        && decoded.producer == event.producer
        && decoded.created_at == event.created_at
        && decoded.schema_version == event.schema_version
        && decoded.payload.as_bytes() == event.payload.get().as_bytes()
}

proptest! {
    #[test]
    fn whatever_a_client_writes_is_read_in_every_shape(events in events()) {
        let texts: Vec<_> = events.iter().map(|event| serde_json::to_string(event).expect("is JSON")).collect();
        let joined = texts.join(",");
        let shapes = [
            (Format::Json, format!("[{joined}]")),
            (Format::Json, format!("{{\"events\":[{joined}]}}")),
            (Format::Lines, texts.join("\n")),
        ];
        for (format, body) in shapes {
            let decoded = request(format, &Bytes::from(body)).expect("is accepted").events;
            prop_assert_eq!(decoded.len(), events.len());
            prop_assert!(decoded.iter().zip(&events).all(|(decoded, event)| is_same(decoded, event)));
        }
        let one = request(Format::Json, &Bytes::from(texts[0].clone())).expect("is accepted");
        prop_assert!(is_same(&one.events[0], &events[0]));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        example in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
    ) {
        // Bytes in the middle of an example get further than bytes alone.
        let examples = examples();
        let (_, format, example) = example.get(&examples);
        let place = place.index(example.len());
        let spliced = [&example[..place], &body, &example[place..]].concat();
        request(*format, &Bytes::from(spliced)).ok();
        request(*format, &Bytes::from(body)).ok();
    }
}
