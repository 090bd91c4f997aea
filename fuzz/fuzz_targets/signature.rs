//! No headers make the verifier panic, and it accepts a message if and only if
//! the key's own signature is among the header's.
//!
//! The input is lines: id, timestamp, signatures, and the rest is the content.

#![no_main]

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use wire::signature::{Key, Refusal, Signed};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (id, timestamp, signature, content) = (next(), next(), next(), next());
    let (Ok(id), Ok(timestamp), Ok(signature)) =
        (str::from_utf8(id), str::from_utf8(timestamp), str::from_utf8(signature))
    else {
        return;
    };
    let key = Key::from_bytes([1; 32]);
    let now = DateTime::from_timestamp(1_700_000_000, 0).expect("in range");
    let verdict = key.verify(&Signed { id, timestamp, signature }, content, now);
    match timestamp.parse::<i64>() {
        Err(_) => assert_eq!(verdict, Err(Refusal::Malformed)),
        Ok(seconds) => {
            let own = key.sign(id, seconds, content);
            let is_signed = signature.split(' ').any(|candidate| candidate == own);
            assert_eq!(verdict != Err(Refusal::WrongSignature), is_signed, "the key's own signature, or refused");
            let header = format!("{signature} {own}");
            let verdict = key.verify(&Signed { id, timestamp, signature: &header }, content, now);
            let is_late = seconds.abs_diff(now.timestamp()) > 300;
            assert_eq!(verdict, if is_late { Err(Refusal::ClockSkew) } else { Ok(()) });
        }
    }
    if let Ok(key) = Key::parse(signature) {
        assert_eq!(Key::parse(&key.reveal()), Ok(key));
    }
});
