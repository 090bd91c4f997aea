//! What was exported can be written again.

use wire::event::{Event, StoredEvent};

use super::world::{Place, World, event, over_both_engines};
use crate::archive::tests::quiet;
use crate::archive::{Format, Report, Selected, Wanted, export, verify};
use crate::log::DATABASE;

over_both_engines! {
    an_export_written_into_another_store_gives_the_same_events_and_the_same_chain,
}

fn verified(place: &Place) -> Report {
    quiet(|watch| verify(&place.data.path().join(DATABASE), &Wanted::default(), watch)).expect("can be looked at")
}

async fn an_export_written_into_another_store_gives_the_same_events_and_the_same_chain(first: Place) {
    let second = Place::sqlite();
    let payloads = ["{\"b\": 1.10,  \"a\":[ ]}", "\"żółw\\n\"", "null", "[1,\t2]"];
    let world = World::start(&first).await;
    for (number, payload) in payloads.iter().enumerate() {
        let payload = serde_json::value::RawValue::from_string((*payload).to_owned()).expect("is JSON");
        let event = Event { payload, ..event(number as u64) };
        world.store.append(&[event]).await.expect("stores");
    }
    world.stop().await;
    let mut lines = Vec::new();
    let exported = quiet(|watch| export(first.data.path(), &Selected::default(), Format::Ndjson, &mut lines, watch));
    assert_eq!(exported.expect("exports").events, payloads.len() as u64);

    let events = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
        let stored: StoredEvent = serde_json::from_slice(line).expect("is an event");
        let StoredEvent { id, kind, task_id, execution_id, producer, created_at, schema_version, payload, .. } = stored;
        Event { id, kind, task_id, execution_id, producer, created_at, schema_version, payload }
    });
    let world = World::start(&second).await;
    world.store.append(&events.collect::<Vec<_>>()).await.expect("stores");
    world.stop().await;
    assert_eq!(verified(&first).damage, None);
    assert_eq!(verified(&first), verified(&second));
}
