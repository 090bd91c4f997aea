//! No body, however packed, makes the event store panic, and what it accepts is
//! what a client wrote.
//!
//! The first byte says how the rest is to be read.

#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use wire::event::Event;
use wire::limit::EVENTS_PER_BATCH;

fuzz_target!(|data: &[u8]| {
    let Some((how, body)) = data.split_first() else { return };
    let content_type = if how / 4 % 2 == 0 { "application/json" } else { "application/x-ndjson" };
    let decode = |encoding: &str, body: &[u8]| event_store::fuzzing::request(content_type, encoding, body);
    let decoded = match how % 4 {
        0 => decode("identity", body),
        1 => decode("gzip", body),
        2 => decode("zstd", body),
        _ => {
            let decoded = decode("identity", body);
            assert_eq!(decode("gzip", &gzip(body)), decoded, "packed or not");
            decoded
        }
    };
    match decoded {
        Ok(payloads) => {
            assert!((1..=EVENTS_PER_BATCH).contains(&payloads.len()), "{} events", payloads.len());
            for payload in &payloads {
                serde_json::from_slice::<&RawValue>(payload).expect("a payload is JSON");
            }
            if let (0 | 3, [payload], Ok(event)) = (how % 4, &payloads[..], serde_json::from_slice::<Event>(body)) {
                assert_eq!(event.payload.get().as_bytes(), payload, "the payload's own bytes");
            }
        }
        Err(status) => assert!([400, 413].contains(&status), "{status}"),
    }
});

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(body).expect("memory can be written to");
    packed.finish().expect("memory can be written to")
}
