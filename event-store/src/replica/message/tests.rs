//! What goes into a message comes out of it.

use proptest::prelude::*;

use super::*;

fn event(number: u8, task: Option<u8>, kind: &str, micros: i64, payload: &str) -> NewEvent {
    let payload = Bytes::from(payload.to_owned());
    let now = DateTime::from_timestamp_micros(micros).expect("in range");
    NewEvent {
        id: EventId::mint(now, [number; 10]),
        kind: kind.into(),
        task_id: task.map(|task| TaskId::mint(now, [task; 10])),
        execution_id: task.map(|task| ExecutionId::mint(now, [task; 10])),
        producer: format!("machine/{kind}"),
        created_at: now,
        schema_version: u16::from(number),
        payload: Payload::within(&payload, std::str::from_utf8(&payload).expect("is text")),
    }
}

fn events() -> impl Strategy<Value = Vec<NewEvent>> {
    let payload = prop_oneof![
        Just("{\"b\": 1.10,\n \"a\":[ ]}".to_owned()),
        Just("null".to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
    ];
    let fields = (any::<u8>(), any::<Option<u8>>(), any::<String>(), 0..4_000_000_000_000_000_i64, payload);
    let event = fields.prop_map(|(number, task, kind, micros, payload)| event(number, task, &kind, micros, &payload));
    prop::collection::vec(event, 1..5)
}

proptest! {
    #[test]
    fn events_come_back_byte_for_byte(events in events()) {
        prop_assert_eq!(decode(&encode(&events)).expect("reads"), events);
    }
}

#[test]
fn a_message_is_what_a_client_may_send() {
    let body = encode(&[event(1, None, "a", 1_000_001, "{ }"), event(2, None, "b", 2_000_000, "7")]);
    let expect = "{\"events\":[\
        {\"id\":\"00000000-03e8-7101-8101-010101010101\",\"type\":\"a\",\"producer\":\"machine/a\",\
        \"created_at\":\"1970-01-01T00:00:01.000001Z\",\"schema_version\":1,\"payload\":{ }},\
        {\"id\":\"00000000-07d0-7202-8202-020202020202\",\"type\":\"b\",\"producer\":\"machine/b\",\
        \"created_at\":\"1970-01-01T00:00:02Z\",\"schema_version\":2,\"payload\":7}]}";
    assert_eq!(std::str::from_utf8(&body).unwrap(), expect);
}

#[test]
fn the_same_events_have_the_same_id_and_others_another() {
    let of = |number| id(&encode(&[event(number, None, "a", 0, "1")]));
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    assert_eq!(of(1).len(), 64);
}

#[test]
fn a_request_about_one_task_is_on_that_tasks_subject() {
    let of = |tasks: &[Option<u8>]| {
        subject("log", &tasks.iter().map(|task| event(1, *task, "a", 0, "1")).collect::<Vec<_>>())
    };
    let one = of(&[Some(1)]);
    assert_eq!(one, format!("log.{}", event(1, Some(1), "a", 0, "1").task_id.expect("has one")));
    assert_eq!(of(&[Some(1), Some(1)]), one);
    for several in [&[None][..], &[Some(1), Some(2)], &[Some(1), None], &[None, Some(1)]] {
        assert_eq!(of(several), "log._");
    }
}
