//! Unpacking, and what it takes of the memory that all bodies share.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(body).expect("memory can be written to");
    packed.finish().expect("memory can be written to")
}

fn pack(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Identity => body.to_vec(),
        Encoding::Gzip => gzip(body),
        Encoding::Zstd => zstd::encode_all(body, 3).expect("memory can be written to"),
    }
}

fn received(bytes: Vec<u8>, memory: &Arc<Semaphore>) -> Received {
    let claim = claim(memory, bytes.len()).expect("there is room");
    Received { bytes: Bytes::from(bytes), claim }
}

const ALL: [Encoding; 3] = [Encoding::Identity, Encoding::Gzip, Encoding::Zstd];

#[test]
fn an_unpacked_body_claims_what_it_takes_and_gives_it_back() {
    let room = 1024 * 1024;
    let memory = Arc::new(Semaphore::new(room));
    let body = b"0123456789".repeat(10_000);
    for encoding in ALL {
        let unpacked = encoding.unpack(received(pack(encoding, &body), &memory), &memory).expect("fits");
        assert_eq!(unpacked.bytes, body, "{encoding:?}");
        assert_eq!(memory.available_permits(), room - body.len(), "{encoding:?}");
        drop(unpacked);
        assert_eq!(memory.available_permits(), room, "{encoding:?}");
    }
}

#[test]
fn a_body_that_finds_no_room_unpacked_is_told_to_come_again() {
    let memory = Arc::new(Semaphore::new(512 * 1024));
    let body = vec![b' '; 2 * 1024 * 1024];
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let refused = encoding.unpack(received(pack(encoding, &body), &memory), &memory);
        assert_eq!(refused.err().map(|refusal| refusal.status()), Some(503), "{encoding:?}");
        assert_eq!(memory.available_permits(), 512 * 1024, "{encoding:?}");
    }
}

#[test]
fn the_bound_holds_to_the_byte() {
    let memory = Arc::new(Semaphore::new(32 * 1024 * 1024));
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        for (length, fits) in [(EVENT_BATCH_BYTES, true), (EVENT_BATCH_BYTES + 1, false)] {
            let packed = received(pack(encoding, &vec![b' '; length]), &memory);
            let unpacked = encoding.unpack(packed, &memory);
            assert_eq!(unpacked.as_ref().err(), (!fits).then(Refusal::too_large).as_ref(), "{encoding:?} {length}");
        }
    }
}

#[test]
fn parts_that_were_packed_one_by_one_are_one_body() {
    let memory = Arc::new(Semaphore::new(1024 * 1024));
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let packed = [pack(encoding, b"abc"), pack(encoding, b""), pack(encoding, b"def")].concat();
        let unpacked = encoding.unpack(received(packed, &memory), &memory).expect("unpacks");
        assert_eq!(unpacked.bytes, "abcdef", "{encoding:?}");
    }
}

proptest! {
    #[test]
    fn what_was_packed_is_unpacked(body in prop::collection::vec(any::<u8>(), 0..10_000)) {
        let memory = Arc::new(Semaphore::new(1024 * 1024));
        for encoding in ALL {
            let unpacked = encoding.unpack(received(pack(encoding, &body), &memory), &memory).expect("unpacks");
            prop_assert_eq!(&unpacked.bytes, &body);
        }
    }

    #[test]
    fn no_bytes_make_unpacking_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let memory = Arc::new(Semaphore::new(32 * 1024 * 1024));
        for encoding in ALL {
            let mut damaged = pack(encoding, &body);
            let place = place.index(damaged.len().max(1));
            if let Some(damage) = damaged.get_mut(place) {
                *damage = byte;
            }
            encoding.unpack(received(damaged, &memory), &memory).ok();
            encoding.unpack(received(body.clone(), &memory), &memory).ok();
        }
        prop_assert_eq!(memory.available_permits(), 32 * 1024 * 1024);
    }
}
