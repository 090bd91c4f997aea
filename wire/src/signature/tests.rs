//! The scheme against a vector of its specification, and everything that must be refused.

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_614_265_330, 0).expect("in range")
}

/// The example of the published libraries' own tests.
#[test]
fn the_published_example_verifies() {
    let key = Key(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64"));
    let body = br#"{"test": 2432232314}"#;
    let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let header = format!("v1a,bm9pc2U= v1,bm9pc2U= {signature}");
    let signed = Signed { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: "1614265330", signature: &header };
    assert_eq!(key.verify(&signed, body, now()), Ok(()));
}

#[test]
fn what_was_not_signed_is_refused() {
    let key = Key::from_bytes([1; 32]);
    let good = key.sign("a", now().timestamp(), b"body");
    let other = Key::from_bytes([2; 32]).sign("a", now().timestamp(), b"body");
    let time = now().timestamp().to_string();
    let check =
        |id, timestamp, signature, content: &[u8]| key.verify(&Signed { id, timestamp, signature }, content, now());
    assert_eq!(check("a", &time, &good, b"body"), Ok(()));
    assert_eq!(check("b", &time, &good, b"body"), Err(Refusal::WrongSignature));
    assert_eq!(check("a", &time, &good, b"Body"), Err(Refusal::WrongSignature));
    assert_eq!(check("a", &time, &other, b"body"), Err(Refusal::WrongSignature));
    assert_eq!(check("a", &time, "", b"body"), Err(Refusal::WrongSignature));
    assert_eq!(check("a", &time, "v1,", b"body"), Err(Refusal::WrongSignature));
    assert_eq!(check("a", "soon", &good, b"body"), Err(Refusal::Malformed));
}

#[test]
fn a_signature_counts_for_five_minutes_on_either_side_of_the_clock() {
    let key = Key::from_bytes([1; 32]);
    for (seconds, expect) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let then = now().timestamp() + seconds;
        let (timestamp, signature) = (then.to_string(), key.sign("a", then, b"body"));
        let verified = key.verify(&Signed { id: "a", timestamp: &timestamp, signature: &signature }, b"body", now());
        assert_eq!(verified, if expect { Ok(()) } else { Err(Refusal::ClockSkew) }, "{seconds}");
    }
}

#[test]
fn derived_keys_differ_and_repeat() {
    let master = Key::from_bytes([3; 32]);
    assert_eq!(master.derive("a"), master.derive("a"));
    assert_ne!(master.derive("a"), master.derive("b"));
    assert_ne!(master.derive("a"), master);
    assert!(master.owns_token("m", &master.token("m")));
    assert!(!master.owns_token("m", &master.token("n")));
}

#[test]
fn a_key_reads_back_and_never_shows() {
    let key = Key::from_bytes([9; 32]);
    assert_eq!(Key::parse(&key.reveal()), Ok(key.clone()));
    assert_eq!(Key::parse(key.reveal().trim_start_matches("whsec_")), Ok(key.clone()));
    assert_eq!(Key::parse("whsec_c2hvcnQ="), Err(BadKey::TooShort));
    assert_eq!(Key::parse("no key!"), Err(BadKey::NotBase64));
    assert_eq!(format!("{key:?}"), "[secret]");
}
