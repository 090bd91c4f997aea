//! Bodies of every shape, and the field that each refusal names.

use serde_json::{Value, json};

use super::*;

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
    request(&Bytes::copy_from_slice(body.as_ref()))
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
fn depth_does_not_count_what_is_inside_strings() {
    for (json, expect) in [("1", 0), ("[]", 1), (r#"{"a":[{}]}"#, 3), (r#"["[[[","\"[[",{}]"#, 2), (r#""\\""#, 0)] {
        assert_eq!(depth(json), expect, "{json}");
    }
}
